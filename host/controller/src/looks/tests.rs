use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::*;

fn key(name: &str) -> OperationKey {
    OperationKey::new("org", name)
}

/// What the looks of a test did, and what lets them end.
#[derive(Clone, Default)]
struct Stage(Arc<Inner>);

struct Inner {
    begun: Mutex<Vec<String>>,
    ended: Mutex<usize>,
    may_end: Semaphore,
    news: Notify,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            begun: Mutex::default(),
            ended: Mutex::default(),
            may_end: Semaphore::new(0),
            news: Notify::new(),
        }
    }
}

impl Stage {
    fn looks(&self, at_once: u16, action: Action) -> Looks {
        let stage = self.clone();
        Looks::new(at_once, Metrics::new(), move |key| {
            let stage = stage.clone();
            async move {
                stage.0.begun.lock().unwrap().push(key.name);
                stage.0.news.notify_one();
                stage.0.may_end.acquire().await.unwrap().forget();
                *stage.0.ended.lock().unwrap() += 1;
                action
            }
        })
    }

    fn begun(&self) -> Vec<String> {
        self.0.begun.lock().unwrap().clone()
    }

    /// Drives until so many looks have begun.
    async fn until_begun(&self, looks: &mut Looks, count: usize) {
        while self.begun().len() < count {
            tokio::select! {
                () = self.0.news.notified() => {}
                () = looks.next() => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_are_looked_at_at_once_and_the_others_in_the_order_in_which_they_were_asked_for() {
    let stage = Stage::default();
    let mut looks = stage.looks(2, Action::await_change());
    for name in ["a", "b", "c", "d"] {
        looks.ask(key(name));
        looks.ask(key(name));
    }
    stage.until_begun(&mut looks, 2).await;
    stage.0.may_end.add_permits(1);
    stage.until_begun(&mut looks, 3).await;
    stage.0.may_end.add_permits(8);
    stage.until_begun(&mut looks, 6).await;
    let mut first = stage.begun();
    // Asked for while they were under way: a and b once more, behind the others.
    let again = first.split_off(4);
    assert_eq!(first, ["a", "b", "c", "d"]);
    assert!(again.contains(&"a".to_owned()) && again.contains(&"b".to_owned()), "{again:?}");
    looks.finish().await;
    assert_eq!(*stage.0.ended.lock().unwrap(), 6, "finishing waits for those under way");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_with_more_looks_than_places_leaves_some_to_others() {
    let stage = Stage::default();
    let mut looks = stage.looks(16, Action::await_change());
    // None of them ends.
    for flood in ["flood-1", "flood-2", "flood-3"] {
        for n in 0..1000 {
            looks.ask(OperationKey::new(flood, format!("{flood}/{n}")));
        }
    }
    // The first has all but one of those that are not for first looks.
    stage.until_begun(&mut looks, 16 + 2 + 1).await;
    assert_eq!(looks.running.len(), 19);
    // As many namespaces as half of the places find one at once.
    let calm: Vec<String> = (0..13).map(|n| format!("calm-{n}")).collect();
    for (n, namespace) in calm.iter().enumerate() {
        looks.ask(OperationKey::new(namespace, namespace));
        looks.ask(OperationKey::new(namespace, format!("{namespace} again")));
        stage.until_begun(&mut looks, 20 + n).await;
        assert_eq!(stage.begun().last(), Some(namespace));
    }
    // One more waits for any to end, and goes before whoever has one.
    looks.ask(OperationKey::new("late", "late"));
    assert_eq!(looks.running.len(), 32);
    stage.0.may_end.add_permits(1);
    stage.until_begun(&mut looks, 33).await;
    assert_eq!(stage.begun().last().unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn a_planned_look_comes_in_its_time_or_earlier_if_it_is_asked_for() {
    let stage = Stage::default();
    stage.0.may_end.add_permits(100);
    let mut looks = stage.looks(1, Action::requeue(Duration::from_secs(10)));
    looks.ask(key("a"));
    let begin = Instant::now();
    stage.until_begun(&mut looks, 2).await;
    assert_eq!(begin.elapsed().as_secs(), 10);
    while !looks.running.is_empty() {
        looks.next().await;
    }
    looks.ask(key("a"));
    stage.until_begun(&mut looks, 3).await;
    assert_eq!(begin.elapsed().as_secs(), 10, "it does not wait for its time");
    stage.until_begun(&mut looks, 4).await;
    assert_eq!(begin.elapsed().as_secs(), 20, "and the plan that it overtook is none any more");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_panics_is_made_again_later_and_stops_no_other() {
    let stage = Stage::default();
    let noted = stage.clone();
    let mut looks = Looks::new(1, Metrics::new(), move |key| {
        noted.0.begun.lock().unwrap().push(key.name.clone());
        async move {
            assert_ne!(key.name, "broken");
            Action::await_change()
        }
    });
    looks.ask(key("broken"));
    looks.ask(key("whole"));
    let begin = Instant::now();
    while stage.begun().len() < 3 {
        looks.next().await;
    }
    assert_eq!(stage.begun(), ["broken", "whole", "broken"]);
    assert_eq!(begin.elapsed(), AFTER_PANIC);
}
