//! From a HookPolicy in the cluster to a policy that is asked, and back to its status.

use hookhost_controller::policy::Options;
use hookhost_core::refusal::Then;
use hookhost_core::verdict::Answer;
use hookhost_core::{Decision, Reason};
use hookhost_sandbox::Compiler;
use http::StatusCode;
use serde_json::json;

use crate::cluster::Cluster;
use crate::guest::{self, Guest};
use crate::{Host, allowing, denying, request, spec, spec_with};

const GET_MODULE: &str = "GET /api/v1/namespaces/hookhost/configmaps/";
const PATCH: &str = "PATCH ";

#[tokio::test(start_paused = true)]
async fn the_status_says_what_the_policy_is() {
    let cluster = Cluster::new([("allow", allowing())]);
    cluster.apply("a", spec("allow"));
    let host = Host::start(cluster.clone()).await;
    let digest = host.decide().unwrap().answers[0].digest.clone();
    let status = cluster.until("a", |status| status["digest"].is_string()).await;
    assert_eq!(status["digest"], digest);
    assert_eq!(status["shortDigest"], digest["sha256:".len()..][..12]);
    assert_eq!(status["describe"], json!({"name": "name", "version": "0.1.0", "description": "a summary"}));
    assert_eq!(status["observedGeneration"], 1);
    let ready = &status["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["reason"]),
        (&json!("Ready"), &json!("True"), &json!("Loaded"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_module_refuses_what_it_matches_until_it_is_there() {
    let cluster = Cluster::new([]);
    cluster.apply("a", spec_with("allow", json!({"match": {"hooks": ["migrate"]}})));
    let host = Host::start(cluster.clone()).await;
    let refusal = host.decide().unwrap_err().refusal;
    assert_eq!((refusal.reason, refusal.then), (Reason::PolicyUnavailable, Then::Wait));
    assert!(
        refusal.message.contains("kubectl create configmap policies -n hookhost --from-file=allow="),
        "{refusal}"
    );
    assert!(host.decide_for(&request("other")).is_ok());
    let ready = cluster.condition("a", "Ready", "PolicyModuleMissing").await;
    assert_eq!(ready["status"], "False");

    cluster.put_module("other", allowing());
    cluster.until("a", |status| status.to_string().contains("has no key")).await;
    cluster.put_module("allow", allowing());
    assert_eq!(host.until(Result::is_ok).await.unwrap().answers.len(), 1);
    cluster.condition("a", "Ready", "Loaded").await;
}

#[tokio::test(start_paused = true)]
async fn a_module_that_is_not_the_pinned_one_is_refused_until_it_is() {
    let cluster = Cluster::new([("a", denying()), ("b", allowing())]);
    cluster.apply("b", spec("b"));
    let host = Host::start(cluster.clone()).await;
    let digest = host.decide().unwrap().answers[0].digest.clone();

    let mut pinned = spec("a");
    pinned["module"]["sha256"] = json!(digest);
    cluster.apply("a", pinned);
    let ready = cluster.condition("a", "Ready", "PolicyDigestMismatch").await;
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains(&format!("wants {digest}")), "{message}");
    assert!(host.decide().is_err());
    cluster.put_module("a", allowing());
    let decided = host.until(Result::is_ok).await.unwrap();
    assert!(decided.answers.iter().all(|answer| answer.digest == digest));
}

#[tokio::test(start_paused = true)]
async fn settings_that_the_policy_refuses_are_told_with_their_paths() {
    let errors = [guest::number(0, 8, 1), guest::number(4, 32, 2048), guest::number(8, 32, 1)].concat()
        + &[guest::number(1024, 32, 5000), guest::number(1028, 32, 3)].concat()
        + &[guest::number(1032, 32, 5003), guest::number(1036, 32, 7)].concat()
        + &guest::answer();
    let picky = Guest::new().with(r#"(data (i32.const 5000) "maxtoo low")"#).validate(&errors).build();
    let cluster = Cluster::new([("picky", picky)]);
    cluster.apply("a", spec_with("picky", json!({"settings": {"max": 1}})));
    let host = Host::start(cluster.clone()).await;
    let ready = cluster.condition("a", "Ready", "PolicySettingsInvalid").await;
    assert_eq!(ready["message"], "the policy refuses spec.settings: max: too low");
    assert!(host.decide().unwrap_err().refusal.message.contains("max: too low"));
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_broken_policy_says_why_and_leaves_the_others_alone() {
    let cluster = Cluster::new([
        ("good", allowing()),
        ("text", b"no wasm".to_vec()),
        ("module", Guest::new().module()),
        ("world", guest::of_version("0.2.0")),
        ("name", Guest::new().describe(&guest::answer()).build()),
        ("long", vec![0; (4 << 20) + 1]),
    ]);
    cluster.apply("good", spec("good"));
    let broken = [
        ("not-wasm", spec("text"), "PolicyInvalid"),
        ("no-component", spec("module"), "PolicyInvalid"),
        ("too-long", spec("long"), "PolicyInvalid"),
        ("other-world", spec("world"), "PolicyIncompatible"),
        ("no-name", spec("name"), "PolicyBadOutput"),
        ("no-file", json!({"module": {"file": "a.wasm"}}), "PolicyModuleMissing"),
        ("no-module", json!({}), "ValidationFailed"),
        ("no-memory", spec_with("good", json!({"limits": {"memory": "1Ti"}})), "ValidationFailed"),
        ("no-mode", spec_with("good", json!({"mode": ["Audit"]})), "ValidationFailed"),
    ];
    for (name, spec, _) in &broken {
        let mut spec = spec.clone();
        spec["match"] = json!({"hooks": [name]});
        cluster.apply(name, spec);
    }
    let host = Host::start(cluster.clone()).await;
    for (name, _, reason) in &broken {
        assert_eq!(cluster.condition(name, "Ready", reason).await["status"], "False", "{name}");
        let refusal = host.decide_for(&request(name)).unwrap_err().refusal;
        assert!(refusal.message.contains(reason), "{refusal}");
    }
    assert_eq!(host.decide().unwrap().answers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_even_be_matched_refuses_everything_until_it_is_gone() {
    let cluster = Cluster::new([]);
    cluster.apply("a", json!({"match": "everything", "failurePolicy": "Ignore", "module": {"file": "a"}}));
    let host = Host::start(cluster.clone()).await;
    assert!(host.decide().is_ok(), "its failurePolicy could be read");
    cluster.apply("b", json!("nonsense"));
    assert_eq!(host.until(Result::is_err).await.unwrap_err().refusal.reason, Reason::PolicyUnavailable);
    cluster.delete("b");
    assert_eq!(host.until(Result::is_ok).await.unwrap().records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_component_is_compiled_once_however_many_use_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("compiled");
    let program = env!("CARGO_BIN_EXE_hookhost-controller-compile-policy");
    let script = format!("echo once >> {}; exec {program}", log.display());
    let cluster = Cluster::new([("a", allowing()), ("b", allowing()), ("c", denying())]);
    for n in 0..10 {
        let key = if n % 2 == 0 { "a" } else { "b" };
        let limits = json!({"limits": {"memory": format!("{}Mi", n + 1)}, "settings": {"n": n}});
        cluster.apply(&format!("p{n}"), spec_with(key, limits));
    }
    cluster.apply("other", spec_with("c", json!({"mode": "Audit"})));
    let host =
        Host::start_compiling(cluster, Options::default(), Compiler::new("/bin/sh", ["-c".into(), script]));
    host.policies.ready().await;
    assert_eq!(host.decide().unwrap().answers.len(), 10);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "once\nonce\n");
}

#[tokio::test(start_paused = true)]
async fn a_new_module_under_an_old_name_is_used_once_the_policy_is_touched() {
    let cluster = Cluster::new([("a", allowing())]);
    cluster.apply("a", spec("a"));
    let host = Host::start(cluster.clone()).await;
    let old = host.decide().unwrap().answers[0].digest.clone();
    cluster.put_module("a", denying());
    cluster.annotate("a", "again");
    let new =
        host.until(|decided| decided.as_ref().is_ok_and(|it| it.answers[0].digest != old)).await.unwrap();
    cluster.until("a", |status| status["digest"] == new.answers[0].digest).await;

    // An API server that cannot answer says nothing about the module.
    cluster.fail_modules(Some(StatusCode::SERVICE_UNAVAILABLE));
    let asked = cluster.asked(GET_MODULE);
    cluster.annotate("a", "and again");
    while cluster.asked(GET_MODULE) < asked + 3 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(host.decide().is_ok());
}

#[tokio::test(start_paused = true)]
async fn changing_only_whom_a_policy_is_for_keeps_it_in_use() {
    let cluster = Cluster::new([("a", allowing())]);
    cluster.apply("a", spec_with("a", json!({"match": {"hooks": ["other"]}})));
    let host = Host::start(cluster.clone()).await;
    cluster.apply("a", spec("a"));
    let decided =
        host.until(|decided| decided.as_ref().is_ok_and(|it| it.answers.len() == 1) || decided.is_err());
    assert!(decided.await.is_ok());
    cluster.until("a", |status| status["observedGeneration"] == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_often_ends_as_what_it_was_last() {
    let cluster = Cluster::new([("a", allowing()), ("b", denying())]);
    cluster.apply("a", spec("a"));
    let host = Host::start(cluster.clone()).await;
    for n in 0..50 {
        cluster.apply("a", spec_with(if n % 2 == 0 { "a" } else { "b" }, json!({"settings": {"n": n}})));
        tokio::task::yield_now().await;
    }
    cluster.until("a", |status| status["observedGeneration"] == 51).await;
    assert!(matches!(host.decide().unwrap().answers[0].decision, Decision::Deny(_)));
    cluster.delete("a");
    cluster.apply("a", spec("a"));
    let is_allowed = |answer: &Answer| matches!(answer.decision, Decision::Allow(_));
    let decided =
        host.until(|decided| decided.as_ref().is_ok_and(|it| it.answers.first().is_some_and(is_allowed)));
    decided.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_for_each_change_and_a_ready_policy_costs_nothing() {
    let cluster = Cluster::new([("a", allowing())]);
    cluster.apply("a", spec("a"));
    let host = Host::start(cluster.clone()).await;
    cluster.condition("a", "Ready", "Loaded").await;
    let (read, written) = (cluster.asked(GET_MODULE), cluster.asked(PATCH));
    assert_eq!((read, written), (1, 1));
    for _ in 0..100 {
        host.decide().unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    assert_eq!((cluster.asked(GET_MODULE), cluster.asked(PATCH)), (read, written));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_now_and_then_does_not_write_each_time() {
    let cluster = Cluster::new([("trap", crate::trapping())]);
    cluster.apply("a", spec("trap"));
    let host = Host::start(cluster.clone()).await;
    cluster.condition("a", "Ready", "Loaded").await;
    for n in 0..100 {
        let mut request = request("migrate");
        request.operation.name = format!("run-{n}");
        host.decide_for(&request).unwrap_err();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    cluster.condition("a", "Degraded", "PolicyTrapped").await;
    assert_eq!(cluster.asked(PATCH), 2);
}

#[tokio::test(start_paused = true)]
async fn files_are_read_below_the_directory_that_was_chosen() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("team")).unwrap();
    std::fs::write(dir.path().join("team/a.wasm"), allowing()).unwrap();
    let cluster = Cluster::new([]);
    cluster.apply("a", json!({"module": {"file": "team/a.wasm"}}));
    cluster.apply("b", json!({"module": {"file": "../a.wasm"}, "match": {"hooks": ["other"]}}));
    let options = Options { policy_dir: Some(dir.path().into()), ..Options::default() };
    let host = Host::start_with(cluster.clone(), options).await;
    assert_eq!(host.decide().unwrap().answers.len(), 1);
    let ready = cluster.condition("b", "Ready", "ValidationFailed").await;
    assert!(ready["message"].as_str().unwrap().contains("below --policy-dir"), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn a_stock_policy_is_found_by_its_name_and_an_unknown_one_is_told_which_there_are() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("all-may.wasm"), allowing()).unwrap();
    let cluster = Cluster::new([]);
    cluster.apply("a", json!({"module": {"stock": "all-may"}}));
    cluster.apply("b", json!({"module": {"stock": "none-may"}, "match": {"hooks": ["other"]}}));
    let options = Options { stock_policies: Some(dir.path().into()), ..Options::default() };
    let host = Host::start_with(cluster.clone(), options).await;
    assert_eq!(host.decide().unwrap().answers.len(), 1);
    let ready = cluster.condition("b", "Ready", "PolicyModuleMissing").await;
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("\"none-may\": the stock policies are all-may"), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn two_hookhosts_that_find_different_things_do_not_write_over_each_other_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.wasm"), allowing()).unwrap();
    let cluster = Cluster::new([]);
    cluster.apply("a", json!({"module": {"file": "a.wasm"}}));
    let options = Options { policy_dir: Some(dir.path().into()), ..Options::default() };
    let _with_files = Host::start_with(cluster.clone(), options).await;
    let _without = Host::start(cluster.clone()).await;
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    let written = cluster.asked(PATCH);
    assert!((2..100).contains(&written), "{written} writes in a day");
    // A change is told at once all the same.
    cluster.apply("a", json!({"module": {"file": "b.wasm"}}));
    let begun = tokio::time::Instant::now();
    cluster.until("a", |status| status["observedGeneration"] == 2).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_before_the_policies_are_known() {
    let cluster = Cluster::new([("a", allowing())]);
    cluster.apply("a", spec("a"));
    let program = env!("CARGO_BIN_EXE_hookhost-controller-compile-policy");
    let host = Host::start_compiling(cluster, Options::default(), Compiler::new(program, [""; 0]));
    let refusal = host.decide().unwrap_err().refusal;
    assert_eq!((refusal.reason, refusal.then), (Reason::PolicyUnavailable, Then::Wait));
    assert!(!host.policies.is_ready());
    host.policies.ready().await;
    assert!(host.decide().is_ok());
}
