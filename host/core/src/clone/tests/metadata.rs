//! What the run's Job has of the labels and annotations of the chart's.

use super::*;
use crate::keys::CLOSURE;
use crate::keys::{CLAIM, OPENED};
use crate::plan::{Plan, Row, Staging, plan_staged};
use crate::strip::{Place, STRIP, Strip};
use crate::testing::keys;
use crate::verdict::{LABELS_BYTES, OWNED_DOMAINS};

fn keys_of(object: &Value, pointer: &str) -> Vec<String> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

fn with_metadata(metadata: Value) -> Value {
    let mut manifest = job_hook(json!({}), json!({}));
    for (key, value) in metadata.as_object().unwrap() {
        manifest["metadata"][key] = value.clone();
    }
    manifest
}

fn planned(manifest: Value) -> Plan {
    plan(&request(manifest), &[]).unwrap()
}

fn row<'p>(plan: &'p Plan, field: &str) -> &'p Row {
    plan.explain.iter().find(|row| row.field == field).unwrap_or_else(|| panic!("no row for {field}"))
}

#[test]
fn the_charts_labels_and_annotations_are_kept_but_those_by_which_another_tool_takes_what_is_its_own() {
    let mut manifest = with_metadata(json!({
        "namespace": "shop", "uid": "x", "resourceVersion": "1", "creationTimestamp": null,
        "finalizers": ["f"], "ownerReferences": [{}], "generateName": "g", "managedFields": [],
        "labels": {"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "shop",
            "kueue.x-k8s.io/queue-name": "batch", "team": "payments", "app.kubernetes.io/instance": "shop",
            "helm.sh/chart": "shop-1", "empty": null},
        "annotations": {"helm.sh/hook": "pre-upgrade", "argocd.argoproj.io/tracking-id": "x",
            "meta.helm.sh/release-name": "shop", "reloader.example.com/x": "y", "note": "any \n text"},
    }));
    manifest["status"] = json!({"active": 1});
    let plan = planned(manifest);
    let job = plan.job.clone().unwrap();
    assert_eq!(keys_of(&job, ""), ["apiVersion", "kind", "metadata", "spec"]);
    let expected = ["annotations", "finalizers", "labels", "name", "namespace", "ownerReferences"];
    assert_eq!(keys_of(&job, "/metadata"), expected);
    assert_eq!(job["metadata"]["finalizers"], json!([FINALIZER]), "hookhost's own, not the chart's");
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], json!("Operation"));
    let annotations = ["note", "ops.vworkspace.io/decision", "reloader.example.com/x"];
    assert_eq!(keys_of(&job, "/metadata/annotations"), annotations);
    let labels = json!({"app.kubernetes.io/instance": "shop", "kueue.x-k8s.io/queue-name": "batch", "team": "payments",
        "empty": null, MANAGED_BY: MANAGER, OPERATION: UID, SOURCE_HOOK: "migrate"});
    assert_eq!(job["metadata"]["labels"], labels);

    let kept = row(&plan, "metadata.labels[\"team\"]");
    assert_eq!((kept.value.as_str(), kept.source.to_string()), (Some("payments"), "chart".to_owned()));
    for (left_out, why) in [
        ("status", "chart's object"),
        ("metadata.generateName", "named after the Operation"),
        ("metadata.finalizers", "takes them off"),
        ("metadata.uid", "API server"),
        ("metadata.labels[\"app.kubernetes.io/managed-by\"]", "Helm adopts"),
        ("metadata.labels[\"helm.toolkit.fluxcd.io/name\"]", "Flux"),
        ("metadata.labels[\"helm.sh/chart\"]", "Helm"),
        ("metadata.annotations[\"helm.sh/hook\"]", "a hook"),
        ("metadata.annotations[\"meta.helm.sh/release-name\"]", "adopt"),
        ("metadata.annotations[\"argocd.argoproj.io/tracking-id\"]", "Argo CD"),
    ] {
        let mut rows = plan.explain.iter().filter(|row| row.field == left_out);
        let row = rows.rfind(|row| row.details.contains("left out: "));
        assert!(
            row.is_some_and(|row| row.details.contains(why) && row.value.is_null()),
            "{left_out}: {row:?}"
        );
    }
}

#[test]
fn a_label_by_which_argo_cd_tracks_is_kept_only_where_the_job_has_an_owner() {
    let manifest = with_metadata(json!({"labels": {"app.kubernetes.io/instance": "shop", "team": "payments",
        "app.kubernetes.io/managed-by": "platform"}}));
    let mut request = request(manifest);
    let near = job(&request);
    assert_eq!(near["metadata"]["labels"]["app.kubernetes.io/instance"], json!("shop"));
    // Helm adopts only what says Helm.
    assert_eq!(near["metadata"]["labels"]["app.kubernetes.io/managed-by"], json!("platform"));
    request.operation.namespace = "org-myteam".to_owned();
    let plan = plan(&request, &[]).unwrap();
    let far = plan.job.clone().unwrap();
    assert_eq!(far["metadata"].get("ownerReferences"), None);
    assert_eq!(far["metadata"]["labels"].get("app.kubernetes.io/instance"), None);
    assert_eq!(far["metadata"]["labels"]["team"], json!("payments"));
    let row = row(&plan, "metadata.labels[\"app.kubernetes.io/instance\"]");
    assert!(row.details.contains("no owner"), "{row:?}");
}

#[test]
fn the_label_by_which_a_queue_starts_jobs_is_left_out_where_hookhost_starts_this_one() {
    let label = "kueue.x-k8s.io/queue-name";
    let request = request(with_metadata(json!({"labels": {label: "batch", "team": "payments"}})));
    assert_eq!(job(&request)["metadata"]["labels"][label], "batch");
    let staging = Staging { step: Some(Step { number: 2, of: 3 }), ..Staging::default() };
    let plan = plan_staged(&request, &[], staging).unwrap();
    let labels = &plan.job.as_ref().unwrap()["metadata"]["labels"];
    assert_eq!((labels.get(label), &labels["team"]), (None, &json!("payments")));
    let row = row(&plan, "metadata.labels[\"kueue.x-k8s.io/queue-name\"]");
    assert!(row.details.contains("the queue would start it"), "{row:?}");
    let warning = plan.warnings.iter().find(|warning| warning.code == "QueueLabelDropped").unwrap();
    assert!(warning.message.contains("not in the queue \"batch\""), "{warning}");
    let decision = plan.job.as_ref().unwrap()["metadata"]["annotations"][DECISION].as_str().unwrap();
    assert!(decision.contains(r#""unqueued":"batch""#), "the Operation says so too: {decision}");
}

#[test]
fn nothing_of_hookhosts_own_can_be_forged() {
    let forged = [
        MANAGED_BY,
        CLUSTER_ID,
        APPLICATION_INSTANCE,
        OPERATION,
        SOURCE_HOOK,
        DECISION,
        STEP,
        OPENED,
        CLAIM,
        CLOSURE,
        "hookhost.vworkspace.io/unattended",
        "ops.vworkspace.io/cancel",
        "batch.kubernetes.io/job-name",
        "batch.kubernetes.io/job-tracking",
        "job-name",
        "controller-uid",
    ];
    let keys: Map<String, Value> = forged.iter().map(|key| ((*key).to_owned(), json!("forged"))).collect();
    for manifest in [
        with_metadata(json!({"labels": keys, "annotations": keys})),
        pod_hook(json!({"labels": keys, "annotations": keys}), json!({})),
        // Its Job has the labels of its pods.
        job_hook(json!({}), json!({"metadata": {"labels": keys}})),
    ] {
        let metadata = job(&request(manifest))["metadata"].clone();
        assert_eq!(metadata["labels"], json!({MANAGED_BY: MANAGER, OPERATION: UID, SOURCE_HOOK: "migrate"}),);
        let ours = metadata["annotations"].as_object().unwrap();
        let forged: Vec<_> = ours.iter().filter(|(_, value)| value.as_str() == Some("forged")).collect();
        // A Job is not tracked by an annotation that has no domain.
        assert!(
            forged.iter().all(|(key, _)| matches!(key.as_str(), "job-name" | "controller-uid")),
            "{forged:?}"
        );
    }
    for (domain, _) in OWNED_DOMAINS {
        let manifest = with_metadata(json!({"labels": {format!("{domain}/x"): "y"}}));
        assert_eq!(keys_of(&job(&request(manifest)), "/metadata/labels").len(), 3, "{domain}");
    }
}

#[test]
fn what_is_kept_changes_neither_the_claim_nor_what_hookhost_reads_back() {
    let kept = json!({"labels": {"team": "payments"}, "annotations": {"note": "x"}});
    let (plain, kept) = (job(&request(job_hook(json!({}), json!({})))), job(&request(with_metadata(kept))));
    assert_ne!(plain, kept);
    assert_eq!(keys().claim_job(UID, &plain), keys().claim_job(UID, &kept));
}

#[test]
fn a_job_without_labels_has_those_of_its_pods_as_the_api_server_reads_it() {
    let template =
        || json!({"metadata": {"labels": {"team": "payments", "job-name": "x", "helm.sh/chart": "s-1"}}});
    for labels in [json!({}), Value::Null] {
        let mut manifest = job_hook(json!({}), template());
        manifest["metadata"]["labels"] = labels;
        let plan = planned(manifest);
        let job = plan.job.unwrap();
        assert_eq!(job["metadata"]["labels"]["team"], json!("payments"));
        assert_eq!(job["metadata"]["labels"].as_object().unwrap().len(), 4);
        let pods = json!({"team": "payments", "helm.sh/chart": "s-1", OPERATION: UID});
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], pods);
        let left_out = plan.explain.iter().filter(|row| row.details.starts_with("left out"));
        let left_out: Vec<&str> = left_out.map(|row| row.field.as_str()).collect();
        assert_eq!(left_out, ["spec.template.metadata.labels.job-name"]);
    }
    let mut manifest = job_hook(json!({}), template());
    manifest["metadata"]["labels"] = json!({"helm.sh/chart": "s-1"});
    assert_eq!(job(&request(manifest))["metadata"]["labels"].get("team"), None, "it has labels of its own");
}

#[test]
fn the_job_of_a_pod_hook_has_the_pods_labels_and_annotations() {
    let plan = planned(pod_hook(
        json!({"labels": {"team": "payments", "helm.sh/chart": "s-1"}, "annotations": {"note": "x", "helm.sh/hook": "test"}}),
        json!({}),
    ));
    let job = plan.job.clone().unwrap();
    assert_eq!(job["metadata"]["labels"]["team"], json!("payments"));
    assert_eq!(keys_of(&job, "/metadata/annotations"), ["note", "ops.vworkspace.io/decision"]);
    let pods = json!({"annotations": {"note": "x"}, "labels": {"helm.sh/chart": "s-1", OPERATION: UID, "team": "payments"}});
    assert_eq!(job["spec"]["template"]["metadata"], pods);
    assert!(
        row(&plan, "metadata.labels[\"helm.sh/chart\"]")
            .details
            .starts_with("left out of the Job, its pods have it")
    );
    assert!(row(&plan, "metadata.annotations[\"helm.sh/hook\"]").details.starts_with("left out: "));
}

fn policy(name: &str, labels: &[(&str, &str)], annotations: &[(&str, String)]) -> Answer {
    let overrides = Overrides {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        annotations: annotations.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ..Overrides::default()
    };
    Answer { policy: name.to_owned(), digest: String::new(), decision: Decision::Allow(overrides) }
}

#[test]
fn of_one_key_a_policys_value_counts_on_the_job_and_conflicts_with_the_charts_pods() {
    let metadata = json!({"labels": {"team": "payments", "tier": "1"}, "annotations": {"note": "chart"}});
    let answer = policy("org", &[("team", "shop")], &[("note", "policy".to_owned())]);
    let settled = plan(&request(with_metadata(metadata.clone())), std::slice::from_ref(&answer)).unwrap();
    let job = settled.job.clone().unwrap();
    assert_eq!(job["metadata"]["labels"]["team"], json!("shop"));
    assert_eq!(job["metadata"]["labels"]["tier"], json!("1"));
    assert_eq!(job["metadata"]["annotations"]["note"], json!("policy"));
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["team"], json!("shop"));
    let details = &row(&settled, "metadata.labels[\"team\"]").details;
    assert_eq!(details, "also on the pods; instead of \"payments\" (chart)");
    assert_eq!(row(&settled, "metadata.annotations[\"note\"]").details, "instead of \"chart\" (chart)");

    let mut manifest = with_metadata(metadata);
    manifest["spec"]["template"]["metadata"] = json!({"labels": {"team": "payments"}});
    let conflict = plan(&request(manifest), &[answer]).unwrap();
    assert_eq!(conflict.reason(), Some(Reason::PolicyConflict));
}

#[test]
fn what_is_too_large_is_left_out_and_named_and_leaves_policies_their_room() {
    let text = |bytes: usize| "x".repeat(bytes);
    let many: Map<String, Value> = (0..2000).map(|n| (format!("{}-{n:04}", text(55)), json!("v"))).collect();
    let annotations = json!({"small": "1", "large": text(100 << 10), "larger": text(120 << 10)});
    let total = |job: &Value, what: &str| -> usize {
        let entries = job["metadata"][what].as_object().unwrap().iter();
        entries.map(|(key, value)| key.len() + value.as_str().unwrap().len()).sum()
    };
    let labelled = job(&request(with_metadata(json!({"labels": many}))));
    assert!((LABELS_BYTES - 100..LABELS_BYTES + 512).contains(&total(&labelled, "labels")));
    let manifest = with_metadata(json!({"annotations": annotations}));
    let annotated = planned(manifest.clone());
    assert_eq!(
        keys_of(annotated.job.as_ref().unwrap(), "/metadata/annotations"),
        ["large", DECISION, "small"]
    );
    assert!(annotated.warnings.iter().any(|warning| {
        warning.code == "MetadataTooLarge" && warning.message.contains("metadata.annotations.larger")
    }));
    assert!(row(&annotated, "metadata.annotations.larger").details.contains("the largest go first"));
    // Policies may have as much as ever; nothing of theirs is refused for the chart's.
    let large = [("p.example.com/a", text(100 << 10)), ("p.example.com/b", text(90 << 10))];
    let job = plan(&request(manifest), &[policy("org", &[], &large)]).unwrap().job.unwrap();
    assert_eq!(
        keys_of(&job, "/metadata/annotations"),
        [DECISION, "p.example.com/a", "p.example.com/b", "small"]
    );
    assert!(total(&job, "annotations") <= 256 << 10);
}

#[test]
fn every_entry_for_the_charts_object_is_in_use() {
    for Strip { place, what, .. } in STRIP {
        let key = |domain: &str| json!({format!("{domain}/x"): "y", format!("sub.{domain}/x"): "y"});
        let metadata = match place {
            Place::ObjectKey => json!({"labels": key(what), "annotations": key(what)}),
            Place::ObjectLabel => {
                let (key, value) = what.split_once('=').unwrap_or((what, "y"));
                json!({"labels": {key: value}})
            }
            Place::ObjectAnnotation => json!({"annotations": {what: "y"}}),
            _ => continue,
        };
        let job = job(&request(with_metadata(metadata)));
        assert_eq!(keys_of(&job, "/metadata/annotations"), [DECISION], "{what}");
        assert_eq!(keys_of(&job, "/metadata/labels").len(), 3, "{what}");
    }
    let near =
        with_metadata(json!({"labels": {"nothelm.sh/x": "y", "helm.sh": "y", "example.com/helm.sh": "y"}}));
    assert_eq!(keys_of(&job(&request(near)), "/metadata/labels").len(), 6);
}

#[test]
fn metadata_that_kubernetes_would_refuse_are_refused_by_name() {
    for (metadata, path) in
        [(json!({"labels": ["a"]}), "metadata.labels"), (json!({"annotations": "a"}), "metadata.annotations")]
    {
        let error = plan(&request(with_metadata(metadata)), &[]).unwrap_err();
        assert_eq!(error.reason(), Reason::HookManifestInvalid);
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn a_hook_without_a_name_is_told_by_the_start_of_it() {
    let mut manifest = job_hook(json!({}), json!({}));
    manifest["metadata"] = json!({"generateName": "gen-migrate-"});
    let mut request = request(manifest);
    request.hook.name = "gen-migrate-".to_owned();
    let plan = plan(&request, &[]).unwrap();
    assert!(row(&plan, "metadata.generateName").details.contains("named after the Operation"));
    let metadata = plan.job.unwrap()["metadata"].clone();
    assert_eq!((&metadata["name"], metadata.get("generateName")), (&json!("migrate-now"), None));
    assert!(name::is_label_value(metadata["labels"][SOURCE_HOOK].as_str().unwrap()));
    assert_eq!(metadata["annotations"][SOURCE_HOOK], json!("gen-migrate-"));
}
