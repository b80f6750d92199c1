//! The garbage collector on an API server that hangs, conflicts and is told of Jobs without end; time is tokio's and passes by itself.

use http::Method;
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::testing::{Answer, Asked, Parts, forged, genuine, is, list, refused};

fn job_path(namespace: &str, name: &str) -> String {
    format!("/apis/batch/v1/namespaces/{namespace}/jobs/{name}")
}

/// The Job that a request names, as it is or as it is patched: it has no finalizer then.
fn named(asked: &Asked, job: impl Fn(&str, &str) -> serde_json::Value) -> Option<Answer> {
    let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    let ["apis", "batch", "v1", "namespaces", namespace, "jobs", name] = parts[..] else { return None };
    let mut job = job(namespace, name);
    if asked.method == Method::PATCH {
        job["metadata"]["finalizers"] = json!([]);
    }
    Some(is(job))
}

#[test]
fn a_suspect_that_is_told_of_while_it_is_looked_at_is_looked_at_again() {
    let orphans = Orphans::default();
    orphans.suspect("org", "job");
    orphans.suspect("org", "job");
    let mut in_hand = InHand::default();
    let place = orphans.take(|_| true).unwrap();
    assert!(orphans.take(|_| true).is_none(), "each once");
    assert!(in_hand.begin(&place));
    orphans.suspect("org", "job");
    let again = orphans.take(|_| true).unwrap();
    assert!(!in_hand.begin(&again), "not twice at once");
    assert!(in_hand.end(&place) && in_hand.begin(&place) && !in_hand.end(&place));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_hang_and_any_number_in_one_namespace_keep_none_of_another_waiting() {
    let parts = Parts::on(|asked| match &asked.path {
        path if path.contains("/slow/") => Some(Answer::Never),
        _ => named(asked, |namespace, name| forged(namespace, name, "gone")),
    });
    let parts = parts.await;
    for n in 0..1000 {
        parts.orphans.suspect("slow", &format!("job-{n}"));
        parts.orphans.suspect("flood", &format!("job-{n}"));
    }
    parts.orphans.suspect("calm", "job");
    let begun = Instant::now();
    let calm = format!("PATCH {}", job_path("calm", "job"));
    tokio::select! {
        () = parts.garbage_collector().run() => unreachable!(),
        () = parts.until_asked(&calm) => {}
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let before = parts.asked().iter().position(|line| *line == calm).unwrap();
    assert!(before < 60, "it had its turn after {before} requests");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_changes_all_the_time_is_tried_again_after_pauses() {
    let parts = Parts::on(|asked| match asked.method {
        Method::PATCH => Some(refused(409, "Conflict")),
        _ => named(asked, |namespace, name| forged(namespace, name, "gone")),
    });
    let parts = parts.await;
    // Each change is told.
    let told = async {
        loop {
            parts.orphans.suspect("org", "job");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let working = futures::future::join(parts.garbage_collector().run(), told);
    assert!(timeout(Duration::from_secs(60), working).await.is_err());
    let tries = parts.times(&format!("PATCH {}", job_path("org", "job")));
    assert!((10..25).contains(&tries), "{tries} tries in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_can_prove_is_let_go_though_an_operation_is_there_unless_it_may_be_its_run() {
    let operation = json!({
        "metadata": {"namespace": "home", "name": "op", "uid": "op-uid", "resourceVersion": "1"},
        "spec": {"engine": "helmHookJob", "targetRef": {"kind": "HelmRelease", "name": "shop"}},
    });
    let parts = Parts::on(move |asked| match asked.path.as_str() {
        path if path.ends_with("/operations") => Some(list([operation.clone()])),
        "/api/v1/namespaces" => Some(list([json!({"metadata": {"name": "home"}})])),
        _ => named(asked, |namespace, name| match name {
            "run" => genuine(namespace, name, "op-uid"),
            _ => forged(namespace, name, "op-uid"),
        }),
    });
    let parts = parts.await;
    let run = parts.garbage_collector().run();
    let looked_at = async |namespace: &str, name: &str| {
        parts.orphans.suspect(namespace, name);
        parts.until_asked(&format!("GET {}", job_path(namespace, name))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        parts.times(&format!("PATCH {}", job_path(namespace, name)))
    };
    let looks = async {
        assert_eq!(looked_at("home", "op").await, 0, "its Operation says what becomes of it");
        assert_eq!(looked_at("home", "op-2").await, 1, "no Job of that Operation is called so");
        parts.namespaces.note_terminating("goes");
        assert_eq!(looked_at("goes", "forged").await, 1);
        assert_eq!(looked_at("goes", "run").await, 0, "that one has a result to tell");
    };
    tokio::select! { () = run => unreachable!(), () = looks => {} }
}
