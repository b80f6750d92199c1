//! What is known of Operations, however many there are.

use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};

use super::beyond::PAUSE;
use super::room::{AWAITING_HOOK, ENDED, ENDED_OF_ALL, FOREIGN, OVERDUE, UNFINISHED};
use super::*;

fn operation(uid: &str, target: &str, finished_at: Option<&str>) -> Value {
    json!({
        "metadata": {"name": "op", "namespace": "org", "uid": uid, "resourceVersion": "1"},
        "spec": {"engine": "helmHookJob", "targetRef": {"kind": "HelmRelease", "name": target}},
        "status": {"finishedAt": finished_at},
    })
}

fn named(name: &str, operation: Value) -> Value {
    let mut operation = operation;
    operation["metadata"]["name"] = name.into();
    operation
}

fn seen(object: &Value) -> Seen {
    Operations::new().read(&object.to_string(), &|_| true).unwrap()
}

fn operations(events: impl IntoIterator<Item = Event<Seen>>) -> Operations {
    let operations = Operations::new();
    events.into_iter().for_each(|event| drop(operations.note(event)));
    operations
}

fn unfinished(operations: &Operations, target: &str) -> Vec<String> {
    let rivals = operations.rivals(&seen(&operation("new", target, None)).brief);
    rivals.iter().map(|brief| brief.uid.clone()).collect()
}

#[test]
fn an_operation_counts_for_its_target_until_it_is_finished_or_gone() {
    let of = |uid: &str, finished| seen(&named(uid, operation(uid, "shop", finished)));
    let all = operations([
        Event::Apply(of("a", None)),
        Event::Apply(of("b", None)),
        Event::Apply(seen(&operation("c", "other", None))),
    ]);
    assert_eq!(unfinished(&all, "shop"), ["a", "b"]);
    all.note(Event::Apply(of("a", Some("2026-05-28T14:00:00Z"))));
    assert_eq!(unfinished(&all, "shop"), ["b"]);
    all.note(Event::Delete(of("b", None)));
    all.note(Event::Delete(of("a", None)));
    assert_eq!(all.known.lock().names_with_unfinished(), 1, "nothing is left behind");
    assert!(all.whole("a").is_none() && all.whole("c").is_some());
    assert_eq!(all.keys(), [OperationKey::new("org", "op")]);
}

#[test]
fn those_on_one_release_find_each_other_by_whichever_of_its_names() {
    let on = |kind: &str, uid: &str| {
        let mut object = named(uid, operation(uid, "shop", None));
        object["spec"]["targetRef"]["kind"] = kind.into();
        object
    };
    let key = |kind: &str| TargetKey::new("org", kind, "shop");
    let beside = |all: &Operations, of: &str| {
        let brief = all.get(&OperationKey::new("org", of)).unwrap();
        all.rivals(&brief).iter().map(|brief| brief.uid.clone()).collect::<Vec<_>>()
    };
    let (instance, release) = (on("ApplicationInstance", "a"), on("HelmRelease", "r"));
    let all = operations([Event::Apply(seen(&instance)), Event::Apply(seen(&release))]);
    assert_eq!((beside(&all, "a"), beside(&all, "r")), (vec!["a".into()], vec!["r".into()]));
    // One of the two was resolved: both find the other.
    let names = vec![key("ApplicationInstance"), key("Release")];
    all.note_names("r", names);
    assert_eq!(
        (beside(&all, "a"), beside(&all, "r")),
        (vec!["a".into(), "r".into()], vec!["a".into(), "r".into()])
    );
    // It is the same one after a change of it; finished or gone, it counts under none of its names.
    all.note(Event::Apply(seen(&release)));
    assert_eq!(beside(&all, "a"), ["a", "r"]);
    let mut finished = release;
    finished["status"] = json!({"finishedAt": "2026-05-28T14:00:00Z"});
    all.note(Event::Apply(seen(&finished)));
    assert_eq!(beside(&all, "a"), ["a"]);
    all.note_names("r", vec![key("ApplicationInstance")]);
    assert_eq!(beside(&all, "a"), ["a"], "nobody waits for what is finished");
    all.note(Event::Delete(seen(&instance)));
    assert_eq!(all.known.lock().names_with_unfinished(), 0, "nothing is left behind");
}

#[test]
fn for_what_one_waits_is_remembered_whatever_another_controller_writes_into_its_status() {
    let overwritten = |uid: &str, finished: Option<&str>| {
        let mut object = named(uid, operation(uid, "shop", finished));
        object["status"]["conditions"] =
            json!([{"type": "Blocked", "status": "True", "reason": "PolicyHeld"}]);
        seen(&object)
    };
    let all = operations([Event::Apply(overwritten("a", None)), Event::Apply(overwritten("b", None))]);
    let waiting = |reason| all.waiting_for(reason).into_iter().map(|key| key.name).collect::<Vec<_>>();
    assert_eq!(waiting(Reason::PolicyHeld), Vec::<String>::new(), "that somebody says so is nothing");
    assert!(all.note_wait("a", Some(Reason::PolicyUnavailable)));
    assert!(!all.note_wait("a", Some(Reason::PolicyUnavailable)), "it was known");
    assert!(!all.note_wait("unknown", Some(Reason::PolicyUnavailable)));
    all.note(Event::Apply(overwritten("a", None)));
    assert_eq!(waiting(Reason::PolicyUnavailable), ["a"]);
    assert_eq!((all.waits_for("a"), all.waits_for("b")), (Some(Reason::PolicyUnavailable), None));
    all.note(Event::Apply(overwritten("a", Some("2026-05-28T14:00:00Z"))));
    assert_eq!(all.waits_for("a"), None, "what is finished waits for nothing");
}

#[test]
fn rivals_are_those_of_the_same_hook_and_those_that_nothing_may_work_beside() {
    let of = |name: &str, hook: &str, type_of: &str| {
        let mut object = named(name, operation(name, "shop", None));
        object["spec"]["type"] = type_of.into();
        object["spec"]["parameters"] = json!({"hookName": hook});
        seen(&object)
    };
    let all = operations([
        Event::Apply(of("a", "migrate", "Migration")),
        Event::Apply(of("b", "index", "Migration")),
        Event::Apply(of("c", "index", "Backup")),
    ]);
    let rivals = |hook: &str, type_of: &str| {
        let rivals = all.rivals(&of("new", hook, type_of).brief);
        rivals.into_iter().map(|brief| brief.key.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(rivals("migrate", "Migration"), ["a", "c"]);
    assert_eq!(rivals("other", "RunCommand"), ["c"]);
    assert_eq!(rivals("other", "Upgrade"), ["a", "b", "c"]);
}

#[test]
fn what_is_kept_is_the_object_as_it_was_last() {
    let finished = seen(&operation("a", "shop", Some("2026-05-28T14:00:00Z")));
    let all = operations([Event::Apply(seen(&operation("a", "shop", None))), Event::Apply(finished)]);
    let kept = all.whole("a").unwrap().object;
    assert_eq!(kept.data["status"]["finishedAt"], "2026-05-28T14:00:00Z");
    assert_eq!(kept.data["spec"]["targetRef"]["name"], "shop");
}

#[test]
fn one_that_was_made_again_under_its_name_is_not_forgotten_with_the_first() {
    let all = operations([
        Event::InitApply(seen(&operation("old", "shop", None))),
        Event::InitDone,
        // The watch was broken meanwhile.
        Event::Init,
        Event::InitApply(seen(&operation("new", "shop", None))),
    ]);
    let gone = all.note(Event::InitDone);
    assert!(matches!(&gone[..], [Change::Deleted(brief)] if brief.uid == "old"));
    assert_eq!(unfinished(&all, "shop"), ["new"]);
    assert_eq!(all.get(&OperationKey::new("org", "op")).unwrap().uid, "new");
}

#[test]
fn of_a_huge_operation_little_is_kept_and_of_another_engines_nothing_but_what_decides() {
    let mut huge = operation("a", "shop", None);
    huge["spec"]["parameters"] = json!({"list": vec![json!({"a": 1}); 100_000]});
    let mut other = huge.clone();
    other["metadata"]["uid"] = "b".into();
    other["spec"]["engine"] = "velero".into();
    other["spec"]["type"] = "Restore".into();
    other["status"] = json!({"phase": "Running"});
    let all = operations([Event::Apply(seen(&huge)), Event::Apply(seen(&named("b", other)))]);
    let kept = all.whole("a").unwrap();
    assert_eq!(kept.too_large.unwrap().part, "spec.parameters");
    assert!(hookhost_cluster::text::to_json(&kept.object).to_string().len() < 1024);
    assert!(all.whole("b").is_none());
    assert_eq!(unfinished(&all, "shop"), ["a", "b"]);
}

#[test]
fn of_a_namespace_without_the_gate_only_what_hookhost_has_begun_is_known_until_it_has_the_gate() {
    let all = Operations::new();
    let read = |uid: &str, status: Value, is_gated: bool| {
        let mut object = named(uid, operation(uid, "shop", None));
        object["status"] = status;
        let seen = all.read(&object.to_string(), &|_| is_gated);
        seen.is_some_and(|seen| !all.note(Event::Apply(seen)).is_empty())
    };
    assert!(!read("flood", json!({}), false));
    assert!(read("running", json!({"phase": "Running"}), false));
    assert!(read("running", json!({}), false), "what is known is followed, whatever becomes of it");
    assert_eq!(all.keys().len(), 1);
    assert!(all.relist.notified().now_or_never().is_none());
    all.joined("other");
    assert!(all.relist.notified().now_or_never().is_none());
    all.joined("org");
    assert!(all.relist.notified().now_or_never().is_some(), "the others are listed now");
    assert!(read("flood", json!({}), true));
}

/// Made again and again: where one is, by its number.
fn numbered(n: usize) -> Value {
    named(&format!("op-{n}"), operation(&format!("op-{n}"), "shop", None))
}

fn with(object: &Value, path: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, field) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

/// Another engine's, in flight.
fn foreign(n: usize, type_of: &str) -> Value {
    let object = with(&numbered(n), "/spec/engine", "velero".into());
    with(&with(&object, "/spec/type", type_of.into()), "/status", json!({"phase": "Pending"}))
}

/// A list of all.
fn list<'o>(all: &Operations, objects: impl IntoIterator<Item = &'o Value>) -> Vec<Change> {
    let begun = all.note(Event::Init);
    let listed = objects.into_iter().flat_map(|object| all.note(Event::InitApply(seen(object))));
    let listed: Vec<Change> = listed.collect();
    begun.into_iter().chain(listed).chain(all.note(Event::InitDone)).collect()
}

fn is_relisted(all: &Operations) -> bool {
    all.relist.notified().now_or_never().is_some()
}

fn is_known(all: &Operations, object: &Value) -> bool {
    all.by_uid(object["metadata"]["uid"].as_str().unwrap()).is_some()
}

const ENDED_AT: &str = "2026-05-28T14:00:00Z";

#[test]
fn of_a_namespace_with_any_number_of_operations_a_bounded_number_is_known_and_the_others_when_there_is_room()
{
    let all: Vec<Value> = (0..UNFINISHED + 10).map(numbered).collect();
    let operations = operations([]);
    list(&operations, &all);
    assert_eq!(operations.keys().len(), UNFINISHED);
    // Another namespace has room of its own.
    let other = with(&operation("other", "shop", None), "/metadata/namespace", "calm".into());
    assert_eq!(operations.note(Event::Apply(seen(&other))).len(), 1);
    for (n, object) in all.iter().enumerate().take(UNFINISHED / 2) {
        assert!(!is_relisted(&operations), "{n}");
        operations.note(Event::Apply(seen(&with(object, "/status", json!({"finishedAt": ENDED_AT})))));
    }
    assert!(is_relisted(&operations), "there is room for the others");
    assert_eq!(operations.keys().len(), UNFINISHED / 2 + ENDED + 1);
}

#[test]
fn operations_that_nobody_serves_take_no_room() {
    let all = operations([]);
    let elsewhere = |n| {
        let labels = json!({hookhost_core::keys::CLUSTER_ID: "another"});
        with(&numbered(n), "/metadata/labels", labels)
    };
    for n in 0..UNFINISHED {
        // Of an engine that nobody serves; of one that is served, but of a type that is in no hook's way; for another cluster.
        let nobodys = with(&foreign(3 * n, "Upgrade"), "/status", json!({}));
        for object in [nobodys, foreign(3 * n + 1, "RunCommand"), elsewhere(3 * n + 2)] {
            assert!(all.note(Event::Apply(seen(&object))).is_empty(), "nothing is done for it");
        }
    }
    assert!(all.keys().is_empty());
    let own = numbered(usize::MAX);
    assert_eq!(all.note(Event::Apply(seen(&own))).len(), 1);
    assert_eq!(all.knowledge("org"), Knowledge::Whole);
}

#[test]
fn nothing_is_started_while_one_that_may_conflict_is_not_known() {
    let all = operations([]);
    let in_flight: Vec<Value> = (0..FOREIGN).map(|n| foreign(n, "Backup")).collect();
    let (own, one_more) = (numbered(usize::MAX), foreign(FOREIGN, "Backup"));
    list(&all, in_flight.iter().chain([&own]));
    assert_eq!(all.knowledge("org"), Knowledge::Whole);
    all.note(Event::Apply(seen(&one_more)));
    assert_eq!(all.knowledge("org"), Knowledge::TooMany);
    assert_eq!(all.knowledge("calm"), Knowledge::Whole);
    let told = too_many("org");
    assert_eq!(told.reason, Reason::TooManyOperations);
    assert!(told.message.contains("kubectl get operations -n org"), "{told}");
    // They end: once there is room, and all were listed, it goes on.
    for object in &in_flight[..FOREIGN / 2] {
        assert!(!is_relisted(&all));
        all.note(Event::Apply(seen(&with(object, "/status", json!({"phase": "Succeeded"})))));
    }
    assert!(is_relisted(&all));
    assert_eq!(all.knowledge("org"), Knowledge::TooMany, "it is not known yet");
    let changes = list(&all, in_flight[FOREIGN / 2..].iter().chain([&own, &one_more]));
    assert_eq!(all.knowledge("org"), Knowledge::Whole);
    let woken =
        |change: &&Change| matches!(change, Change::Listed(brief) if brief.uid == own["metadata"]["uid"]);
    assert_eq!(changes.iter().filter(woken).count(), 2, "it is reconciled after the list");
    assert!(is_known(&all, &one_more));
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_only_because_of_what_is_gone_is_known_after_another_list() {
    let all = operations([]);
    let in_flight: Vec<Value> = (0..FOREIGN + 1).map(|n| foreign(n, "Backup")).collect();
    list(&all, &in_flight[..FOREIGN]);
    // One was deleted, and another made, while the watch was broken.
    list(&all, &in_flight[1..]);
    assert_eq!(all.knowledge("org"), Knowledge::TooMany);
    tokio::time::timeout(2 * PAUSE, all.until_listed_again()).await.expect("it is listed again");
    list(&all, &in_flight[1..]);
    assert_eq!(all.knowledge("org"), Knowledge::Whole);
}

#[test]
fn what_has_started_is_known_whatever_else_is_listed_before_it() {
    let all = operations([]);
    let started = json!([
        {"phase": "Running"},
        {"startedAt": ENDED_AT},
        {"engineRef": {"kind": "Job", "name": "op"}},
    ]);
    let started: Vec<Value> = started
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .enumerate()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|(n, status)| with(&numbered(UNFINISHED + n), "/status", status))
        .collect();
    let waiting: Vec<Value> = (0..UNFINISHED).map(numbered).collect();
    let with_job = numbered(2 * UNFINISHED);
    list(&all, waiting.iter().chain(&started).chain([&with_job]));
    for object in &started {
        assert!(is_known(&all, object), "{object}");
    }
    assert_eq!(all.knowledge("org"), Knowledge::Whole);
    // There are more than there is room for, and one of those that wait may be about to start.
    all.note(Event::Apply(seen(&with(&waiting[0], "/metadata/annotations", json!({"a": "b"})))));
    assert!(is_known(&all, &waiting[0]), "what is known is followed to its end");
    // Hookhost ended before it could say so.
    assert!(!is_known(&all, &with_job) && all.are_some_unknown("org"));
    all.keep_started(&seen(&with_job).brief);
    assert!(unfinished(&all, "shop").contains(&with_job["metadata"]["uid"].as_str().unwrap().to_owned()));
    all.note(Event::Apply(seen(&with(&with_job, "/spec/engine", "velero".into()))));
    assert!(is_known(&all, &with_job), "it is followed to its end");
    list(&all, waiting.iter().chain([&with_job]));
    assert!(is_known(&all, &with_job) && !is_known(&all, &started[0]));
}

#[tokio::test(start_paused = true)]
async fn an_operation_for_which_there_is_no_room_is_known_once_its_wait_is_over() {
    let all = operations([]);
    let made = Timestamp::now();
    let created = |object: &Value, timeout: &str| {
        let object = with(object, "/metadata/creationTimestamp", made.to_string().into());
        with(&object, "/spec/parameters", json!({"waitTimeout": timeout}))
    };
    let waiting: Vec<Value> = (0..UNFINISHED).map(|n| created(&numbered(n), "7d")).collect();
    let beyond = created(&numbered(UNFINISHED), "1h");
    list(&all, waiting.iter().chain([&beyond]));
    assert!(!is_known(&all, &beyond));
    let begun = tokio::time::Instant::now();
    all.until_listed_again().await;
    let hour = Duration::from_secs(3600);
    assert!(begun.elapsed() > hour - PAUSE && begun.elapsed() <= hour + PAUSE, "{:?}", begun.elapsed());
    // An hour later.
    let over: Vec<Value> = (0..OVERDUE + 1)
        .map(|n| {
            with(&created(&numbered(UNFINISHED + n), "1h"), "/metadata/creationTimestamp", ENDED_AT.into())
        })
        .collect();
    list(&all, waiting.iter().chain(&over));
    assert!(over[..OVERDUE].iter().all(|object| is_known(&all, object)), "each says that it has failed");
    assert!(!is_known(&all, &over[OVERDUE]), "but only so many at once");
    let begun = tokio::time::Instant::now();
    all.until_listed_again().await;
    assert_eq!(begun.elapsed(), PAUSE);
    // It is asked for, but the API server has not answered yet.
    let again = tokio::time::timeout(10 * PAUSE, all.until_listed_again());
    assert!(again.await.is_err(), "once is enough");
}

#[test]
fn of_those_that_have_ended_the_last_are_known_in_whatever_order_they_are_listed() {
    let all = operations([]);
    let ended = |n: usize| {
        let at = Timestamp::from_second(1_000_000 + i64::try_from(n).unwrap()).unwrap();
        with(&numbered(n), "/status", json!({"finishedAt": at.to_string()}))
    };
    let objects: Vec<Value> = (0..ENDED + 10).map(ended).collect();
    for backwards in [false, true] {
        match backwards {
            false => list(&all, &objects),
            true => list(&all, objects.iter().rev()),
        };
        assert!(objects[10..].iter().all(|object| is_known(&all, object)), "{backwards}");
        assert_eq!(all.keys().len(), ENDED);
    }
    // Of all namespaces together no more than that, and each has those that ended last.
    let namespaces = ENDED_OF_ALL / ENDED + 1;
    let everywhere = (0..namespaces).flat_map(|namespace| {
        (0..ENDED + 10).map(move |n| {
            let object = named(&n.to_string(), operation(&format!("{namespace}/{n}"), "shop", None));
            let at = Timestamp::from_second(1_000_000 + i64::try_from(n).unwrap()).unwrap();
            let object = with(&object, "/status", json!({"finishedAt": at.to_string()}));
            with(&object, "/metadata/namespace", format!("org-{namespace}").into())
        })
    });
    let everywhere: Vec<Value> = everywhere.collect();
    let all = operations([]);
    list(&all, &everywhere);
    assert_eq!(all.keys().len(), ENDED_OF_ALL);
}

#[test]
fn of_those_that_lack_their_hook_a_bounded_number_is_told_and_none_for_ever() {
    let all = operations([]);
    let lacking = |n: usize, finished: Timestamp| {
        // Another controller has written over what blocks it.
        let conditions = json!([{"type": "Failed", "status": "True", "reason": "HookNotFound"},
            {"type": "Blocked", "status": "True", "reason": "ValidationFailed"}]);
        with(&numbered(n), "/status", json!({"finishedAt": finished.to_string(), "conditions": conditions}))
    };
    let long_ago = Timestamp::from_second(1_000_000).unwrap();
    list(&all, &(0..AWAITING_HOOK).map(|n| lacking(n, long_ago)).collect::<Vec<_>>());
    assert!(all.is_past("op-0"), "a week is over");
    list(&all, &(0..AWAITING_HOOK + 1).map(|n| lacking(n, Timestamp::now())).collect::<Vec<_>>());
    let told = (0..AWAITING_HOOK + 1).filter(|n| !all.is_past(&format!("op-{n}"))).count();
    assert_eq!(told, AWAITING_HOOK);
    assert_eq!(all.keys().len(), AWAITING_HOOK + 1, "the other one counts as one that has ended");
}

#[test]
fn nothing_is_started_in_a_namespace_that_has_just_got_the_gate_before_its_operations_are_known() {
    let all = operations([]);
    list(&all, []);
    let other = foreign(0, "Restore");
    assert!(all.read(&other.to_string(), &|_| false).is_none());
    all.joined("org");
    assert!(is_relisted(&all) && all.knowledge("org") == Knowledge::Soon);
    list(&all, [&other]);
    assert!(is_known(&all, &other) && all.knowledge("org") == Knowledge::Whole);
}
