use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decision::{Bounds, Decision, Overrides};
use crate::keys;
use crate::object::ObjectRef;
use crate::operation::Operation;
use crate::request::{Inputs, Target};
use crate::testing;
use crate::verdict::Source;
use hookhost_helm::hook::Hook;
use hookhost_helm::record::{Chart, Record};
use hookhost_helm::status::Status;

const UID: &str = "4f6a2c1e-7d5b-4a7e-9b0c-1c2d3e4f5a6b";

fn hook(manifest: Value) -> Hook {
    testing::hook(manifest, "org-myteam")
}

/// The hook Job of the spec's worked example, as the chart would have rendered it.
fn spec_hook() -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "nextcloud-myteam-pre-upgrade",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"helm.sh/hook": "pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation"},
        },
        "spec": {"template": {"spec": spec_pod()}},
    })
}

fn spec_pod() -> Value {
    let secret = |key: &str| json!({"secretKeyRef": {"name": "nextcloud-myteam", "key": key}});
    json!({
        "serviceAccountName": "nextcloud-myteam",
        "restartPolicy": "Never",
        "containers": [{
            "name": "pre-upgrade",
            "image": "nextcloud:29.0.4-fpm",
            "command": ["/bin/sh", "-c"],
            "args": ["php occ maintenance:repair --include-expensive"],
            "env": [
                {"name": "NEXTCLOUD_ADMIN_USER", "valueFrom": secret("admin-user")},
                {"name": "NEXTCLOUD_ADMIN_PASSWORD", "valueFrom": secret("admin-password")},
            ],
            "volumeMounts": [{"name": "nextcloud-data", "mountPath": "/var/www/html"}],
        }],
        "volumes": [{"name": "nextcloud-data", "persistentVolumeClaim": {"claimName": "data-nextcloud-myteam"}}],
    })
}

fn spec_operation() -> Operation {
    let mut operation = testing::spec_operation();
    operation["metadata"]["uid"] = json!(UID);
    Operation::from_json(operation).unwrap()
}

fn record() -> Record {
    Record {
        name: "nextcloud-myteam".to_owned(),
        namespace: "org-myteam".to_owned(),
        revision: 3,
        status: Status::Deployed,
        first_deployed: None,
        last_deployed: Some("2026-05-27T10:00:00Z".parse().unwrap()),
        deleted: None,
        chart: Chart { name: "nextcloud".to_owned(), version: "5.0.0".to_owned(), app_version: None },
        stored_hooks: Vec::new(),
    }
}

fn build(operation: &Operation, hooks: &[Hook]) -> Result<Request, crate::request::BuildError> {
    Request::build(Inputs {
        operation,
        approved_by: None,
        target: Target {
            kind: operation.target_ref.kind.clone(),
            name: operation.target_ref.name.clone(),
            ..Target::default()
        },
        release: crate::request::Release::from(&record()),
        hook: &hooks[0],
        hooks,
        organisation: "org-myteam".to_owned(),
        cluster_id: "cluster-prod-1".to_owned(),
        now: "2026-05-28T14:00:00Z".parse().unwrap(),
    })
}

fn request(manifest: Value) -> Request {
    build(&spec_operation(), &[hook(manifest)]).unwrap()
}

#[test]
fn the_job_is_where_its_manifest_says_and_the_operation_owns_it_only_in_its_own_namespace() {
    let planned = |namespace: &str| {
        let mut manifest = spec_hook();
        manifest["metadata"]["namespace"] = json!(namespace);
        let plan = plan(&request(manifest), &[]).unwrap();
        let explained =
            plan.explain.iter().find(|row| row.field == "metadata.namespace").unwrap().details.clone();
        (plan.job.unwrap(), explained, plan.warnings)
    };
    let (far, explained, warnings) = planned("elsewhere");
    assert_eq!(far["metadata"]["namespace"], "elsewhere");
    assert!(far["metadata"]["ownerReferences"].is_null());
    let name = far["metadata"]["name"].as_str().unwrap();
    assert!(
        name.starts_with("nextcloud-myteam-pre-upgrade-2026-05-28-"),
        "others may be called so there: {name}"
    );
    assert_eq!(explained, "the hook's own, as its manifest names it");
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.code == "OtherNamespace" && warning.message.contains("\"elsewhere\""), "{warning}");
    for near in ["", "org-myteam"] {
        let (job, explained, warnings) = planned(near);
        assert_eq!(job["metadata"]["namespace"], "org-myteam");
        assert!(job["metadata"]["ownerReferences"].is_array() && warnings.is_empty());
        assert_eq!(explained, "the release's namespace");
    }
}

fn answer(policy: &str, decision: Value) -> Answer {
    Answer {
        policy: policy.to_owned(),
        digest: "sha256:0".to_owned(),
        decision: serde_json::from_value(decision).unwrap(),
    }
}

#[test]
fn the_specs_worked_example_comes_out_as_the_spec_prints_it() {
    let plan = plan(&request(spec_hook()), &[]).unwrap();
    assert_eq!((plan.reason(), &plan.warnings), (None, &Vec::new()));
    let mut job = plan.job.unwrap();
    let annotations = job["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
    assert_eq!(annotations.as_object().unwrap().len(), 1, "the decision, which the spec does not print");
    let finalizers = job["metadata"].as_object_mut().unwrap().remove("finalizers").unwrap();
    assert_eq!(finalizers, json!([keys::FINALIZER]), "which the spec does not print");
    let instance = job["metadata"]["labels"].as_object_mut().unwrap().remove(keys::APPLICATION_INSTANCE);
    assert_eq!(
        instance,
        Some(json!("nextcloud-myteam")),
        "the API's own label, which the spec does not print"
    );
    let expected = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "nextcloud-myteam-pre-upgrade-2026-05-28",
            "namespace": "org-myteam",
            "labels": {
                "app.vworkspace.io/managed-by": "vworkspace-operator",
                "app.vworkspace.io/cluster-id": "cluster-prod-1",
                "ops.vworkspace.io/operation": UID,
                "ops.vworkspace.io/source-hook": "nextcloud-myteam-pre-upgrade",
            },
            "ownerReferences": [{
                "apiVersion": "ops.vworkspace.io/v1alpha1",
                "kind": "Operation",
                "name": "nextcloud-myteam-pre-upgrade-2026-05-28",
                "uid": UID,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": 1800,
            "ttlSecondsAfterFinished": 86400,
            "template": {"metadata": {"labels": {"ops.vworkspace.io/operation": UID}}, "spec": spec_pod()},
        },
    });
    assert_eq!(job, expected);
}

#[test]
fn the_request_says_all_that_a_policy_may_judge_by() {
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nextcloud-myteam"}});
    let mut manifest = spec_hook();
    manifest["spec"]["backoffLimit"] = json!(4);
    let request = build(&spec_operation(), &[hook(manifest.clone()), hook(account)]).unwrap();
    assert_eq!((&*request.operation.uid, &*request.operation.type_of), (UID, "Migration"));
    assert_eq!(request.operation.created, request.now, "not created yet");
    assert_eq!(request.operation.parameters["backoffLimit"], json!(1));
    assert_eq!((request.requested.backoff_limit, request.hook.declared.backoff_limit), (Some(1), Some(4)));
    assert_eq!((&*request.release.name, request.release.revision), ("nextcloud-myteam", 3));
    assert_eq!((&*request.release.chart, &*request.release.chart_version), ("nextcloud", "5.0.0"));
    assert_eq!(request.hook.annotations["helm.sh/hook"], "pre-upgrade");
    assert_eq!(request.hook.service_account, "nextcloud-myteam");
    assert_eq!(request.hook.containers[0].image, "nextcloud:29.0.4-fpm");
    assert_eq!(request.hook.closure[0].kind, "ServiceAccount");
    assert_eq!(*request.hook.manifest, manifest);
}

#[test]
fn an_operation_without_a_namespace_is_taken_to_the_releases() {
    let mut operation = spec_operation();
    operation.namespace = None;
    let request = build(&operation, &[hook(spec_hook())]).unwrap();
    assert_eq!(request.operation.namespace, "org-myteam");
}

#[test]
fn a_wrong_number_in_the_chart_is_refused() {
    let mut manifest = spec_hook();
    manifest["spec"]["backoffLimit"] = json!([]);
    let error = build(&spec_operation(), &[hook(manifest)]).unwrap_err();
    assert_eq!(error.reason(), Reason::HookManifestInvalid);
}

#[test]
fn policies_that_do_not_allow_leave_no_job() {
    for (decision, outcome, reason) in [
        (json!({"deny": {"reason": "No", "message": "m"}}), "denied", Reason::PolicyDenied),
        (
            json!({"hold": {"reason": "No", "message": "m", "retryAfterSeconds": 9}}),
            "held",
            Reason::PolicyHeld,
        ),
        (
            json!({"allow": {"backoffLimit": {"atMost": 1, "atLeast": 2}}}),
            "contradictory",
            Reason::PolicyConflict,
        ),
    ] {
        let plan = plan(&request(spec_hook()), &[answer("p", decision)]).unwrap();
        assert_eq!((plan.reason(), &plan.job, plan.explain.len()), (Some(reason), &None, 0));
        let json = plan.to_json();
        assert_eq!((&json["outcome"], &json["reason"]), (&json!(outcome), &json!(reason.as_str())));
        assert_eq!(json.get("job"), None);
    }
}

#[test]
fn a_plan_for_programs_has_the_job_and_its_reasons() {
    let plan = plan(&request(spec_hook()), &[answer("p", json!({"allow": {}}))]).unwrap();
    let json = plan.to_json();
    assert_eq!((&json["outcome"], &json["reason"]), (&json!("allowed"), &Value::Null));
    assert_eq!(json["job"], plan.job.unwrap());
    assert_eq!(json["policies"], json!([{"name": "p", "digest": "sha256:0"}]));
    let deadline =
        json["explain"].as_array().unwrap().iter().find(|row| row["field"] == "spec.activeDeadlineSeconds");
    let expected =
        json!({"field": "spec.activeDeadlineSeconds", "value": 1800, "source": "operation", "details": ""});
    assert_eq!(deadline, Some(&expected));
}

#[test]
fn explain_tells_what_a_policy_changed_and_what_was_before() {
    let cap = answer(
        "deadline-cap",
        json!({"allow": {"activeDeadlineSeconds": {"atMost": 600},
        "ttlSecondsAfterFinished": {"atMost": 3600}, "labels": {"team": "db"}}}),
    );
    let mut manifest = spec_hook();
    manifest["spec"]["ttlSecondsAfterFinished"] = json!(5);
    manifest["spec"]["suspend"] = json!(true);
    manifest["spec"]["completions"] = json!(1);
    let plan = plan(&request(manifest), &[cap]).unwrap();
    let row = |field: &str| plan.explain.iter().find(|row| row.field == field).unwrap();
    let policy = Source::Policies(vec!["deadline-cap".to_owned()]);
    let deadline = row("spec.activeDeadlineSeconds");
    assert_eq!((&deadline.value, &deadline.source), (&json!(600), &policy));
    assert_eq!(deadline.details, "instead of 1800 (Operation); at most 600 (policy \"deadline-cap\")");
    let ttl = row("spec.ttlSecondsAfterFinished");
    assert!(ttl.details.contains("instead of 86400 (hookhost)"), "{}", ttl.details);
    assert!(ttl.details.contains("the chart's own 5 is for Helm's Job and not used"), "{}", ttl.details);
    assert_eq!(row("spec.completions").source, Source::Chart);
    assert_eq!(row("metadata.labels[\"team\"]").source, policy);
    assert_eq!(row("spec.template.metadata.labels[\"team\"]").source, policy);
    assert!(row("spec.suspend").details.starts_with("left out: a suspended Job never starts"));
    assert_eq!(row("spec.template.spec.containers[pre-upgrade].image").value, json!("nextcloud:29.0.4-fpm"));
    assert!(
        row("spec.template").details.contains("revision 3 of nextcloud-myteam with chart nextcloud 5.0.0")
    );
    assert!(plan.warnings.iter().any(|warning| warning.code == "SuspendDropped"));
}

#[test]
fn what_is_only_known_once_the_operation_exists_is_said() {
    let mut operation = spec_operation();
    operation.uid = None;
    let plan = plan(&build(&operation, &[hook(spec_hook())]).unwrap(), &[]).unwrap();
    for field in ["metadata.labels[\"ops.vworkspace.io/operation\"]", "metadata.ownerReferences"] {
        let row = plan.explain.iter().find(|row| row.field == field).unwrap();
        assert!(row.value.is_null() && row.details.contains("once it has been created"), "{row:?}");
    }
}

/// The codes of the warnings for a hook with these events whose manifest was changed.
fn warned(events: &[&str], change: impl Fn(&mut Value)) -> BTreeSet<&'static str> {
    let mut manifest = spec_hook();
    change(&mut manifest);
    let mut hook = hook(manifest);
    hook.events = events.iter().map(|event| (*event).to_owned()).collect();
    let mut operation = spec_operation();
    operation.parameters.numbers = crate::request::Numbers::default();
    let plan = plan(&build(&operation, &[hook]).unwrap(), &[]).unwrap();
    plan.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn warnings_say_what_may_not_be_wanted() {
    let deadline = |manifest: &mut Value| manifest["spec"]["activeDeadlineSeconds"] = json!(60);
    assert!(warned(&["pre-upgrade", "post-install"], deadline).is_empty());
    assert!(warned(&["test"], deadline).is_empty());
    assert!(warned(&["pre-upgrade", "post-delete"], deadline).is_empty(), "it has another use");
    for (events, code) in [
        (["pre-install", "post-install"], "InstallHook"),
        (["pre-delete", "post-delete"], "DeleteHook"),
        (["pre-rollback", "post-rollback"], "RollbackHook"),
    ] {
        assert_eq!(warned(&events, deadline), BTreeSet::from([code]));
    }
    let pod = |change: fn(&mut Value)| {
        warned(&["pre-upgrade"], |manifest| {
            deadline(manifest);
            change(&mut manifest["spec"]["template"]);
        })
    };
    assert_eq!(warned(&["pre-upgrade"], |_| {}), BTreeSet::from(["NoDeadline"]));
    assert_eq!(
        warned(&["pre-upgrade"], |manifest| manifest["spec"]["activeDeadlineSeconds"] = json!(0)),
        BTreeSet::from(["DeadlineZero"])
    );
    assert_eq!(
        pod(|template| template["spec"]["activeDeadlineSeconds"] = json!(30)),
        BTreeSet::from(["PodDeadline"])
    );
    assert_eq!(
        pod(|template| template["metadata"] = json!({"annotations": {"sidecar.istio.io/inject": "true"}})),
        BTreeSet::from(["Sidecar"])
    );
    assert_eq!(
        pod(|template| template["spec"]["containers"] = json!([{"name": "a"}, {"name": "b"}])),
        BTreeSet::from(["SeveralContainers"])
    );
    let plan = plan(
        &request(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}})),
        &[],
    );
    let codes: Vec<&str> = plan.unwrap().warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["NodeNameDropped"]);
}

#[test]
fn a_warning_lists_the_hooks_that_helm_may_have_deleted() {
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nextcloud-myteam"}});
    let request = build(&spec_operation(), &[hook(spec_hook()), hook(account)]).unwrap();
    let plan = plan(&request, &[]).unwrap();
    let messages: Vec<String> = plan.warnings.iter().map(Warning::to_string).collect();
    let expected =
        "the hook needs other hooks, which Helm may have deleted since: ServiceAccount nextcloud-myteam";
    assert_eq!(messages, [expected]);
}

#[test]
fn what_is_odd_about_the_operation_is_a_warning() {
    let mut operation = spec_operation();
    operation.unknown = vec!["spec.aprovals (did you mean approvals?)".to_owned()];
    operation.approvals.required = true;
    let messages: Vec<String> = operation.warnings().iter().map(Warning::to_string).collect();
    let expected = [
        "the Operation's spec.aprovals (did you mean approvals?) is not read",
        "the Operation runs only once it has been approved",
    ];
    assert_eq!(messages, expected);
}

fn any_overrides() -> impl Strategy<Value = Overrides> {
    let ceiling =
        || proptest::option::of(60_i64..5000).prop_map(|at_most| Bounds { at_most, ..Bounds::default() });
    let entries = || proptest::collection::btree_map("[a-c]", Just("v".to_owned()), 0..3);
    (ceiling(), ceiling(), ceiling(), entries(), entries()).prop_map(
        |(active_deadline_seconds, backoff_limit, ttl_seconds_after_finished, labels, annotations)| {
            Overrides {
                active_deadline_seconds,
                backoff_limit,
                ttl_seconds_after_finished,
                labels,
                annotations,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn explain_names_a_source_for_each_field_of_the_job(
        overrides in proptest::collection::vec(any_overrides(), 0..4),
        spec in proptest::collection::btree_map("[a-z]{1,8}", any::<i32>(), 0..4),
        deadline in proptest::option::of(0_i64..9999), long_name in any::<bool>(), with_uid in any::<bool>(),
        same_namespace in any::<bool>(),
    ) {
        let mut manifest = spec_hook();
        for (field, value) in spec {
            manifest["spec"][field] = json!(value);
        }
        manifest["spec"]["activeDeadlineSeconds"] = json!(deadline);
        let mut request = request(manifest);
        if long_name {
            request.hook.name = "n".repeat(80);
        }
        if !with_uid {
            request.operation.uid.clear();
        }
        if !same_namespace {
            request.operation.namespace = "elsewhere".to_owned();
        }
        let answers: Vec<Answer> = overrides
            .into_iter()
            .enumerate()
            .map(|(n, overrides)| Answer {
                policy: format!("p{n}"), digest: String::new(), decision: Decision::Allow(overrides),
            })
            .collect();
        let plan = plan(&request, &answers).unwrap();
        let job = plan.job.unwrap();
        let mut expected: Vec<(String, &Value)> = Vec::new();
        for parent in ["metadata", "spec"] {
            for (field, value) in job[parent].as_object().unwrap() {
                match field.as_str() {
                    "labels" | "annotations" => expected.extend(
                        value.as_object().unwrap().iter()
                            .map(|(key, value)| (format!("{parent}.{field}[\"{key}\"]"), value)),
                    ),
                    _ => expected.push((format!("{parent}.{field}"), value)),
                }
            }
        }
        for (key, value) in job["spec"]["template"]["metadata"]["labels"].as_object().into_iter().flatten() {
            expected.push((format!("spec.template.metadata.labels[\"{key}\"]"), value));
        }
        for (field, value) in expected {
            let rows: Vec<&Row> = plan.explain.iter().filter(|row| row.field == field).collect();
            prop_assert_eq!(rows.len(), 1, "{}", field);
            let described = field.ends_with("decision\"]") || field.ends_with("ownerReferences") || field == "spec.template";
            prop_assert!(described || rows[0].value == *value, "{}", field);
        }
        // A plan does not depend on the order of the policies, down to the last byte.
        let mut reversed = answers;
        reversed.reverse();
        prop_assert_eq!(super::plan(&request, &reversed).unwrap().job.unwrap(), job);
    }
}

#[test]
fn what_a_run_is_without_is_kept_on_its_job() {
    let request = request(spec_hook());
    let object = ObjectRef {
        kind: crate::kind::Kind::NetworkPolicy,
        namespace: "org-myteam".to_owned(),
        name: "migrate".to_owned(),
    };
    let far = ObjectRef {
        namespace: "kube-system".to_owned(),
        kind: crate::kind::Kind::RoleBinding,
        ..object.clone()
    };
    let named = ObjectRef { name: "by-name".to_owned(), ..object.clone() };
    let not_created = clone::NotCreated { without: vec![object], unseen: vec![far], missed: vec![named] };
    let staging = Staging { not_created, ..Staging::default() };
    let job = plan_staged(&request, &[], staging).unwrap().job.unwrap();
    let decision: Value =
        serde_json::from_str(job["metadata"]["annotations"][keys::DECISION].as_str().unwrap()).unwrap();
    assert_eq!(decision["without"], json!(["NetworkPolicy/migrate"]));
    assert_eq!(decision["unseen"], json!(["kube-system/RoleBinding/migrate"]));
    assert_eq!(decision["missed"], json!(["NetworkPolicy/by-name"]));
    assert_eq!(job["spec"].get("suspend"), None, "it waits for nothing");
}
