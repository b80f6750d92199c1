use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::refusal::Then;

fn job(pod_spec: Value) -> Value {
    json!({"kind": "Job", "spec": {"template": {"spec": pod_spec}}})
}

/// A pod whose one container mounts all of these volumes.
fn mounting(volumes: Vec<Value>) -> Value {
    let named = |(n, mut volume): (usize, Value)| {
        volume["name"] = json!(format!("v{n}"));
        volume
    };
    let volumes: Vec<Value> = volumes.into_iter().enumerate().map(named).collect();
    let mounts: Vec<Value> = volumes.iter().map(|volume| json!({"name": volume["name"]})).collect();
    json!({"containers": [{"volumeMounts": mounts}], "volumes": volumes})
}

fn missing(
    references: &[Reference],
    exists: impl Fn(&Reference) -> bool,
    absent: &[ObjectRef],
) -> Option<Refusal> {
    told(references, exists, absent, &Lending::Off)
}

fn told(
    references: &[Reference],
    exists: impl Fn(&Reference) -> bool,
    absent: &[ObjectRef],
    lending: &Lending,
) -> Option<Refusal> {
    let missing: Vec<_> = references.iter().filter(|one| one.is_missing(|| exists(one))).collect();
    refuse("shop", &missing, absent, lending, None)
}

fn absent(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef { kind, namespace: "shop".into(), name: name.into() }
}

fn pod() -> Value {
    json!({
        "serviceAccountName": "migrate",
        "imagePullSecrets": [{"name": "registry"}, {"name": ""}, {}, null],
        "initContainers": [{"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p", "optional": true}}}]}],
        "containers": [
            {"env": [
                {"name": "A", "value": "plain"},
                {"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "c"}}}
            ], "volumeMounts": [{"name": "a"}, {"name": "b"}, {"name": "f"}, {"name": "g"}]},
            {"envFrom": [{"configMapRef": {"name": "extra", "optional": true}}, {"secretRef": {"name": "env"}}]}
        ],
        "volumes": [
            {"name": "a", "secret": {"secretName": "tls", "optional": false}},
            {"name": "b", "configMap": {"name": "settings"}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "data-0"}},
            {"name": "d", "emptyDir": {}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "f", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}, {"secret": {"name": "token"}},
                {"configMap": {"name": "ca", "optional": true}}, {"downwardAPI": {"items": []}}
            ]}},
            {"name": "g", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi"}}}
        ]
    })
}

#[test]
fn everything_that_a_pod_refers_to_is_found_once_with_its_place() {
    let found: Vec<String> = references(&job(pod()))
        .iter()
        .map(|reference| {
            let of_pod = reference.from.strip_prefix("spec.template.spec.").unwrap();
            let mark = if reference.optional { "?" } else { "" };
            format!("{}/{}{mark} {of_pod}", reference.kind.as_str(), reference.name)
        })
        .collect();
    assert_eq!(
        found,
        [
            "ServiceAccount/migrate serviceAccountName",
            "Secret/csi volumes[6].csi.nodePublishSecretRef.name",
            // Optional in an init container, but needed in another.
            "Secret/db containers[0].env[1].valueFrom.secretKeyRef.name",
            "Secret/env containers[1].envFrom[1].secretRef.name",
            "Secret/registry? imagePullSecrets[0].name",
            "Secret/tls volumes[0].secret.secretName",
            "Secret/token volumes[5].projected.sources[1].secret.name",
            "ConfigMap/ca? volumes[5].projected.sources[2].configMap.name",
            "ConfigMap/extra? containers[1].envFrom[0].configMapRef.name",
            "ConfigMap/settings volumes[1].configMap.name",
            "PersistentVolumeClaim/data-0 volumes[2].persistentVolumeClaim.claimName",
        ]
    );
}

#[test]
fn a_volume_that_no_container_has_is_not_needed_but_for_its_claim() {
    let volumes = json!([
        {"name": "a", "secret": {"secretName": "a"}},
        {"name": "b", "projected": {"sources": [{"configMap": {"name": "b"}}]}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "d", "configMap": {"name": "d"}},
        {"secret": {"secretName": "nameless"}},
    ]);
    let needed = |pod: Value| -> Vec<String> {
        let needed = references(&job(pod)).into_iter().filter(Reference::is_in_question);
        needed.map(|reference| reference.name).collect()
    };
    assert_eq!(needed(json!({"containers": [{}], "volumes": volumes})), ["c"]);
    let init =
        json!([{"volumeMounts": [{"name": "a"}, {"name": "e"}, {}]}, {"volumeDevices": [{"name": "b"}]}]);
    assert_eq!(needed(json!({"initContainers": init, "volumes": volumes})), ["a", "b", "c"]);
    // As a variable of a container it is needed all the same.
    let variables = json!([{"envFrom": [{"configMapRef": {"name": "d"}}]}]);
    assert_eq!(needed(json!({"containers": variables, "volumes": volumes})), ["d", "c"]);
}

#[test]
fn a_pod_hook_is_read_like_a_jobs_pod() {
    let of_pod = references(&json!({"kind": "Pod", "spec": pod()}));
    let of_job = references(&job(pod()));
    assert_eq!(of_pod.len(), of_job.len());
    for (pod, job) in of_pod.iter().zip(&of_job) {
        assert_eq!((pod.kind, &pod.name, pod.optional), (job.kind, &job.name, job.optional));
        assert_eq!(format!("spec.template.{}", pod.from), job.from);
    }
}

#[test]
fn images_are_pulled_with_some_that_the_pod_would_start_without() {
    let pulls: Vec<(String, bool)> = references(&job(pod()))
        .into_iter()
        .filter(|reference| reference.pulls)
        .map(|reference| (reference.name, reference.optional))
        .collect();
    assert_eq!(pulls, [("registry".to_owned(), true)]);
}

#[test]
fn a_pod_that_names_nothing_runs_as_the_default_account() {
    let references = references(&job(json!({"containers": [{"image": "i"}]})));
    assert_eq!(references.len(), 1);
    assert_eq!((references[0].kind, references[0].name.as_str()), (Kind::ServiceAccount, "default"));
    assert!(!references[0].is_in_question());
    assert_eq!(missing(&references, |_| false, &[]), None);
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    let references = references(&job(pod()));
    let there =
        |reference: &Reference| !matches!(reference.name.as_str(), "db" | "data-0" | "registry" | "extra");
    let refusal = missing(&references, there, &[]).unwrap();
    assert_eq!((refusal.reason, refusal.then), (Reason::DependencyMissing, Then::Wait));
    assert_eq!(
        refusal.message,
        "the hook's pod could not start: there is no Secret \"db\" \
         (spec.template.spec.containers[0].env[1].valueFrom.secretKeyRef.name) and PersistentVolumeClaim \"data-0\" \
         (spec.template.spec.volumes[2].persistentVolumeClaim.claimName) in the namespace \"shop\""
    );
    assert_eq!(missing(&references, |_| true, &[]), None);
}

#[test]
fn what_helm_deleted_with_its_event_is_told_so() {
    let references = references(&job(pod()));
    let there = |reference: &Reference| !matches!(reference.name.as_str(), "db" | "migrate");
    let gone = [absent(Kind::ServiceAccount, "migrate"), absent(Kind::RoleBinding, "migrate")];
    let message = missing(&references, there, &gone).unwrap().message;
    assert!(message.contains("and RoleBinding \"migrate\" in the namespace \"shop\""), "{message}");
    assert!(
        message.contains(
            "Of these the chart has as hooks, which Helm makes for an event and deletes after it: ServiceAccount \"migrate\" and \
             RoleBinding \"migrate\". Whoever"
        ),
        "{message}"
    );
    let message = missing(&references, |reference| reference.name != "db", &[]).unwrap().message;
    assert!(!message.contains("hooks, which"), "{message}");
}

#[test]
fn of_a_later_hook_of_an_event_it_is_told_that_an_earlier_one_may_make_it() {
    let references = references(&job(pod()));
    let told = |missing: &str, number: usize| {
        let gone = [absent(Kind::ServiceAccount, "migrate")];
        let missing: Vec<_> = references.iter().filter(|one| one.name == missing).collect();
        let refusal =
            refuse("shop", &missing, &gone, &Lending::NotAsked, Some(Step { number, of: 3 })).unwrap();
        refusal.message.ends_with("run that first, by its own name")
    };
    assert!(told("db", 2));
    assert!(!told("db", 1), "there is none before it");
    assert!(!told("migrate", 2), "the chart itself has it");
}

#[test]
fn a_pod_whose_rights_are_gone_would_start_in_vain() {
    let references = references(&job(pod()));
    let gone = [absent(Kind::Role, "migrate"), absent(Kind::RoleBinding, "migrate")];
    for (lending, advice) in [
        (Lending::Off, "closure.enabled"),
        (Lending::NotAsked, "parameters.closure: true"),
        (Lending::Forbidden("strict".into()), "The HookPolicy \"strict\" forbids"),
    ] {
        let message = told(&references, |_| true, &gone, &lending).unwrap().message;
        assert!(
            message.starts_with(
                "the hook's pod could not do its work: there is no Role \"migrate\" and RoleBinding \"migrate\" in the \
                 namespace \"shop\". The chart has them as hooks"
            ),
            "{message}"
        );
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn a_key_that_an_object_lacks_is_named_with_its_place() {
    let mut pod = mounting(vec![
        json!({"secret": {"secretName": "db", "items": [{"key": "ca.crt", "path": "ca"}]}}),
        json!({"configMap": {"name": "whole"}}),
        json!({"projected": {"sources": [{"configMap": {"name": "settings", "items": [{"key": "list", "path": "l"}]}}]}}),
    ]);
    pod["containers"][0]["env"] = json!([
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "extra", "optional": true}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
    ]);
    let references = references(&job(pod));
    let keys = |name: &str| -> Vec<String> {
        let one = references.iter().find(|one| one.name == name).unwrap();
        one.keys.keys().cloned().collect()
    };
    assert_eq!(keys("db"), ["ca.crt", "password"]);
    assert_eq!(keys("settings"), ["list", "mode"]);
    assert!(keys("whole").is_empty());
    let lacking: Vec<_> = references.iter().flat_map(|one| one.lacks(|key| key != "password")).collect();
    let refusal = refuse_keys("shop", &lacking).unwrap();
    assert_eq!((refusal.reason, refusal.then), (Reason::DependencyMissing, Then::Wait));
    assert_eq!(
        refusal.message,
        "the hook's pod could not start: there is no key \"password\" in the Secret \"db\" \
         (spec.template.spec.containers[0].env[0].valueFrom.secretKeyRef.name) in the namespace \"shop\""
    );
    assert_eq!(refuse_keys("shop", &[]), None);
}

#[test]
fn a_name_that_no_object_has_is_missing_without_asking() {
    for name in ["../other", "A", "a/b", &"x".repeat(300)] {
        let references = references(&job(mounting(vec![json!({"secret": {"secretName": name}})])));
        assert!(references.iter().all(|reference| !reference.is_in_question()));
        assert!(missing(&references, |_| true, &[]).is_some(), "{name}");
    }
}

#[test]
fn neither_references_nor_messages_grow_without_end() {
    let volumes = (0..5000).map(|n| json!({"secret": {"secretName": format!("s{n}")}})).collect();
    let references = references(&job(mounting(volumes)));
    assert_eq!(references.len(), MAX_REFERENCES);
    let message = missing(&references, |_| false, &[]).unwrap().message;
    assert!(message.contains("and 247 more in the namespace") && message.len() < 2000, "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_message_names_exactly_what_is_missing(missing_names in prop::collection::btree_set(
        prop::sample::select(vec!["migrate", "csi", "db", "env", "tls", "token", "settings", "data-0"]), 0..4,
    )) {
        let references = references(&job(pod()));
        let refusal = missing(&references, |reference| !missing_names.contains(reference.name.as_str()), &[]);
        prop_assert_eq!(refusal.is_none(), missing_names.is_empty());
        for reference in &references {
            let named = refusal.as_ref().is_some_and(|refusal| refusal.message.contains(&quote(&reference.name)));
            prop_assert_eq!(named, missing_names.contains(reference.name.as_str()), "{}", reference);
        }
    }
}

#[test]
fn of_an_objects_keys_those_that_are_wanted_are_read_and_no_more_than_so_many() {
    let many: Map<String, Value> = (0..50_000).map(|n| (format!("k{n}"), json!(""))).collect();
    let mut object =
        json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": many, "binaryData": {"bin": "AA=="}});
    let text = object.to_string();
    let wanted = keys(&text, 2, |key| ["k7", "bin", "absent"].contains(&key)).unwrap();
    assert_eq!(wanted, ["bin", "k7"].map(String::from).into());
    assert_eq!(keys(&text, 64, |_| true), None, "more than are kept");
    object["data"] = Value::Null;
    assert_eq!(keys(&object.to_string(), 64, |_| true), Some(["bin".to_owned()].into()));
    assert_eq!(keys("[]", 64, |_| true), None);
}

#[test]
fn a_secret_that_comes_with_the_pods_volumes_is_not_waited_for() {
    let pod = |driver: &str, mounts: Value| {
        json!({
            "volumes": [
                {"name": "store", "csi": {"driver": driver, "nodePublishSecretRef": {"name": "store-login"}}},
                {"name": "tls", "secret": {"secretName": "tls"}},
                {"name": "all", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "map"}}]}},
            ],
            "containers": [{
                "volumeMounts": mounts,
                "env": [{"name": "U", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
                "envFrom": [{"secretRef": {"name": "env"}}, {"secretRef": {"name": "store-login"}}],
            }],
        })
    };
    let missing = |pod: Value| -> Vec<String> {
        let references = references(&job(pod));
        let missing = references.iter().filter(|one| one.is_missing(|| false));
        missing.map(|one| one.name.clone()).collect()
    };
    let all = json!([{"name": "store"}, {"name": "tls"}, {"name": "all"}]);
    for driver in SECRET_STORES {
        // What the driver itself needs, and what it does not make, is waited for.
        assert_eq!(missing(pod(driver, all.clone())), ["store-login", "map"]);
    }
    let everything = ["db", "env", "projected", "store-login", "tls", "map"];
    assert_eq!(missing(pod("other.csi.example.com", all)), everything);
    let not_mounted = json!([{"name": "tls"}, {"name": "all"}]);
    assert_eq!(
        missing(pod(SECRET_STORES[0], not_mounted)),
        ["db", "env", "projected", "store-login", "tls", "map"]
    );

    // One that is there and lacks a key is no new one.
    let references = references(&job(pod(SECRET_STORES[0], json!([{"name": "store"}]))));
    let db = references.iter().find(|one| one.name == "db").unwrap();
    assert!(db.is_in_question() && db.lacks(|_| false).count() == 1);
}
