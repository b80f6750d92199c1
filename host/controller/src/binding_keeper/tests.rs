//! The Keeper on an API server that hangs, and beside Jobs that anybody has made; time is tokio's and passes by itself.

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::testing::{Answer, Asked, Parts, forged, genuine, is, list};
use hookhost_core::keys::RIGHTS;

/// A deleted RoleBinding that gives hookhost its rights in this namespace.
fn deleted(namespace: &str) -> kube::core::DynamicObject {
    let metadata = json!({
        "namespace": namespace, "name": "hookhost", "finalizers": [RIGHTS], "deletionTimestamp": "2026-05-28T10:00:00Z",
    });
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn released(namespace: &str) -> String {
    format!("PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/hookhost")
}

/// Namespaces, and RoleBindings that can be patched; Jobs of a namespace are these.
fn answer(asked: &Asked, jobs: impl Fn(&str) -> Answer) -> Option<Answer> {
    let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["api", "v1", "namespaces", name] => Some(is(json!({"metadata": {"name": name}}))),
        ["apis", "batch", "v1", "namespaces", namespace, "jobs"] => Some(jobs(namespace)),
        [.., "rolebindings", name] => Some(is(json!({"metadata": {"name": name}}))),
        _ => None,
    }
}

fn note(parts: &Parts, namespaces: &[&str]) {
    for namespace in namespaces {
        parts.bindings.note(&deleted(namespace), For::Runs, false);
    }
}

#[tokio::test(start_paused = true)]
async fn bindings_that_do_not_come_to_an_end_keep_no_other_waiting() {
    let parts = Parts::on(|asked| {
        answer(asked, |namespace| if namespace == "calm" { list([]) } else { Answer::Never })
    });
    let parts = parts.await;
    note(&parts, &["slow-1", "slow-2", "slow-3", "slow-4", "slow-5", "calm"]);
    let (begun, calm) = (Instant::now(), released("calm"));
    tokio::select! {
        () = parts.keeper().run() => unreachable!(),
        () = parts.until_asked(&calm) => {}
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn only_jobs_that_hookhost_can_prove_to_be_its_own_keep_a_binding() {
    let unattended = |mut job: Value| {
        job["metadata"]["finalizers"] = json!([]);
        job["metadata"]["annotations"]["hookhost.vworkspace.io/unattended"] = json!("true");
        job
    };
    let parts = Parts::on(move |asked| {
        answer(asked, |namespace| {
            list(match namespace {
                "own" => vec![genuine(namespace, "run", "op-uid")],
                "own-unattended" => vec![unattended(genuine(namespace, "run", "op-uid"))],
                "forged" => vec![forged(namespace, "forged", "op-uid")],
                "forged-unattended" => vec![unattended(forged(namespace, "forged", "op-uid"))],
                _ => Vec::new(),
            })
        })
    });
    let parts = parts.await;
    note(&parts, &["own", "own-unattended", "forged", "forged-unattended"]);
    let kept = timeout(Duration::from_secs(120), parts.keeper().run()).await;
    assert!(kept.is_err());
    let is_released = |namespace: &str| parts.times(&released(namespace)) > 0;
    assert!(is_released("forged") && is_released("forged-unattended"));
    assert!(!is_released("own") && !is_released("own-unattended"), "{:#?}", parts.asked());
    // As long as there were rights, whoever takes hookhost's finalizer off such Jobs was told of it.
    assert!(parts.orphans.all().contains(&"forged/forged".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_binding_waits_for_others_jobs_until_they_are_let_go_but_not_for_ever() {
    let parts = Parts::on(|asked| answer(asked, |namespace| list([forged(namespace, "forged", "op-uid")])));
    let parts = parts.await;
    note(&parts, &["org"]);
    let (begun, org) = (Instant::now(), released("org"));
    tokio::select! {
        () = parts.keeper().run() => unreachable!(),
        () = parts.until_asked(&org) => {}
    }
    assert!((FOR_OTHERS..2 * FOR_OTHERS).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}
