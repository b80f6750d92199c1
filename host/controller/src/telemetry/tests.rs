//! Lines as a log shipper and a person read them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;

/// What is logged while `work` runs.
fn logged(format: Format, filter: &str, work: impl FnOnce()) -> Vec<String> {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&bytes);
    let lines = Lines::new(format, move |line: &[u8]| sink.lock().unwrap().extend_from_slice(line));
    let subscriber = tracing_subscriber::registry().with(parse(filter).unwrap()).with(lines);
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(bytes.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn json_line(work: impl FnOnce()) -> Value {
    let lines = logged(Format::Json, "info", work);
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_line_is_one_flat_object_with_the_stable_fields_of_the_look_it_belongs_to() {
    let line = json_line(|| {
        let span = reconcile_span("apps", "migrate", "b6a5");
        span.record("org_id", "acme");
        let _look = span.entered();
        tracing::info!(phase = "Running", attempt = 2, is_late = false, share = 0.5, "the status changed");
    });
    for (field, expected) in [
        ("level", json!("info")),
        ("msg", json!("the status changed")),
        ("controller", json!("hookhost")),
        ("namespace", json!("apps")),
        ("operation", json!("migrate")),
        ("operation_id", json!("b6a5")),
        ("operator_version", json!(env!("CARGO_PKG_VERSION"))),
        ("org_id", json!("acme")),
        ("phase", json!("Running")),
        ("attempt", json!(2)),
        ("is_late", json!(false)),
        ("share", json!(0.5)),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert!(line.get("application_instance").is_none(), "what is not known is not there: {line}");
    let time = line["ts"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == "2026-01-02T03:04:05.678Z".len(), "{time}");
    assert!(time.parse::<k8s_openapi::jiff::Timestamp>().is_ok());
}

#[test]
fn every_look_has_an_id_of_its_own() {
    let lines = logged(Format::Json, "info", || {
        for _ in 0..2 {
            let _look = reconcile_span("apps", "migrate", "b6a5").entered();
            tracing::info!("looked");
        }
    });
    let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["reconcileID"].to_string();
    assert_ne!(id(&lines[0]), id(&lines[1]));
}

#[test]
fn a_quiet_filter_keeps_the_fields_of_what_is_still_logged() {
    let lines = logged(Format::Json, "warn", || {
        let _look = reconcile_span("apps", "migrate", "b6a5").entered();
        tracing::info!("not shown");
        tracing::warn!("shown");
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(r#""operation_id":"b6a5""#), "{}", lines[0]);
}

#[test]
fn the_event_knows_better_than_the_span_around_it_and_no_name_is_there_twice() {
    let lines = logged(Format::Json, "info", || {
        let _look = reconcile_span("apps", "migrate", "b6a5").entered();
        tracing::info!(namespace = "other", ts = "forged", level = 7, "m");
    });
    assert_eq!(lines[0].matches(r#""namespace":"#).count(), 1);
    assert_eq!(lines[0].matches(r#""ts":"#).count(), 1);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["namespace"], &line["level"]), (&json!("other"), &json!("info")));
    assert_eq!((&line["ts_"], &line["level_"]), (&json!("forged"), &json!(7)));
}

#[test]
fn hostile_text_forges_no_line_and_steers_no_terminal() {
    let hostile = "a\n{\"level\":\"info\"}\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{61c}\"";
    let work = || tracing::warn!(reason = hostile, error = %hostile, "{hostile}");
    let lines = logged(Format::Json, "info", work);
    assert_eq!(lines.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap()["reason"], hostile);
    assert!(!lines[0].chars().any(hookhost_helm::text::is_unprintable), "{:?}", lines[0]);
    let lines = logged(Format::Text, "info", work);
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].chars().any(hookhost_helm::text::is_unprintable), "{:?}", lines[0]);
}

#[test]
fn long_fields_are_cut() {
    let line = json_line(|| tracing::info!(text = "é".repeat(FIELD_BYTES), "m"));
    let text = line["text"].as_str().unwrap();
    assert!(text.len() <= FIELD_BYTES + '…'.len_utf8() && text.ends_with("é…"));
}

#[test]
fn an_error_is_shown_with_its_causes() {
    let error = hookhost_cluster::client::Error::Unreachable {
        call: hookhost_cluster::client::Call::new::<k8s_openapi::api::core::v1::Pod>(
            hookhost_cluster::client::Verb::Get,
            None,
            "a",
        ),
        source: "connection refused".into(),
    };
    let line = json_line(|| tracing::info!(error = &error as &dyn std::error::Error, "m"));
    assert_eq!(line["error"], "cannot get pods a: no answer from the API server: connection refused");
}

#[test]
fn people_read_time_level_message_and_fields() {
    let lines = logged(Format::Text, "info", || {
        tracing::warn!(namespace = "apps", error = "it is so", attempt = 2, empty = "", "cannot look");
    });
    let (_, rest) = lines[0].split_once(' ').unwrap();
    assert_eq!(rest, r#"WARN  cannot look namespace=apps error="it is so" attempt=2 empty="""#);
}

#[test]
fn a_decision_is_one_line_with_digests_and_without_the_request() {
    let request = json!({ "operation": { "name": "migrate" }, "values": "secret" });
    let policies = json!([{ "policy": "deadline-cap", "digest": "sha256:ab", "decision": { "allow": {} } }]);
    let verdict = json!({ "outcome": "allowed" });
    let line = json_line(|| {
        log_decision(&DecisionLine {
            namespace: "apps",
            operation: "migrate",
            operation_id: "b6a5",
            org_id: "acme",
            hook: "db-migrate",
            request: &request,
            policies: &policies,
            verdict: &verdict,
        });
    });
    assert_eq!(line["target"], "hookhost::decision");
    assert_eq!((&line["policies"], &line["verdict"]), (&policies, &verdict));
    assert_eq!(line["request"], digest(&request));
    assert!(!line.to_string().contains("secret"), "{line}");
}

/// The fields of the operators' reference, of the lines on which they are.
fn documented(lines: &str) -> BTreeSet<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/reported.md");
    let reference = std::fs::read_to_string(file).unwrap();
    let (_, section) = reference.split_once("\n## Log lines\n").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells[1] == lines);
    rows.map(|cells| cells[0].trim_matches('`').to_owned()).collect()
}

#[test]
fn operators_can_read_of_every_field_of_a_line() {
    let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let all = |lines: &[&str]| lines.iter().flat_map(|lines| documented(lines)).collect::<BTreeSet<_>>();
    let (always, operation) = ("every line", "lines about an Operation");
    // Of the whole process, and set by other tests perhaps.
    let with_cluster = |mut names: BTreeSet<String>| {
        names.insert("cluster_id".to_owned());
        names
    };
    assert_eq!(with_cluster(names(&json_line(|| tracing::info!("ready")))), all(&[always]));
    let line = json_line(|| {
        let span = reconcile_span("apps", "migrate", "b6a5");
        span.record("org_id", "acme");
        span.record("application_instance", "shop");
        let _reconcile = span.entered();
        tracing::info!("ready");
    });
    assert_eq!(with_cluster(names(&line)), all(&[always, operation]));
    let nothing = Value::Null;
    let line = json_line(|| {
        let _reconcile = reconcile_span("apps", "migrate", "b6a5").entered();
        log_decision(&DecisionLine {
            namespace: "apps",
            operation: "migrate",
            operation_id: "b6a5",
            org_id: "acme",
            hook: "db-migrate",
            request: &nothing,
            policies: &nothing,
            verdict: &nothing,
        });
    });
    let mut expected = all(&[always, operation, "the decision log"]);
    expected.remove("application_instance");
    assert_eq!(with_cluster(names(&line)), expected);
}

#[test]
fn the_sample_of_the_decision_log_has_the_fields_that_a_line_has() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/operating/monitoring.md");
    let page = std::fs::read_to_string(file).unwrap();
    let sample = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let sample: Value = serde_json::from_str(sample).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let lines = ["every line", "lines about an Operation", "the decision log"];
    let mut known: BTreeSet<String> = lines.into_iter().flat_map(documented).collect();
    // That of an Operation whose target is a HelmRelease, in a cluster without an id.
    assert!(known.remove("application_instance") && known.remove("cluster_id"));
    assert_eq!(names(&sample), known);
    let denial = hookhost_core::Denial { reason: "ImageNotAllowed".to_owned(), message: "…".to_owned() };
    let record = crate::policy::DecisionRecord {
        policy: "own-images".to_owned(),
        digest: sample["policies"][0]["digest"].as_str().map(str::to_owned),
        matched_by: vec!["organisation org-myteam".to_owned()],
        effect: crate::policy::Effect::Audited,
        outcome: crate::policy::Outcome::Decision(hookhost_core::Decision::Deny(denial)),
        took: std::time::Duration::from_micros(21),
        peak_memory: 196_608,
    };
    assert_eq!(sample["policies"][0], json!(record));
    assert_eq!(sample["verdict"], json!({"outcome": "allowed"}));
}

#[test]
fn the_decision_log_can_be_silenced_by_its_target() {
    let nothing = Value::Null;
    let lines = logged(Format::Json, "info,hookhost::decision=off", || {
        log_decision(&DecisionLine {
            namespace: "",
            operation: "",
            operation_id: "",
            org_id: "",
            hook: "",
            request: &nothing,
            policies: &nothing,
            verdict: &nothing,
        });
    });
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn a_digest_does_not_depend_on_the_order_of_keys() {
    let one: Value = serde_json::from_str(r#"{"a":1, "b":2}"#).unwrap();
    let other: Value = serde_json::from_str(r#"{"b":2,"a":1}"#).unwrap();
    assert_eq!(digest(&one), digest(&other));
    // sha256sum of {"a":1,"b":2}
    assert_eq!(digest(&one), "sha256:43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777");
}

#[test]
fn what_libraries_say_of_requests_is_left_out_unless_asked_for_by_name() {
    let work = || tracing::error!(target: "kube_client::client::builder", "failed with status 404");
    assert!(logged(Format::Json, "info", work).is_empty());
    assert_eq!(logged(Format::Json, "info,kube_client::client::builder=error", work).len(), 1);
}

#[test]
fn a_filter_that_is_none_is_refused_with_what_one_is() {
    let error = parse("hookhost=loud").unwrap_err();
    assert!(error.to_string().starts_with(r#""hookhost=loud" is no filter: give a level"#), "{error}");
}
