mod laws;
mod metadata;

use serde_json::{Value, json};

use super::*;
use crate::decision::{Bounds, Decision, Overrides};
use crate::keys::APPROVED_BY;
use crate::plan::plan;
use crate::strip::{Place, STRIP, Strip};
use crate::verdict::Answer;

const UID: &str = "4f6a2c1e-7d5b-4a7e-9b0c-1c2d3e4f5a6b";

/// A request for the hook in `manifest`, of an Operation that exists, in the release's namespace.
fn request(manifest: Value) -> Request {
    let mut request = Request::default();
    request.operation.name = "migrate-now".to_owned();
    request.operation.namespace = "shop".to_owned();
    request.operation.uid = UID.to_owned();
    request.target.kind = "HelmRelease".to_owned();
    request.release.namespace = "shop".to_owned();
    request.hook.name =
        manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    request.hook.manifest = manifest.into();
    request
}

fn job_hook(spec: Value, template: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    for (key, value) in spec.as_object().unwrap() {
        manifest["spec"][key] = value.clone();
    }
    for (key, value) in template.as_object().unwrap() {
        manifest["spec"]["template"][key] = value.clone();
    }
    manifest
}

fn pod_hook(metadata: Value, spec: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    manifest["metadata"]["name"] = json!("migrate");
    for (key, value) in spec.as_object().unwrap() {
        manifest["spec"][key] = value.clone();
    }
    manifest
}

fn job(request: &Request) -> Value {
    plan(request, &[]).unwrap().job.unwrap()
}

#[test]
fn what_the_api_server_sets_is_stripped_from_the_spec_and_the_template() {
    let manifest = job_hook(
        json!({"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true, "suspend": true}),
        json!({"metadata": {
            "creationTimestamp": null,
            "labels": {"controller-uid": "x", "job-name": "x", "batch.kubernetes.io/controller-uid": "x",
                "batch.kubernetes.io/job-name": "x", "ops.vworkspace.io/operation": "forged", "app": "shop",
                "hookhost.vworkspace.io/claim": "x"},
            "annotations": {"hookhost.vworkspace.io/opened": "true", "sidecar.istio.io/inject": "false"},
        }}),
    );
    let job = job(&request(manifest));
    let spec: Vec<&String> = job["spec"].as_object().unwrap().keys().collect();
    assert_eq!(spec, ["template", "ttlSecondsAfterFinished"]);
    let expected = json!({"labels": {"app": "shop", "ops.vworkspace.io/operation": UID},
        "annotations": {"sidecar.istio.io/inject": "false"}});
    assert_eq!(job["spec"]["template"]["metadata"], expected);
}

#[test]
fn a_forged_operation_label_does_not_survive_where_there_is_no_uid_yet() {
    let labels = json!({"metadata": {"labels": {"ops.vworkspace.io/operation": "forged"}}});
    let mut request = request(job_hook(json!({}), labels));
    request.operation.uid.clear();
    let job = job(&request);
    assert_eq!(job["spec"]["template"].get("metadata"), None);
    assert_eq!(job["metadata"].get("ownerReferences"), None);
    assert_eq!(job["metadata"]["labels"].get(OPERATION), None);
}

#[test]
fn what_this_host_has_never_heard_of_survives() {
    let manifest = job_hook(
        json!({
            "completionMode": "Indexed", "completions": 3, "parallelism": 2, "backoffLimitPerIndex": 1,
            "maxFailedIndexes": 2, "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "fieldOfTomorrow": {"a": [1, null, 2.5]},
        }),
        json!({"tomorrow": true}),
    );
    let planned = job(&request(manifest.clone()));
    for field in manifest["spec"].as_object().unwrap().keys().filter(|field| *field != "template") {
        assert_eq!(planned["spec"][field], manifest["spec"][field], "{field}");
    }
    assert_eq!(planned["spec"]["template"]["tomorrow"], json!(true));
    assert_eq!(planned["spec"]["template"]["spec"], manifest["spec"]["template"]["spec"]);
    assert_eq!(planned["spec"].get("backoffLimit"), None, "each index has a limit of its own");
}

#[test]
fn a_null_of_the_jobs_spec_is_absent_and_one_of_the_template_is_kept() {
    let manifest = job_hook(
        json!({"backoffLimit": null, "activeDeadlineSeconds": null, "suspend": null, "completions": null}),
        json!({"metadata": {"labels": null, "annotations": null}}),
    );
    let mut manifest = manifest;
    manifest["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": null});
    let job = job(&request(manifest));
    let spec: Vec<&String> = job["spec"].as_object().unwrap().keys().collect();
    assert_eq!(spec, ["template", "ttlSecondsAfterFinished"]);
    assert_eq!(job["spec"]["template"]["metadata"]["labels"], json!({OPERATION: UID}));
    assert_eq!(job["spec"]["template"]["spec"]["nodeSelector"], json!({"disk": null}));
}

#[test]
fn the_charts_ttl_is_never_used() {
    let job_ = job(&request(job_hook(json!({"ttlSecondsAfterFinished": 0}), json!({}))));
    assert_eq!(job_["spec"]["ttlSecondsAfterFinished"], json!(86400));
    let mut asked = request(job_hook(json!({"ttlSecondsAfterFinished": 0}), json!({})));
    asked.requested.ttl_seconds_after_finished = Some(0);
    assert_eq!(job(&asked)["spec"]["ttlSecondsAfterFinished"], json!(60));
}

#[test]
fn the_charts_own_limits_hold_unless_the_operation_says_otherwise() {
    let mut request =
        request(job_hook(json!({"backoffLimit": 3, "activeDeadlineSeconds": 300.0}), json!({})));
    let planned = job(&request);
    assert_eq!(
        (&planned["spec"]["backoffLimit"], &planned["spec"]["activeDeadlineSeconds"]),
        (&json!(3), &json!(300))
    );
    request.requested.backoff_limit = Some(0);
    request.requested.active_deadline_seconds = Some(1800);
    let planned = job(&request);
    assert_eq!(
        (&planned["spec"]["backoffLimit"], &planned["spec"]["activeDeadlineSeconds"]),
        (&json!(0), &json!(1800))
    );
}

#[test]
fn a_pod_becomes_a_job_that_runs_it_once() {
    let manifest = pod_hook(
        json!({
            "labels": {"app": "shop", "helm.sh/chart": "shop-1", "helm.toolkit.fluxcd.io/name": "shop", "job-name": "x"},
            "annotations": {"helm.sh/hook": "test", "helm.sh/hook-weight": "1", "mesh.example.com/inject": "false",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "finalizers": ["f"],
        }),
        json!({"nodeName": "node-1", "ephemeralContainers": [], "hostname": "h", "restartPolicy": "Always",
            "activeDeadlineSeconds": 60}),
    );
    let planned = job(&request(manifest.clone()));
    let expected = json!({
        "activeDeadlineSeconds": 60,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 86400,
        "template": {
            "metadata": {
                "labels": {"app": "shop", "helm.sh/chart": "shop-1", "ops.vworkspace.io/operation": UID},
                "annotations": {"mesh.example.com/inject": "false"},
            },
            "spec": {"containers": [{"name": "c", "image": "i"}], "hostname": "h", "restartPolicy": "Never",
                "activeDeadlineSeconds": 60},
        },
    });
    assert_eq!(planned["spec"], expected);
    assert_eq!(planned["kind"], json!("Job"));

    let restarting = job(&request(pod_hook(json!({}), json!({"restartPolicy": "OnFailure"}))));
    assert_eq!(restarting["spec"]["template"]["spec"]["restartPolicy"], json!("OnFailure"));
    assert_eq!(
        restarting["spec"].get("backoffLimit"),
        None,
        "a Job counts the kubelet's restarts as retries"
    );
}

#[test]
fn a_jobs_restart_policy_is_not_repaired() {
    let mut manifest = job_hook(json!({}), json!({}));
    manifest["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    let plan = plan(&request(manifest), &[]).unwrap();
    assert_eq!(plan.job.unwrap()["spec"]["template"]["spec"]["restartPolicy"], json!("Always"));
    assert!(plan.warnings.iter().any(|warning| warning.code == "RestartPolicyNotAllowed"));
}

#[test]
fn a_step_waits_for_its_turn_under_a_name_that_ends_in_its_number() {
    let mut request = request(job_hook(json!({}), json!({})));
    let step = Step { number: 2, of: 12 };
    let staging = crate::plan::Staging { step: Some(step), ..Default::default() };
    let job = crate::plan::plan_staged(&request, &[], staging).unwrap().job.unwrap();
    assert_eq!(job["spec"]["suspend"], json!(true));
    assert_eq!(Step::from_job(&job), Some(step));
    let name = job["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("migrate-now-") && name.ends_with("-2"), "{name}");
    assert_ne!(name, "migrate-now-2", "which another Operation may be called");
    request.operation.name = "m".repeat(80);
    let long = job_name(&request, Some(Step { number: 12, of: 12 }));
    assert!(long.len() == 63 && long.ends_with("-12") && name::is_dns_label(&long), "{long}");
    for odd in ["", "0/2", "3/2", "1/99", "1", "a/b", "1/2/3"] {
        let job = json!({"metadata": {"annotations": {STEP: odd}}});
        assert_eq!(Step::from_job(&job), None, "{odd}");
    }
}

#[test]
fn names_are_the_operations_where_pods_can_carry_them() {
    let mut request = request(job_hook(json!({}), json!({})));
    assert_eq!(job_name(&request, None), "migrate-now");
    request.operation.name = "m".repeat(63);
    assert_eq!(job_name(&request, None), request.operation.name);
    request.operation.name = "m".repeat(64);
    let cut = job_name(&request, None);
    assert!(cut.len() == 63 && cut.starts_with("mmm"), "{cut}");
    request.operation.uid = "another".to_owned();
    assert_ne!(job_name(&request, None), cut, "another Operation, another name");
    request.operation.uid.clear();
    let planned = job_name(&request, None);
    request.operation.namespace = "other".to_owned();
    assert_ne!(job_name(&request, None), planned, "without a UID, the namespace tells them apart");
}

#[test]
fn an_indexed_jobs_name_leaves_room_for_the_index_in_hostnames() {
    let spec = json!({"completionMode": "Indexed", "completions": 1000});
    let mut request = request(job_hook(spec, json!({})));
    request.operation.name = "m".repeat(60);
    assert_eq!(job_name(&request, None).len() + "-999".len(), 63);
    request.operation.name = "with.dots".to_owned();
    assert!(name::is_dns_label(&job_name(&request, None)));
}

#[test]
fn whatever_the_hook_is_the_jobs_name_is_among_those_that_the_operation_can_have() {
    let indexed = |completions: i64| json!({"completionMode": "Indexed", "completions": completions});
    let specs = [json!({}), indexed(1), indexed(1000), indexed(i32::MAX.into())];
    for (spec, namespace) in specs.into_iter().flat_map(|spec| [(spec.clone(), "shop"), (spec, "other")]) {
        let mut request = request(job_hook(spec, json!({})));
        request.release.namespace = "shop".to_owned();
        request.operation.namespace = namespace.to_owned();
        let is_same = namespace == "shop";
        for operation in ["now", "with.dots", &"m".repeat(55), &"m.".repeat(60)] {
            request.operation.name = operation.to_owned();
            let uid = request.operation.uid.clone();
            for step in [None, Some(Step { number: 1, of: 12 }), Some(Step { number: 12, of: 12 })] {
                let name = job_name(&request, step);
                let names = job_names(operation, &uid, is_same, step.map(|step| step.number));
                assert!(names.contains(&name), "{name}: {names:?}");
                assert!(may_be_job(operation, &uid, is_same, &name), "{name}");
                assert!(!may_be_job("another", &uid, is_same, &name), "{name}");
                let is_its_alone = step.is_some() || !is_same;
                assert!(!is_its_alone || !may_be_job(operation, "another", is_same, &name), "{name}");
            }
        }
        assert!(!may_be_job("now", "uid", is_same, "now-1"), "another Operation may be called so");
    }
}

#[test]
fn across_namespaces_there_is_no_owner_and_names_cannot_meet() {
    let mut request = request(job_hook(json!({}), json!({})));
    request.operation.namespace = "org-myteam".to_owned();
    let job = job(&request);
    assert_eq!(job["metadata"]["namespace"], json!("shop"));
    assert_eq!(job["metadata"].get("ownerReferences"), None);
    assert!(job["metadata"]["name"].as_str().unwrap().starts_with("migrate-now-"));
    assert_eq!(job["metadata"]["labels"][OPERATION], json!(UID));
}

#[test]
fn a_label_whose_value_is_too_long_has_the_whole_in_an_annotation() {
    let mut request = request(job_hook(json!({}), json!({})));
    request.hook.name = "h".repeat(100);
    request.target.kind = "ApplicationInstance".to_owned();
    request.target.name = "shop".to_owned();
    request.cluster_id = "eu/prod".to_owned();
    let job = job(&request);
    let (labels, annotations) = (&job["metadata"]["labels"], &job["metadata"]["annotations"]);
    assert!(name::is_label_value(labels[SOURCE_HOOK].as_str().unwrap()));
    assert_eq!(annotations[SOURCE_HOOK], json!(request.hook.name));
    assert!(labels[CLUSTER_ID].as_str().unwrap().starts_with("eu-prod-"));
    assert_eq!(annotations[CLUSTER_ID], json!("eu/prod"));
    assert_eq!(
        (&labels[APPLICATION_INSTANCE], annotations.get(APPLICATION_INSTANCE)),
        (&json!("shop"), None)
    );
}

#[test]
fn the_decision_on_the_job_names_who_made_each_value_and_one_that_is_too_large_is_refused() {
    let answer = |policy: &str, labels: usize| Answer {
        policy: policy.to_owned(),
        digest: "sha256:1".to_owned(),
        decision: Decision::Allow(Overrides {
            backoff_limit: Bounds { at_most: Some(2), ..Bounds::default() },
            labels: (0..labels)
                .map(|n| {
                    (
                        format!("{policy}.example.com/{}", "k".repeat(50 + n / 50)) + &n.to_string(),
                        "v".to_owned(),
                    )
                })
                .collect(),
            ..Overrides::default()
        }),
    };
    let request = request(job_hook(json!({}), json!({})));
    let decision = |answers: &[Answer]| -> Value {
        let job = plan(&request, answers).unwrap().job.unwrap();
        let text = job["metadata"]["annotations"][DECISION].as_str().unwrap();
        assert!(text.len() <= DECISION_BYTES);
        serde_json::from_str(text).unwrap()
    };
    let few = decision(&[answer("a", 1), answer("b", 0)]);
    let backoff = json!({"value": 2, "source": {"policies": ["a", "b"]},
        "insteadOf": {"value": null, "source": "kubernetes"}});
    assert_eq!(few["values"]["backoffLimit"], backoff);
    assert_eq!(
        few["policies"],
        json!([{"name": "a", "digest": "sha256:1"}, {"name": "b", "digest": "sha256:1"}])
    );
    assert_eq!(few["labels"].as_object().unwrap().values().next(), Some(&json!(["a"])));
    assert_eq!(few.get(APPROVED_BY), None);
    let mut approved = request.clone();
    approved.operation.approved_by = Some("admin".to_owned());
    let job = plan(&approved, &[]).unwrap().job.unwrap();
    let text = job["metadata"]["annotations"][DECISION].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()[APPROVED_BY], "admin");
    let long_names: Vec<Answer> = (0..700).map(|n| answer(&format!("{n}{}", "p".repeat(60)), 0)).collect();
    // Never shortened: without hook and release nobody could tell what the Job runs, and it would run beside another.
    let refused = plan(&request, &long_names).unwrap_err();
    assert_eq!(refused.reason(), Reason::DecisionTooLarge);
    let told = refused.to_string();
    assert!(told.contains("700 policies") && told.contains(&DECISION_BYTES.to_string()), "{told}");
}

#[test]
fn what_kubernetes_would_refuse_is_refused_by_name() {
    for (manifest, reason, words) in [
        (
            json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x"}}),
            Reason::HookNotRunnable,
            "cannot be run",
        ),
        (json!(null), Reason::HookManifestInvalid, "cannot be run"),
        (
            job_hook(json!({}), json!({"metadata": 3})),
            Reason::HookManifestInvalid,
            "spec.template.metadata is not",
        ),
        (
            job_hook(json!({}), json!({"metadata": {"labels": []}})),
            Reason::HookManifestInvalid,
            "metadata.labels is not",
        ),
        (
            job_hook(json!({"backoffLimit": "3"}), json!({})),
            Reason::HookManifestInvalid,
            "spec.backoffLimit is the text",
        ),
    ] {
        let error = plan(&request(manifest), &[]).unwrap_err();
        assert!(error.reason() == reason && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn every_entry_of_the_strip_table_is_in_use() {
    let mut labels = Map::new();
    let mut annotations = Map::new();
    let mut job_spec = Map::new();
    let mut pod_spec = Map::new();
    let mut template_metadata = Map::new();
    for Strip { place, what, why } in STRIP {
        assert!(!why.is_empty());
        let of_domain = if what.contains('/') { what.to_owned() } else { format!("{what}/x") };
        let (map, key) = match place {
            Place::JobSpec => (&mut job_spec, what.to_owned()),
            Place::TemplateMetadata => (&mut template_metadata, what.to_owned()),
            Place::PodLabel => (&mut labels, what.to_owned()),
            Place::PodAnnotation => (&mut annotations, of_domain),
            Place::PodHookLabels => (&mut labels, of_domain),
            Place::PodHookAnnotations => (&mut annotations, of_domain),
            Place::PodHookSpec => (&mut pod_spec, what.to_owned()),
            // See `metadata`.
            _ => continue,
        };
        map.insert(key, json!("x"));
    }
    let pod =
        pod_hook(json!({"labels": labels.clone(), "annotations": annotations}), Value::Object(pod_spec));
    let pod = job(&request(pod));
    assert_eq!(pod["spec"]["template"]["metadata"], json!({"labels": {OPERATION: UID}}));
    template_metadata.insert("labels".to_owned(), Value::Object(labels));
    template_metadata.insert("annotations".to_owned(), json!({"hookhost.vworkspace.io/x": "y"}));
    let job = job(&request(job_hook(Value::Object(job_spec), json!({"metadata": template_metadata}))));
    assert_eq!(job["spec"].as_object().unwrap().len(), 2);
    assert_eq!(job["spec"]["template"]["metadata"]["annotations"], json!({}));
    let kept = job["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
    assert_eq!(kept.len(), 4, "a Job's pod template keeps what is not the Job controller's: {kept:?}");
}
