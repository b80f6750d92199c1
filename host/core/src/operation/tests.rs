use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{any_json, spec_operation};

fn with(pointer: &str, key: &str, value: Value) -> Value {
    let mut operation = spec_operation();
    operation.pointer_mut(pointer).unwrap()[key] = value;
    operation
}

fn problems(operation: Value) -> Vec<String> {
    let error = Operation::from_json(operation).unwrap_err();
    assert_eq!(error.reason(), Reason::ValidationFailed);
    error.problems.iter().map(Problem::to_string).collect()
}

#[test]
fn the_time_of_an_event_counts_from_its_first_hooks_start_and_that_of_a_hook_does_not() {
    let event = Parameters {
        event: Some("post-upgrade".to_owned()),
        numbers: Numbers { active_deadline_seconds: Some(300), ..Numbers::default() },
        ..Parameters::default()
    };
    let at = |time: &str| format!("2026-05-28T{time}Z").parse::<Timestamp>().unwrap();
    assert_eq!(event.time_left(None, at("10:00:00")), Some(300), "nothing has begun");
    let left = |now: &str| event.time_left(Some(at("10:00:00")), at(now));
    assert_eq!([left("09:59:00"), left("10:01:40"), left("10:05:00")], [Some(300), Some(200), Some(0)]);
    assert!(left("11:00:00").is_some_and(|left| left < 0));
    let hook = Parameters { hook_name: "migrate".to_owned(), ..event.clone() };
    assert_eq!(hook.time_left(Some(at("10:00:00")), at("10:01:40")), None);
    let endless = Parameters { numbers: Numbers::default(), ..event };
    assert_eq!(endless.time_left(Some(at("10:00:00")), at("10:01:40")), None);
}

#[test]
fn the_specs_example_is_read() {
    let operation = Operation::from_json(spec_operation()).unwrap();
    assert_eq!(operation.name, "nextcloud-myteam-pre-upgrade-2026-05-28");
    assert_eq!(operation.namespace.as_deref(), Some("org-myteam"));
    assert_eq!(operation.uid, None);
    assert_eq!(operation.type_of, OperationType::Migration);
    assert_eq!(operation.target_ref.kind, "ApplicationInstance");
    assert_eq!(operation.parameters.hook_name, "nextcloud-myteam-pre-upgrade");
    assert_eq!(operation.parameters.numbers.active_deadline_seconds, Some(1800));
    assert_eq!(operation.parameters.numbers.backoff_limit, Some(1));
    assert_eq!(operation.parameters.numbers.ttl_seconds_after_finished, None);
    assert!(!operation.parameters.wait_for_hook && !operation.approvals.required);
    assert!(operation.unknown.is_empty());
}

#[test]
fn the_types_are_those_of_the_contract() {
    let wit = include_str!("../../../../wit/hook-policy.wit");
    let types = OperationType::NAMES;
    let (last, others) = types.split_last().unwrap();
    let sentence = format!("/// spec.type: {} or {last}.", others.join(", "));
    assert!(wit.contains(&sentence), "{sentence}");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let wrong = json!({
        "apiVersion": "ops.vworkspace.io/v2",
        "kind": "Operation",
        "metadata": {"name": "Upper Case", "namespace": 7, "labels": {"a": 1}, "creationTimestamp": "yesterday"},
        "spec": {
            "targetRef": "nextcloud", "type": "Migrate", "engine": "helm",
            "parameters": {"hookNam": "x", "backoffLimit": -1, "waitForHook": "yes", "event": "pre-upgrad"}
        }
    });
    let problems = problems(wrong);
    for (path, rest) in [
        ("apiVersion", "expected \"ops.vworkspace.io/v1alpha1\""),
        ("metadata.name", "[a-z0-9-.]"),
        ("metadata.namespace", "found 7"),
        ("metadata.labels[\"a\"]", "found 1, expected a text, in quotes"),
        ("metadata.creationTimestamp", "expected a time as in"),
        ("spec.engine", "found the text \"helm\", expected \"helmHookJob\""),
        ("spec.type", "did you mean Migration?"),
        ("spec.targetRef", "found the text \"nextcloud\", expected a mapping"),
        ("spec.parameters.hookNam", "did you mean hookName?"),
        ("spec.parameters.hookName", "found nothing"),
        ("spec.parameters.backoffLimit", "found -1, expected a whole number from 0 to 2147483647"),
        ("spec.parameters.waitForHook", "found the text \"yes\", expected true or false"),
        ("spec.parameters.event", "did you mean pre-upgrade?"),
    ] {
        let found = problems
            .iter()
            .any(|problem| problem.starts_with(&format!("{path}: ")) && problem.contains(rest));
        assert!(found, "{path} {rest}: {problems:#?}");
    }
}

#[test]
fn numbers_are_whole_and_within_what_kubernetes_can_count() {
    for key in ["activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        for bad in [json!(-1), json!(2147483648_i64), json!(1.5), json!(u64::MAX), json!(true), json!([])] {
            let problems = problems(with("/spec/parameters", key, bad.clone()));
            let start = format!("spec.parameters.{key}: found ");
            assert!(problems.len() == 1 && problems[0].starts_with(&start), "{bad}: {problems:?}");
        }
        assert!(Operation::from_json(with("/spec/parameters", key, json!(2147483647))).is_ok());
        assert!(Operation::from_json(with("/spec/parameters", key, json!(0))).is_ok());
        let quoted = problems(with("/spec/parameters", key, json!("1800")));
        assert!(quoted[0].contains("without quotes"), "{quoted:?}");
    }
}

#[test]
fn a_wait_timeout_is_a_time_of_a_second_to_a_year() {
    for (good, seconds) in [(json!("30m"), 1800), (json!("7d"), 604_800), (json!(90), 90), (json!("90"), 90)]
    {
        let operation = Operation::from_json(with("/spec/parameters", "waitTimeout", good)).unwrap();
        assert_eq!(operation.parameters.wait_timeout, Some(Duration::from_secs(seconds)));
    }
    for bad in
        [json!("never"), json!("0"), json!(0), json!(-1), json!(1.5), json!("366d"), json!(true), json!({})]
    {
        let problems = problems(with("/spec/parameters", "waitTimeout", bad.clone()));
        let is_told = problems.len() == 1 && problems[0].starts_with("spec.parameters.waitTimeout: found ");
        assert!(is_told && problems[0].contains("from 1s to 365d"), "{bad}: {problems:?}");
    }
}

#[test]
fn a_null_is_as_good_as_absent() {
    let operation = Operation::from_json(with("/spec/parameters", "backoffLimit", Value::Null)).unwrap();
    assert_eq!(operation.parameters.numbers.backoff_limit, None);
    assert!(Operation::from_json(with("/metadata", "annotations", Value::Null)).is_ok());
    assert!(Operation::from_json(with("/spec", "approvals", Value::Null)).is_ok());
    assert!(
        problems(with("/spec/parameters", "hookName", Value::Null))[0]
            .starts_with("spec.parameters.hookName")
    );
}

#[test]
fn selectors_take_the_spelling_of_kubernetes_and_helm() {
    let mut operation = with("/spec/parameters", "hookKind", json!("pod"));
    operation["spec"]["parameters"]["event"] = json!("Pre-Upgrade");
    operation["spec"]["parameters"]["hookPath"] = json!("templates/migrate.yaml");
    let operation = Operation::from_json(operation).unwrap();
    let selector = operation.selector();
    assert_eq!((selector.kind, selector.event), (Some("Pod"), Some("pre-upgrade")));
    assert_eq!(selector.path, Some("templates/migrate.yaml"));
}

#[test]
fn kubectls_copy_of_the_object_is_not_passed_on() {
    let annotations =
        json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b", "empty": null});
    let operation = Operation::from_json(with("/metadata", "annotations", annotations)).unwrap();
    let expected = [("a", "b"), ("empty", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(operation.annotations, BTreeMap::from(expected));
}

#[test]
fn a_misspelt_field_of_the_spec_is_kept_for_a_warning() {
    let operation = Operation::from_json(with("/spec", "aprovals", json!({"required": true}))).unwrap();
    assert_eq!(operation.unknown, ["spec.aprovals (did you mean approvals?)"]);
}

#[test]
fn a_name_that_is_yet_to_be_generated_is_refused() {
    let mut operation = spec_operation();
    operation["metadata"] = json!({"generateName": "migrate-"});
    assert!(problems(operation)[0].contains("the Job is named after the Operation"));
    let mut operation = spec_operation();
    operation["metadata"] = json!({"namespace": "a"});
    let problems = problems(operation);
    assert!(problems.len() == 1 && problems[0].starts_with("metadata.name: found nothing, expected a name"));
}

#[test]
fn sizes_are_bounded() {
    let too_large = |operation: Value| {
        let error = Operation::from_json(operation).unwrap_err();
        assert_eq!(error.reason(), Reason::OperationTooLarge);
        error.problems.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    let long = json!({"a": "x".repeat(limits::METADATA_BYTES)});
    assert_eq!(
        too_large(with("/metadata", "annotations", long.clone())),
        ["metadata.labels and metadata.annotations: found 32769 bytes, expected at most 32768 bytes"]
    );
    // kubectl's copy of the object is dropped, so it does not count.
    let copy = json!({"kubectl.kubernetes.io/last-applied-configuration": long["a"]});
    assert!(Operation::from_json(with("/metadata", "annotations", copy)).unwrap().annotations.is_empty());
    let long = problems(with("/spec/parameters", "hookPath", json!("x".repeat(limits::TEXT_BYTES + 1))));
    assert_eq!(long, ["spec.parameters.hookPath: found 4097 bytes, expected at most 4096 bytes"]);
    let long = problems(with("/spec/parameters", "hookName", json!("x".repeat(limits::TEXT_BYTES + 1))));
    assert_eq!(long.len(), 1, "{long:?}");
    let huge = too_large(with("/spec/parameters", "x", json!("x".repeat(limits::PARAMETERS_BYTES))));
    assert!(huge[0].starts_with("spec.parameters: found 65") && huge[0].contains("at most 65536 bytes"));
    let mut many = spec_operation();
    for n in 0..1000 {
        many["spec"]["parameters"][format!("p{n}")] = json!(1);
    }
    let error = Operation::from_json(many).unwrap_err();
    assert_eq!((error.problems.len(), error.more), (limits::PROBLEMS, 1000 - limits::PROBLEMS));
}

#[test]
fn what_is_not_a_mapping_is_refused() {
    for value in [json!(null), json!([]), json!("x"), json!({})] {
        assert!(!problems(value).is_empty());
    }
}

/// Any JSON with the keys an Operation has, so that every reader is reached.
fn any_operation() -> impl Strategy<Value = Value> {
    let keys = proptest::sample::select(vec![
        "metadata",
        "spec",
        "name",
        "labels",
        "annotations",
        "parameters",
        "hookName",
        "targetRef",
        "approvals",
        "uid",
        "creationTimestamp",
        "event",
        "type",
    ]);
    any_json(
        prop_oneof![".{0,12}", Just("helmHookJob".to_owned())],
        prop_oneof!["[a-zA-Z]{0,8}", keys.prop_map(str::to_owned)],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_json_makes_the_reader_panic(value in any_operation(), key in "[a-z]{1,8}") {
        let _ = Operation::from_json(value.clone());
        let mut operation = spec_operation();
        operation["spec"]["parameters"][&key] = value.clone();
        operation["metadata"][&key] = value.clone();
        operation["spec"][&key] = value;
        let _ = Operation::from_json(operation);
    }
}

#[test]
fn without_a_hooks_name_all_hooks_of_the_event_are_meant() {
    let with = |parameters: serde_json::Value| {
        let mut operation = spec_operation();
        operation["spec"]["parameters"] = parameters;
        Operation::from_json(operation)
    };
    let operation = with(json!({"event": "post-upgrade", "backoffLimit": 0})).unwrap();
    assert_eq!(operation.parameters.whole_event(), Some("post-upgrade"));
    let pathless = with(json!({"event": "post-upgrade", "hookPath": ""})).unwrap();
    assert_eq!(pathless.parameters.whole_event(), Some("post-upgrade"), "an empty path is none");
    assert_eq!(with(json!({"event": "test-success"})).unwrap().parameters.event.as_deref(), Some("test"));
    let named = with(json!({"event": "post-upgrade", "hookName": "migrate"})).unwrap();
    assert_eq!(named.parameters.whole_event(), None);
    let wrong = |parameters| with(parameters).unwrap_err().to_string();
    assert!(wrong(json!({"backoffLimit": 0})).contains("spec.parameters.hookName: found nothing"));
    assert!(wrong(json!({"event": "post-upgrade", "hookKind": "Job"})).contains("spec.parameters.hookKind"));
    assert!(wrong(json!({"event": "post-upgrade", "hookName": ""})).contains("spec.parameters.hookName"));
    let by_template = with(json!({"hookPath": "templates/migrate.yaml", "event": "post-upgrade"})).unwrap();
    assert_eq!((by_template.parameters.whole_event(), by_template.selector().name), (None, ""));
}
