//! What policies say: descriptions, settings errors, decisions, logs; and what breaks the contract.

use std::collections::BTreeMap;

use hookhost_core::closure::{ClosureObject, RbacRule, RoleRef, Subject};
use hookhost_core::request::Container;
use hookhost_core::{Bounds, Decision, Denial, Overrides, Postponement, Reason, Request};
use hookhost_sandbox::{Error, Level, LogLine, PreparedRequest, SettingsError};
use serde_json::json;

use crate::guest::{ANSWER, DATA, Guest, answer, number, strings};
use crate::{error_of, evaluate, load};

#[track_caller]
fn bad_output(guest: &Guest) -> String {
    let error = error_of(&guest.build());
    assert!(matches!(error, Error::BadOutput { .. }), "{error}");
    assert_eq!(error.reason(), Reason::PolicyBadOutput);
    error.to_string()
}

fn log(level: u32, at: u32, len: u32) -> String {
    format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {len}))")
}

#[test]
fn a_policy_says_what_it_is() {
    let description = load(&Guest::new().build()).unwrap().describe().unwrap();
    assert_eq!(
        (description.name.as_str(), description.version.as_str(), description.summary.as_str()),
        ("name", "0.1.0", "a summary")
    );
    assert_eq!(description.settings_schema, json!({}));
}

#[test]
fn an_empty_name_and_a_schema_that_is_no_json_are_bad_output() {
    let guest = Guest::new().describe(&answer());
    let error = load(&guest.build()).unwrap().describe().unwrap_err();
    assert!(error.to_string().contains("its name is empty"), "{error}");
    let texts = [(DATA, 4), (DATA, 4), (DATA, 4), (DATA, 4)];
    let error = load(&Guest::new().describe(&strings(&texts, 0)).build()).unwrap().describe().unwrap_err();
    assert!(error.to_string().contains("its settings schema is not JSON"), "{error}");
}

#[test]
fn settings_errors_come_with_path_and_message() {
    let policy = load(&Guest::new().build()).unwrap();
    assert_eq!(policy.validate_settings("{}").unwrap(), []);
    // A list of one record at 2048: path "max", message "too low".
    let body = [number(0, 8, 1), number(4, 32, 2048), number(8, 32, 1)].concat()
        + &[number(1024, 32, DATA.into()), number(1028, 32, 3)].concat()
        + &[number(1032, 32, (DATA + 3).into()), number(1036, 32, 7)].concat()
        + &answer();
    let policy = load(&Guest::new().data("maxtoo low").validate(&body).build()).unwrap();
    let expected = SettingsError { path: "max".into(), message: "too low".into() };
    assert_eq!(policy.validate_settings("{}").unwrap(), [expected]);
}

#[test]
fn refusing_settings_without_a_word_is_bad_output() {
    let policy = load(&Guest::new().validate(&(number(0, 8, 1) + &answer())).build()).unwrap();
    assert!(matches!(policy.validate_settings("{}"), Err(Error::BadOutput { .. })));
}

#[test]
fn each_kind_of_decision_arrives() {
    let allow = number(24, 8, 1) + &number(32, 64, 3600) + &answer();
    let decision = evaluate(&Guest::new().evaluate(&allow).build()).unwrap().decision;
    let active_deadline_seconds = Bounds { at_most: Some(3600), ..Bounds::default() };
    assert_eq!(decision, Decision::Allow(Overrides { active_deadline_seconds, ..Overrides::default() }));

    let words = strings(&[(DATA, 7), (DATA + 7, 3)], 8);
    let deny = number(0, 8, 1) + &words;
    let decision = evaluate(&Guest::new().data("TooLateno!").evaluate(&deny).build()).unwrap().decision;
    assert_eq!(decision, Decision::Deny(Denial { reason: "TooLate".into(), message: "no!".into() }));

    let hold = number(0, 8, 2) + &number(24, 32, 60) + &words;
    let decision = evaluate(&Guest::new().data("TooLateno!").evaluate(&hold).build()).unwrap().decision;
    let expected = Postponement { reason: "TooLate".into(), message: "no!".into(), retry_after_seconds: 60 };
    assert_eq!(decision, Decision::Hold(expected));
}

#[test]
fn a_decision_outside_the_contract_is_bad_output_with_its_place() {
    let deny = number(0, 8, 1) + &strings(&[(DATA, 7), (DATA, 7)], 8);
    let error = bad_output(&Guest::new().data("no word").evaluate(&deny));
    assert!(error.contains("deny.reason") && error.contains("PascalCase"), "{error}");

    let negative = number(24, 8, 1) + &number(32, 64, u64::MAX) + &answer();
    let error = bad_output(&Guest::new().evaluate(&negative));
    assert!(error.contains("allow.activeDeadlineSeconds.atMost"), "{error}");
}

#[test]
fn a_label_key_that_comes_twice_is_bad_output() {
    // Two entries at 2048, each "k" = "v".
    let entries: String =
        [1024, 1032, 1040, 1048].map(|at| number(at, 32, DATA.into()) + &number(at + 4, 32, 1)).concat();
    let body = entries + &number(152, 32, (ANSWER + 1024).into()) + &number(156, 32, 2) + &answer();
    let error = bad_output(&Guest::new().data("kv").evaluate(&body));
    assert!(error.contains("allow.labels"), "{error}");
}

#[test]
fn a_list_longer_than_memory_is_bad_output() {
    bad_output(&Guest::new().evaluate(&(number(156, 32, 1 << 31) + &answer())));
}

#[test]
fn an_answer_outside_memory_or_unaligned_is_bad_output() {
    bad_output(&Guest::new().evaluate("(i32.const -8)"));
    bad_output(&Guest::new().evaluate("(i32.const 1025)"));
    bad_output(&Guest::new().evaluate(&(number(0, 8, 1) + &strings(&[(0x7fff_0000, 9), (DATA, 1)], 8))));
}

#[test]
fn an_allocator_that_gives_bad_addresses_is_bad_output() {
    bad_output(&Guest::new().realloc("(i32.const -16)"));
    bad_output(&Guest::new().realloc("(i32.const 1)"));
}

#[test]
fn text_that_is_not_utf_8_is_bad_output() {
    let mut wasm = Guest::new()
        .data("ABCDEFGH")
        .evaluate(&(number(0, 8, 1) + &strings(&[(DATA, 8), (DATA, 8)], 8)))
        .build();
    let at = wasm.windows(8).position(|w| w == b"ABCDEFGH").unwrap();
    wasm[at..at + 8].fill(0xff);
    let error = error_of(&wasm);
    assert!(matches!(error, Error::BadOutput { .. }), "{error}");
}

#[test]
fn an_unknown_kind_of_decision_is_bad_output() {
    bad_output(&Guest::new().evaluate(&(number(0, 8, 77) + &answer())));
}

#[test]
fn a_short_list_that_would_be_huge_on_the_host_is_bad_output() {
    // 400,000 pairs of one string of 1 MiB: 3 MB in the guest, 800 GB on the host.
    let body = format!(
        "(local $at i32) (local.set $at (i32.const 2097152))
        (loop $l
          (i32.store (local.get $at) (i32.const 65536))
          (i32.store offset=4 (local.get $at) (i32.const 1048576))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 8497152))))
        {} {} {}",
        number(152, 32, 2_097_152),
        number(156, 32, 400_000),
        answer()
    );
    let error = bad_output(&Guest::new().memory("160 160").evaluate(&body));
    assert!(error.contains("fuel"), "{error}");
}

#[test]
fn log_lines_are_kept_in_order_and_cleaned() {
    let body = log(0, DATA, 5) + &log(2, DATA + 5, 4) + &answer();
    let evaluation = evaluate(&Guest::new().data("firstlast").evaluate(&body).build()).unwrap();
    let line = |level, message: &str| LogLine { level, message: message.into() };
    assert_eq!(evaluation.logs, [line(Level::Debug, "first"), line(Level::Warn, "last")]);
}

#[test]
fn a_panic_s_message_is_in_the_error_without_what_steers_a_terminal() {
    let body = log(3, DATA, 9) + "unreachable";
    let error = error_of(&Guest::new().data("boom \u{7f}now").evaluate(&body).build());
    assert!(
        matches!(&error, Error::Trapped { message: Some(m), logs, .. } if m == "boom  now" && logs.len() == 1),
        "{error}"
    );
    assert_eq!(error.logs().len(), 1);
}

#[test]
fn logging_forever_is_ended_at_64_lines() {
    let error = error_of(
        &Guest::new().evaluate(&format!("(loop $l {} (br $l)) {}", log(1, DATA, 4), answer())).build(),
    );
    assert!(matches!(&error, Error::LoggedTooMuch { logs } if logs.len() == 64), "{error}");
}

#[test]
fn a_log_line_of_more_than_1024_characters_ends_the_evaluation() {
    let fits = evaluate(&Guest::new().evaluate(&(log(1, 0, 1024) + &answer())).build());
    assert_eq!(fits.unwrap().logs.len(), 1);
    let error = error_of(&Guest::new().evaluate(&(log(1, 0, 1025) + &answer())).build());
    assert!(matches!(error, Error::LoggedTooMuch { .. }), "{error}");
}

#[test]
fn logging_a_gibibyte_is_bad_output() {
    bad_output(&Guest::new().evaluate(&(log(1, 0, 1 << 30) + &answer())));
}

#[test]
fn function_names_of_a_guest_never_reach_an_error() {
    let guest = Guest::new()
        .with("(func $\"\\1b[31mred\\0a\" unreachable)")
        .evaluate("(call $\"\\1b[31mred\\0a\") (i32.const 0)");
    let error = error_of(&guest.build());
    assert!(!format!("{error} {error:?}").contains("red"), "{error:?}");
}

#[test]
fn every_part_of_a_request_arrives() {
    // The guest's allocator hands out ascending addresses, so all text lies between 8192 and the end; the guest adds
    // up its bytes and answers with the sum as a deadline.
    let body = format!(
        "(local $at i32) (local $sum i64)
        (local.set $at (i32.const 8192))
        (loop $l
          (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 65536))))
        {} (i64.store (i32.const {}) (local.get $sum)) {}",
        number(8, 8, 1),
        ANSWER + 16,
        answer()
    );
    let policy = load(&Guest::new().evaluate(&body).build()).unwrap();
    let sum = |request: &Request, settings: &str| match policy
        .evaluate(&PreparedRequest::new(request).unwrap(), settings)
        .unwrap()
        .decision
    {
        Decision::Allow(overrides) => overrides.active_deadline_seconds.exactly.unwrap(),
        other => panic!("{other:?}"),
    };
    let full = full_request();
    let all = sum(&full, "{}");
    assert_eq!(all, sum(&full, "{}"), "the same every time");
    // Whatever is changed, the guest sees it.
    let value = serde_json::to_value(&full).unwrap();
    let mut changed = 0;
    for pointer in leaves(&value, String::new()) {
        let mut other = value.clone();
        let leaf = other.pointer_mut(&pointer).unwrap();
        *leaf = match &*leaf {
            serde_json::Value::String(s) if s.ends_with('Z') => json!("2001-02-03T04:05:06Z"),
            serde_json::Value::String(s) => json!(format!("{s}!")),
            serde_json::Value::Bool(b) => json!(!b),
            number => json!(number.as_i64().unwrap() + 1),
        };
        let other: Request = serde_json::from_value(other).unwrap();
        assert_ne!(sum(&other, "{}"), all, "{pointer}");
        changed += 1;
    }
    assert!(changed > 70, "{changed}");
    assert_ne!(sum(&full, "{ }"), all);
}

/// Paths of all values that are not lists or objects.
fn leaves(value: &serde_json::Value, at: String) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().flat_map(|(k, v)| leaves(v, format!("{at}/{}", k.replace('/', "~1")))).collect()
        }
        serde_json::Value::Array(list) => {
            list.iter().enumerate().flat_map(|(n, v)| leaves(v, format!("{at}/{n}"))).collect()
        }
        serde_json::Value::Null => Vec::new(),
        _ => vec![at],
    }
}

/// A request with something in every field.
fn full_request() -> Request {
    let map = |name: &str| {
        BTreeMap::from([(format!("{name}/a"), "1".to_owned()), (format!("{name}/b"), "2".into())])
    };
    let mut request = Request { organisation: "acme".into(), cluster_id: "c1".into(), ..Request::default() };
    let operation = &mut request.operation;
    operation.name = "op".into();
    operation.namespace = "ns".into();
    operation.uid = "uid".into();
    operation.type_of = "Migration".into();
    operation.labels = map("ol");
    operation.annotations = map("oa");
    operation.parameters.insert("p".into(), json!("v"));
    operation.approved_by = Some("me".into());
    request.target.kind = "HelmRelease".into();
    request.target.name = "target".into();
    request.target.labels = map("tl");
    request.target.annotations = map("ta");
    let release = &mut request.release;
    release.name = "rel".into();
    release.namespace = "rns".into();
    release.revision = 3;
    release.chart = "chart".into();
    release.chart_version = "1.2.3".into();
    release.app_version = Some("4.5".into());
    release.first_deployed = Some("1999-01-01T00:00:00Z".parse().unwrap());
    release.last_deployed = Some("1999-06-01T00:00:00Z".parse().unwrap());
    let hook = &mut request.hook;
    hook.name = "hook".into();
    hook.kind = "Job".into();
    hook.events = vec!["pre-upgrade".into(), "post-upgrade".into()];
    hook.weight = 7;
    hook.delete_policies = vec!["hook-succeeded".into()];
    hook.labels = map("hl");
    hook.annotations = map("ha");
    hook.service_account = "sa".into();
    hook.containers =
        vec![Container { name: "c".into(), image: "i:1".into(), init: true }, Container::default()];
    hook.declared.active_deadline_seconds = Some(1);
    hook.declared.backoff_limit = Some(2);
    hook.declared.ttl_seconds_after_finished = Some(3);
    let list = |name: &str| vec![format!("{name}1"), format!("{name}2")];
    let role = ClosureObject {
        api_version: "rbac.authorization.k8s.io/v1".into(),
        kind: "Role".into(),
        name: "role".into(),
        namespace: "rns".into(),
        rules: vec![RbacRule {
            api_groups: list("g"),
            resources: list("r"),
            verbs: list("v"),
            resource_names: list("n"),
            non_resource_urls: list("u"),
        }],
        ..ClosureObject::default()
    };
    let subject =
        |name: &str| Subject { kind: "ServiceAccount".into(), name: name.into(), namespace: "rns".into() };
    let binding = ClosureObject {
        kind: "RoleBinding".into(),
        role_ref: Some(RoleRef { kind: "ClusterRole".into(), name: "cluster-admin".into() }),
        subjects: vec![subject("sa"), subject("other"), Subject::default()],
        ..role.clone()
    };
    hook.closure = vec![role, binding];
    hook.manifest = json!({"kind": "Job"}).into();
    request.requested.active_deadline_seconds = Some(4);
    request.requested.backoff_limit = Some(5);
    request.requested.ttl_seconds_after_finished = Some(6);
    request
}

#[test]
fn a_request_or_settings_beyond_the_contract_s_size_are_refused_before_the_policy_is_asked() {
    let mut request = Request::default();
    request.operation.annotations.insert("k".into(), "x".repeat(1 << 20));
    let error = PreparedRequest::new(&request).err().expect("too large");
    assert!(matches!(error, Error::RequestTooLarge { limit, .. } if limit == 1 << 20), "{error}");
    assert_eq!(error.reason(), Reason::RequestTooLarge);

    let policy = load(&Guest::new().build()).unwrap();
    let settings = "{}".to_owned() + &" ".repeat(69_998);
    let error = policy.validate_settings(&settings).unwrap_err();
    assert!(matches!(error, Error::SettingsTooLarge { found: 70000, limit: 65536 }), "{error}");
    let request = Request::default();
    let error = policy.evaluate(&PreparedRequest::new(&request).unwrap(), &settings).unwrap_err();
    assert!(matches!(error, Error::SettingsTooLarge { .. }), "{error}");
}

#[test]
fn nothing_that_one_evaluation_leaves_in_memory_is_seen_by_the_next() {
    // Traps if the byte at 0 is set, then sets it.
    let body = format!(
        "(if (i32.load8_u (i32.const 0)) (then unreachable)) (i32.store8 (i32.const 0) (i32.const 1)) {}",
        answer()
    );
    let policy = load(&Guest::new().evaluate(&body).build()).unwrap();
    let request = Request::default();
    let prepared = PreparedRequest::new(&request).unwrap();
    for _ in 0..100 {
        policy.evaluate(&prepared, "{}").unwrap();
    }
}
