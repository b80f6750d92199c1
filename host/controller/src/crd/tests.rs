use std::path::Path;

use hookhost_core::operation;
use hookhost_helm::yaml;
use hookhost_sandbox::limits;
use serde_json::{Value, json};

use super::*;

#[test]
fn the_checked_in_crds_are_what_the_types_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    for &crd in Crd::ALL {
        let name = crd.as_str();
        let there = std::fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap_or_default();
        assert!(
            there == crd.yaml(),
            "deploy/crds/{name}.yaml is not what the types say; renew it with\n  \
             cargo run -p hookhost -- crds {name} > deploy/crds/{name}.yaml"
        );
    }
}

#[test]
fn each_crd_is_called_by_its_plural_and_group() {
    for &crd in Crd::ALL {
        let definition = crd.definition();
        let (names, group) = (&definition["spec"]["names"], &definition["spec"]["group"]);
        assert_eq!(names["plural"], crd.as_str());
        assert_eq!(definition["metadata"]["name"], format!("{}.{}", crd.as_str(), group.as_str().unwrap()));
        assert_eq!(definition["spec"]["versions"][0]["subresources"]["status"], json!({}));
    }
}

/// All schemas of a CRD, with their paths.
fn schemas(crd: Crd) -> Vec<(String, Value)> {
    fn collect(path: String, schema: &Value, all: &mut Vec<(String, Value)>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            collect(format!("{path}.{name}"), property, all);
        }
        for part in ["items", "additionalProperties"] {
            if schema[part].is_object() {
                collect(format!("{path}[]"), &schema[part], all);
            }
        }
        all.push((path, schema.clone()));
    }
    let mut all = Vec::new();
    collect(
        crd.as_str().to_owned(),
        &crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        &mut all,
    );
    all
}

#[test]
fn every_field_has_a_type_and_nothing_that_the_api_server_warns_of() {
    for (path, schema) in Crd::ALL.iter().copied().flat_map(schemas) {
        assert!(schema["type"].is_string(), "{path} has no type: {schema}");
        for word in ["nullable", "title", "anyOf", "oneOf", "$ref"] {
            assert!(schema.get(word).is_none(), "{path} has {word}: {schema}");
        }
        let format = schema["format"].as_str();
        assert!(format.is_none_or(|format| ["date-time", "int64"].contains(&format)), "{path}: {format:?}");
    }
}

#[test]
fn every_field_of_a_hook_policy_is_described() {
    for (path, schema) in schemas(Crd::HookPolicies) {
        let is_element = path.ends_with("[]");
        assert!(is_element || schema["description"].is_string(), "{path} has no description");
    }
}

#[test]
fn an_operation_may_hold_any_parameters_and_outputs() {
    for path in ["operations.spec.parameters", "operations.status.outputs"] {
        let (_, schema) = schemas(Crd::Operations).into_iter().find(|(there, _)| there == path).unwrap();
        assert_eq!(schema["x-kubernetes-preserve-unknown-fields"], true);
        assert!(schema.get("properties").is_none(), "{schema}");
    }
}

#[test]
fn an_operation_has_a_bounded_number_of_parameters() {
    let (_, schema) = schemas(Crd::Operations)
        .into_iter()
        .find(|(there, _)| there == "operations.spec.parameters")
        .unwrap();
    assert_eq!(schema["maxProperties"], 64);
}

#[test]
fn the_engine_and_the_types_are_those_that_hookhost_knows() {
    let of = |path: &str| {
        schemas(Crd::Operations).into_iter().find(|(there, _)| there == path).unwrap().1["enum"].clone()
    };
    assert_eq!(of("operations.spec.type"), json!(operation::OperationType::NAMES));
    assert!(of("operations.spec.engine").as_array().unwrap().contains(&json!(operation::ENGINE)));
}

#[test]
fn the_rules_for_limits_state_the_sandbox_s_own_bounds() {
    let rule = |path: &str| {
        let (_, schema) = schemas(Crd::HookPolicies).into_iter().find(|(there, _)| there == path).unwrap();
        schema["x-kubernetes-validations"][0]["rule"].as_str().unwrap().to_owned()
    };
    let memory = rule("hookpolicies.spec.limits.memory");
    assert!(memory.contains(&format!("quantity('{}Ki')", limits::MIN_MEMORY >> 10)), "{memory}");
    assert!(memory.contains(&format!("quantity('{}Mi')", limits::MAX_MEMORY >> 20)), "{memory}");
    let timeout = rule("hookpolicies.spec.limits.timeout");
    assert!(timeout.contains(&format!("duration('{}ms')", limits::MIN_TIMEOUT.as_millis())), "{timeout}");
    assert!(timeout.contains(&format!("duration('{}s')", limits::MAX_TIMEOUT.as_secs())), "{timeout}");
}

#[test]
fn the_worked_example_of_an_operation_is_read_and_written_unchanged() {
    let example = yaml::read_one(
        "apiVersion: ops.vworkspace.io/v1alpha1\n\
         kind: Operation\n\
         metadata:\n  name: nextcloud-myteam-pre-upgrade-2026-05-28\n  namespace: org-myteam\n\
         spec:\n  targetRef:\n    apiVersion: apps.vworkspace.io/v1alpha1\n    kind: ApplicationInstance\n    name: nextcloud-myteam\n  \
         type: Migration\n  engine: helmHookJob\n  \
         parameters:\n    hookName: nextcloud-myteam-pre-upgrade\n    activeDeadlineSeconds: 1800\n    backoffLimit: 1\n",
    )
    .unwrap();
    let typed: Operation = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), example);
}

#[test]
fn a_hook_policy_says_only_what_was_given_and_its_defaults() {
    let spec = json!({"module": {"file": "deadline-cap.wasm"}, "settings": {"max": 600}});
    let policy: HookPolicySpec = serde_json::from_value(spec).unwrap();
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(
        written,
        json!({"module": {"file": "deadline-cap.wasm"}, "settings": {"max": 600}, "failurePolicy": "Fail", "mode": "Enforce"})
    );
}
