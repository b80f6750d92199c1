//! Bad input gets a condition with a reason and a message that says what to do; it stops nobody else, and what is not
//! hookhost's is left alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{CLUSTER_ID, GATE, PATIENCE, Proxy, Release, World, message, ok, world};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::releases::{SPECIAL_GATE, helm_release, operation_for, special};

#[test]
fn a_wrong_parameter_is_refused_by_its_name() {
    let world = world();
    // Parameters are read before the target is asked for, so there is none.
    let nobody = Release::new(&world.namespace("wrong", &[GATE]), "shop");
    let cases = [
        (json!({"hookName": 7}), "spec.parameters.hookName: found 7"),
        (json!({"hookName": null}), "spec.parameters.hookName"),
        (json!({"hookName": ""}), "spec.parameters.hookName"),
        (json!({"hookName": ["shop-ok"]}), "spec.parameters.hookName: found a list"),
        (json!({"hookName": {"name": "shop-ok"}}), "spec.parameters.hookName: found a mapping"),
        (json!({"hookName": "x".repeat(5000)}), "at most 4096 bytes"),
        (json!({"hookKind": "ConfigMap"}), "spec.parameters.hookKind"),
        (json!({"hookPath": false}), "spec.parameters.hookPath: found false"),
        (json!({"event": "pre-lunch"}), "spec.parameters.event"),
        (json!({"activeDeadlineSeconds": "1800"}), "without quotes"),
        (json!({"activeDeadlineSeconds": 1.5}), "spec.parameters.activeDeadlineSeconds: found 1.5"),
        (json!({"activeDeadlineSeconds": -1}), "from 0 to 2147483647"),
        (json!({"backoffLimit": 4_294_967_296_u64}), "spec.parameters.backoffLimit: found 4294967296"),
        (json!({"backoffLimit": true}), "spec.parameters.backoffLimit: found true"),
        (json!({"ttlSecondsAfterFinished": [60]}), "spec.parameters.ttlSecondsAfterFinished: found a list"),
        (json!({"waitForHook": "yes"}), "spec.parameters.waitForHook"),
        (json!({"hook-name": "shop-ok"}), "did you mean hookName?"),
        (json!({"image": "evil:latest"}), "spec.parameters.image"),
        (json!({"\u{1b}[31mred": 1}), "\\u{1b}[31mred"),
    ];
    let names: Vec<String> =
        cases.iter().map(|(parameters, _)| world.operation(&nobody, "ok", parameters.clone())).collect();
    for ((parameters, expected), name) in cases.iter().zip(names) {
        let message = world.refused(&nobody.namespace, &name, "ValidationFailed");
        let shown: String = parameters.to_string().chars().take(80).collect();
        assert!(message.contains(expected), "{shown}: {message}");
        assert!(!message.contains('\u{1b}') && message.len() < 32_768, "{shown}: {message}");
    }
}

#[test]
fn an_operation_that_is_too_large_fails_alone_and_says_how_large_it_is_and_may_be() {
    let world = world();
    let shop = world.shop();
    let named = |parameters: Value| {
        let name = format!("large-{}", world.number());
        (name.clone(), world.operation_named(&name, shop, &world.spare("ok"), parameters))
    };
    let nested = vec![json!({"a": 1}); 100 << 10];
    let (parameters, object) = named(json!({"nested": nested}));
    world.apply(&shop.namespace, &object);
    let (annotations, mut object) = named(json!({}));
    object["metadata"]["annotations"] = json!({"example.com/notes": "n".repeat(200 << 10)});
    world.apply(&shop.namespace, &object);
    // What kubectl keeps of the object does not count.
    let (usual, mut object) = named(json!({}));
    object["metadata"]["annotations"] = json!({
        "example.com/notes": "n".repeat(31 << 10),
        "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(200 << 10),
    });
    world.apply(&shop.namespace, &object);

    let message = world.refused(&shop.namespace, &parameters, "OperationTooLarge");
    assert!(message.contains("spec.parameters has 819"), "{message}");
    assert!(message.contains("at most 65536 are allowed"), "{message}");
    let message = world.refused(&shop.namespace, &annotations, "OperationTooLarge");
    assert!(message.contains("metadata.labels and metadata.annotations has 204"), "{message}");
    assert!(message.contains("at most 32768 are allowed"), "{message}");
    world.phase(&shop.namespace, &usual, "Succeeded");
}

#[test]
fn a_target_of_another_kind_is_refused() {
    let world = world();
    let nobody = Release::new(&world.namespace("wrong", &[GATE]), "shop");
    let target = |version: &str, kind: &str, name: &str| json!({"targetRef": {"apiVersion": version, "kind": kind, "name": name}});
    for (spec, expected) in [
        (target("apps/v1", "Deployment", "shop"), "has no hooks of its own"),
        (
            target("helm.toolkit.fluxcd.io/v2beta2", "HelmRelease", "shop"),
            "is served as helm.toolkit.fluxcd.io/v2",
        ),
        (
            target("apps.vworkspace.io/v1alpha1", "ApplicationInstance", "../../default/shop"),
            "spec.targetRef.name",
        ),
        (target("apps.vworkspace.io/v1alpha1", "ApplicationInstance", "other/shop"), "without a namespace"),
    ] {
        let name = operation_for(world, CLUSTER_ID, &nobody, "ok", spec);
        let message = world.refused(&nobody.namespace, &name, "ValidationFailed");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_no_record_is_refused_and_costs_nobody_else_anything() {
    let world = world();
    let namespace = world.namespace("records", &[GATE]);
    let stored = |bytes: &[u8]| json!({"release": STANDARD.encode(bytes)});
    let coded = |json: &[u8]| stored(STANDARD.encode(json).as_bytes());
    let zipped = |json: &[u8]| coded(&gzip(json));
    let whole =
        gzip(&json!({"name": "cut", "version": 1, "hooks": []}).to_string().repeat(2000).into_bytes());
    let deep = [b"{\"chart\":".to_vec(), b"[".repeat(200_000)].concat();
    // A hundred kilobytes that would become a hundred megabytes.
    let bomb = gzip(&vec![b' '; 100 << 20]);
    let invalid = "ReleaseRecordInvalid";
    let cases: Vec<(&str, Value, &str)> = vec![
        ("not-text", stored(&[0, 159, 146, 150]), invalid),
        ("not-base64", stored(b"%%%%"), invalid),
        ("empty", stored(b""), invalid),
        ("not-gzip", coded(&[0x1f, 0x8b, 0x08, 1, 2, 3]), invalid),
        ("cut", coded(&whole[..whole.len() / 2]), invalid),
        ("not-json", zipped(b"name: shop"), invalid),
        ("not-a-record", zipped(b"[]"), invalid),
        ("deep", zipped(&deep), invalid),
        ("wrong-types", zipped(b"{\"name\":[],\"version\":\"one\",\"hooks\":7}"), invalid),
        ("bomb", coded(&bomb), "ReleaseRecordTooLarge"),
        ("another", zipped(another().as_bytes()), "ReleaseTampered"),
        ("another-key", json!({"records": STANDARD.encode("{}")}), invalid),
    ];
    let mut names = Vec::new();
    for (name, data, reason) in &cases {
        names.push((pretended(world, &namespace, name, "helm.sh/release.v1", data), *reason));
    }
    let typed = pretended(world, &namespace, "another-type", "Opaque", &zipped(b"{}"));
    names.push((typed, invalid));
    for (name, reason) in &names {
        let message = world.refused(&namespace, name, reason);
        assert!(message.contains("record") || message.contains("Secret"), "{name}: {message}");
    }
    let missing = Release::new(&namespace, "nowhere");
    suspended(world, &missing);
    let name = world.operation(&world.apart(&missing), "ok", json!({}));
    world.blocked(&namespace, &name, "ReleaseBusy");
    world.delete(&namespace, &format!("operation/{name}"), None);
}

/// Makes a release by hand whose record is this; gives back an Operation on it.
fn pretended(world: &World, namespace: &str, name: &str, kind: &str, data: &Value) -> String {
    let release = Release::new(namespace, name);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
        "metadata": {"name": format!("sh.helm.release.v1.{name}.v1")},
    });
    world.apply(namespace, &secret);
    suspended(world, &release);
    world.operation(&world.apart(&release), "ok", json!({}))
}

/// A HelmRelease that Flux leaves alone and whose status names one revision.
fn suspended(world: &World, release: &Release) {
    let Release { namespace, name, .. } = release;
    helm_release(world, release, json!({"suspend": true}));
    let digest = format!("sha256:{}", "0".repeat(64));
    let snapshot = json!({
        "apiVersion": "v2", "name": name, "namespace": namespace, "version": 1, "status": "deployed",
        "chartName": "shop", "chartVersion": "1.0.0", "digest": digest, "configDigest": digest,
        "firstDeployed": "2026-05-28T14:00:00Z", "lastDeployed": "2026-05-28T14:00:00Z",
    });
    let status = json!({"storageNamespace": namespace, "history": [snapshot]});
    world.patch_status(namespace, &format!("helmrelease/{name}"), &status);
}

/// The record of some other release.
fn another() -> String {
    let chart = json!({"metadata": {"name": "bank", "version": "9.9.9", "apiVersion": "v2"}});
    let info = json!({"status": "deployed", "first_deployed": "2026-05-28T14:00:00Z", "last_deployed": "2026-05-28T14:00:00Z"});
    json!({"name": "bank", "info": info, "chart": chart, "version": 3, "namespace": "bank", "hooks": []})
        .to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_hook_that_cannot_be_a_job_is_refused_with_the_reason() {
    let world = world();
    let values = json!({"hooks": {
        "none": {"job": {"parallelism": 0}, "script": "true"},
        "odd": {"job": {"completionMode": "Whenever"}, "script": "true"},
        "elsewhere": {"job": {"managedBy": "example.com/jobs"}, "script": "true"},
    }});
    let release = world.release("odd", &world.namespace("odd", &[GATE]), &values);
    for (hook, reason, expected) in [
        ("none", "HookNotRunnable", "spec.parallelism is 0"),
        ("odd", "JobRejected", "completionMode"),
        ("elsewhere", "HookNotRunnable", "example.com/jobs"),
    ] {
        let name = world.operation(&release, hook, json!({}));
        let message = world.refused(&release.namespace, &name, reason);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn names_longer_than_a_jobs_are_cut_and_stay_apart() {
    let world = world();
    let shop = world.shop();
    let operations: Vec<Value> = ["a", "b"]
        .iter()
        .map(|end| {
            let name = format!("long.{}-{}.{end}", "x".repeat(200), world.number());
            let operation = world.operation_named(&name, shop, &world.spare("ok"), json!({}));
            world.apply(&shop.namespace, &operation);
            name
        })
        .map(|name| world.phase(&shop.namespace, &name, "Succeeded"))
        .collect();
    let jobs: BTreeMap<&str, &Value> = operations
        .iter()
        .map(|operation| (operation["status"]["engineRef"]["name"].as_str().unwrap(), operation))
        .collect();
    assert_eq!(jobs.len(), 2);
    for (name, operation) in jobs {
        assert!(name.len() <= 63, "{name}");
        let job = world.get(&shop.namespace, &format!("job/{name}")).unwrap();
        assert_eq!(job["metadata"]["ownerReferences"][0]["name"], operation["metadata"]["name"]);
    }
}

#[test]
fn operations_for_others_are_left_alone() {
    let world = world();
    let shop = world.apart(world.shop());
    let ungated = Release { namespace: world.namespace("ungated", &[]), ..shop.clone() };
    let elsewhere = operation_for(world, "cluster-prod-9", &shop, "ok", json!({}));
    let velero =
        operation_for(world, CLUSTER_ID, &shop, "ok", json!({"engine": "velero", "type": "Runbook"}));
    let outside = world.operation(&ungated, "ok", json!({}));
    // What comes after them has its turn after them.
    for _ in 0..2 {
        let name = world.operation(&shop, &world.spare("ok"), json!({}));
        world.phase(&shop.namespace, &name, "Succeeded");
    }
    for (namespace, name) in
        [(&shop.namespace, elsewhere), (&shop.namespace, velero), (&ungated.namespace, outside)]
    {
        let operation = world.get(namespace, &format!("operation/{name}")).unwrap();
        assert!(operation["status"].is_null(), "{operation:#}");
        assert!(world.of_operation(namespace, "jobs", &operation).is_empty());
    }
    // A namespace that gets the gate is served from then on.
    let (key, value) = GATE.split_once('=').unwrap();
    world.label_namespace(&ungated.namespace, key, value);
    let name = world.operation(&ungated, "ok-2", json!({}));
    world.refused(&ungated.namespace, &name, "TargetNotFound");
}

#[test]
fn a_cluster_without_flux_is_told_what_to_install() {
    let world = world();
    let special = special();
    let proxy = Proxy::start(world.cluster);
    proxy.hide("/apis/helm.toolkit.fluxcd.io/");
    let id = "without-flux";
    let host = world.host(json!({"namespaceGate": SPECIAL_GATE, "clusterId": id})).through(&proxy).start();
    let name = operation_for(world, id, &world.apart(special), "ok", json!({}));
    let operation = world.blocked(&special.namespace, &name, "CrdMissing");
    let message = message(&operation, "Blocked");
    assert!(message.contains("helmreleases") && message.contains("Install Flux"), "{message}");
    proxy.hide("nothing");
    world.phase(&special.namespace, &name, "Succeeded");
    drop(host);
}

#[test]
fn runs_that_need_much_of_their_charts_keep_no_others_waiting_while_their_jobs_are_created() {
    let world = world();
    let gate = "e2e=much";
    // As text it is little; as it is read of a record it takes some 40 MiB.
    let tolerations = vec![json!({"operator": "Exists"}); 9_500];
    let values = json!({"hooks": {"much": {"script": "echo done", "pod": {"tolerations": tolerations}}}});
    let much = world.namespace("much", &[gate]);
    let releases = ["much-1", "much-2"].map(|name| world.release(name, &much, &values));
    let usual = world.release("usual", &world.namespace("usual", &[gate]), &json!({}));
    let proxy = Proxy::start(world.cluster);
    let _host = world.host(json!({"namespaceGate": gate})).through(&proxy).start();
    // As a webhook would that takes its time.
    proxy.hold(&format!("/namespaces/{much}/jobs"));
    let names = releases.each_ref().map(|release| world.operation(release, "much", json!({})));
    let held = || (proxy.holding() == releases.len()).then_some(());
    ok(world.cluster.eventually("both Jobs are being created", PATIENCE, held));
    let begun = Instant::now();
    let name = world.operation(&usual, "ok", json!({}));
    world.phase(&usual.namespace, &name, "Succeeded");
    // What waits for them does so until hookhost gives up a write, after 35 s.
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    proxy.release();
    for name in names {
        world.phase(&much, &name, "Succeeded");
    }
}
