use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::keys::SOURCE_HOOK;
use crate::kind::Kind;
use crate::testing::keys;

const UID: &str = "4f6a2c1e-7d5b-4a7e-9b0c-1c2d3e4f5a6b";

/// A Job as hookhost sends it.
fn sent() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "migrate-now", "namespace": "shop",
            "labels": {SOURCE_HOOK: "migrate", "ops.vworkspace.io/operation": UID},
            "annotations": {DECISION: r#"{"hook":{"name":"migrate"}}"#},
        },
        "spec": {
            "backoffLimit": 1,
            "template": {"spec": {
                "restartPolicy": "Never",
                "serviceAccount": "migrate",
                "hostNetwork": false,
                "nodeSelector": {"disk": "ssd"},
                "containers": [{
                    "name": "c", "image": "i:1", "command": ["migrate"], "args": [], "resources": {"limits": {"cpu": "0.5"}},
                    "env": [{"name": "A", "value": ""}, {"name": "B", "value": "b"}, {"name": "P",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "securityContext": null, "ports": [{"containerPort": 80}],
                }],
                "volumes": [{"name": "scripts", "configMap": {"name": "scripts"}}, {"name": "tmp"}],
            }},
        },
    })
}

/// What the API server makes of it.
fn live() -> Value {
    let mut job = sent();
    job["metadata"]["uid"] = json!("job-uid");
    job["metadata"]["labels"]["more"] = json!("x");
    job["spec"]["completions"] = json!(1);
    job["spec"]["parallelism"] = json!(1);
    job["spec"]["completionMode"] = json!("NonIndexed");
    job["spec"]["suspend"] = json!(false);
    job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "job-uid"}});
    job["spec"]["template"]["metadata"] = json!({"labels": {"job-name": "migrate-now"}});
    let pod = &mut job["spec"]["template"]["spec"];
    for (field, value) in [
        ("serviceAccountName", json!("migrate")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("securityContext", json!({})),
    ] {
        pod[field] = value;
    }
    pod.as_object_mut().unwrap().remove("hostNetwork");
    let container = pod["containers"][0].as_object_mut().unwrap();
    container.remove("args");
    container.remove("securityContext");
    container["env"][0].as_object_mut().unwrap().remove("value");
    container["env"][2]["valueFrom"]["fieldRef"]["apiVersion"] = json!("v1");
    container["ports"][0]["protocol"] = json!("TCP");
    container["resources"]["limits"]["cpu"] = json!("500m");
    for (field, value) in
        [("imagePullPolicy", "IfNotPresent"), ("terminationMessagePath", "/dev/termination-log")]
    {
        container.insert(field.to_owned(), json!(value));
    }
    pod["volumes"][0]["configMap"]["defaultMode"] = json!(420);
    pod["volumes"][1]["emptyDir"] = json!({});
    job
}

fn claimed(mut job: Value, by: &Keys) -> Value {
    job["metadata"]["annotations"][CLAIM] = json!(by.claim_job(UID, &job));
    job
}

fn holds(job: &Value) -> bool {
    Claim::of_job(job, &job["spec"])
        .is_some_and(|claim| claim.operation() == Some(UID) && claim.is_genuine(&keys()))
}

#[test]
fn the_claim_of_what_was_sent_holds_for_what_the_api_server_makes_of_it() {
    let sent = claimed(sent(), &keys());
    assert!(holds(&sent));
    let mut job = live();
    job["metadata"]["annotations"][CLAIM] = sent["metadata"]["annotations"][CLAIM].clone();
    assert!(holds(&job));
    // What may change in the life of a Job.
    job["spec"]["parallelism"] = json!(2);
    job["spec"]["activeDeadlineSeconds"] = json!(5);
    job["spec"]["template"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    job["spec"]["template"]["spec"]["nodeSelector"] = json!({"queue": "a"});
    job["metadata"]["annotations"]["kubectl.kubernetes.io/x"] = json!("y");
    job["metadata"]["labels"] = json!({SOURCE_HOOK: "migrate"});
    job["metadata"]["ownerReferences"] = json!([]);
    job["status"] = json!({"active": 1});
    assert!(holds(&job));
}

#[test]
fn a_claim_does_not_hold_for_a_job_that_counts_other_pods_than_its_own() {
    let genuine = claimed(live(), &keys());
    let with = |field: &str, value: Value| {
        let mut job = genuine.clone();
        job["spec"][field] = value;
        holds(&job)
    };
    assert!(with("manualSelector", json!(false)) && with("managedBy", json!("kubernetes.io/job-controller")));
    assert!(!with("manualSelector", json!(true)));
    assert!(!with("managedBy", json!("example.com/another")));
}

#[test]
fn a_claim_holds_for_nothing_else() {
    let genuine = claimed(live(), &keys());
    assert!(holds(&genuine));
    for (path, value) in [
        ("/metadata/namespace", json!("other")),
        ("/metadata/name", json!("migrate-now-2")),
        ("/metadata/labels/ops.vworkspace.io~1source-hook", json!("delete-all")),
        ("/metadata/annotations/ops.vworkspace.io~1decision", json!("{}")),
        ("/spec/completions", json!(0)),
        ("/spec/completionMode", json!("Indexed")),
        ("/spec/template/spec/serviceAccountName", json!("admin")),
        ("/spec/template/spec/containers/0/image", json!("i:2")),
        ("/spec/template/spec/containers/0/command", json!(["true"])),
        ("/spec/template/spec/containers/0/command", json!([])),
        ("/spec/template/spec/containers/0/env/1/value", json!("c")),
        ("/spec/template/spec/volumes/0/configMap/name", json!("others")),
        ("/spec/template/spec/containers", json!([])),
        ("/spec/template", json!(null)),
    ] {
        let mut forged = genuine.clone();
        *forged.pointer_mut(path).unwrap() = value;
        assert!(!holds(&forged), "{path}");
    }
    for (path, key, value) in [
        ("/metadata/annotations", CLOSURE, json!(r#"{"objects":[]}"#)),
        ("/metadata/annotations", STEP, json!("1/2")),
        ("/metadata/annotations", SOURCE_HOOK, json!("delete-all")),
        ("/spec", "successPolicy", json!({"rules": [{"succeededCount": 1}]})),
        ("/spec/template/spec", "hostAliases", json!([{"ip": "10.0.0.1", "hostnames": ["db"]}])),
        ("/spec/template/spec", "initContainers", json!([{"name": "i", "image": "i"}])),
        ("/spec/template/spec/containers/0", "args", json!(["--dry-run"])),
    ] {
        let mut forged = genuine.clone();
        forged.pointer_mut(path).unwrap()[key] = value;
        assert!(!holds(&forged), "{path} {key}");
    }
}

#[test]
fn a_claim_does_not_hold_for_a_pod_that_may_do_more() {
    let mut job = live();
    let pod = &mut job["spec"]["template"]["spec"];
    for field in ["automountServiceAccountToken", "hostUsers"] {
        pod[field] = json!(false);
    }
    pod["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "runAsNonRoot": false, "procMount": "Default"});
    let genuine = claimed(job, &keys());
    assert!(holds(&genuine));
    let container = "/spec/template/spec/containers/0/securityContext";
    for (path, field) in [
        ("/spec/template/spec", "automountServiceAccountToken"),
        ("/spec/template/spec", "hostUsers"),
        (container, "allowPrivilegeEscalation"),
        (container, "runAsNonRoot"),
    ] {
        let mut forged = genuine.clone();
        forged.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(field);
        assert!(!holds(&forged), "{field}");
    }
    let with_proc = |value: Value| {
        let mut job = genuine.clone();
        job.pointer_mut(container).unwrap()["procMount"] = value;
        holds(&job)
    };
    assert!(with_proc(Value::Null), "the API server sets the default");
    assert!(!with_proc(json!("Unmasked")));
}

/// Whether the claim of a Job with this pod holds for one with that.
fn holds_for(sent: &Value, made: &Value) -> bool {
    let of = |pod: &Value| {
        let mut job = live();
        job["spec"]["template"]["spec"] = pod.clone();
        job
    };
    let mut job = of(made);
    job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job(UID, &of(sent)));
    holds(&job)
}

/// A pod of which nothing is given that the API server can set.
fn bare() -> Value {
    let probes = |mut container: Value| {
        container["livenessProbe"] = json!({"httpGet": {"port": 80}});
        container["readinessProbe"] = json!({"grpc": {"port": 81}});
        container["startupProbe"] = json!({"tcpSocket": {"port": "db"}, "initialDelaySeconds": 0});
        container["lifecycle"] =
            json!({"postStart": {"httpGet": {"port": 80}}, "preStop": {"httpGet": {"port": 80}}});
        container["ports"] = json!([{"containerPort": 80}]);
        container["env"] = json!([
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ]);
        container["resources"] = json!({"limits": {"cpu": "0.5"}, "claims": [{"name": "gpu"}]});
        container
    };
    let claim = json!({"metadata": {}, "spec": {"resources": {"requests": {"storage": "1024Mi"}}}});
    json!({
        "restartPolicy": "Never",
        "containers": [probes(json!({"name": "c", "image": "i"}))],
        "initContainers": [probes(json!({"name": "i", "image": "i:1", "restartPolicy": "Always"}))],
        "volumes": [
            {"name": "nothing"},
            {"name": "host", "hostPath": {"path": "/x"}},
            {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "map", "configMap": {"name": "m"}},
            {"name": "down", "downwardAPI": {"items": [
                {"path": "a", "fieldRef": {"fieldPath": "metadata.name"}},
                {"path": "b", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}},
            {"name": "all", "projected": {"sources": [
                {"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}},
                    {"path": "b", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}}]}},
            {"name": "iscsi", "iscsi": {"targetPortal": "1.2.3.4", "iqn": "iqn.x"}},
            {"name": "rbd", "rbd": {"monitors": ["m"], "image": "i"}},
            {"name": "azure", "azureDisk": {"diskName": "d", "diskURI": "u"}},
            {"name": "scale", "scaleIO": {"gateway": "g", "system": "s", "secretRef": {"name": "s"}}},
            {"name": "image", "image": {"reference": "i:1"}},
            {"name": "own", "ephemeral": {"volumeClaimTemplate": claim}},
            {"name": "driver", "csi": {"driver": "d", "volumeAttributes": {"protocol": "nfs", "empty": ""}}},
        ],
    })
}

/// What the API server makes of it.
fn filled() -> Value {
    let mut pod = bare();
    for (field, value) in [
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("securityContext", json!({})),
    ] {
        pod[field] = value;
    }
    for (kind, pull) in [("containers", "Always"), ("initContainers", "IfNotPresent")] {
        let container = &mut pod[kind][0];
        container["imagePullPolicy"] = json!(pull);
        container["terminationMessagePath"] = json!("/dev/termination-log");
        container["terminationMessagePolicy"] = json!("File");
        container["resources"]["limits"]["cpu"] = json!("500m");
        container["ports"][0]["protocol"] = json!("TCP");
        container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] = json!("v1");
        container["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"] = json!("0");
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let times = [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ];
            for (field, number) in times {
                container[probe][field] = json!(number);
            }
        }
        container["startupProbe"].as_object_mut().unwrap().remove("initialDelaySeconds");
        container["readinessProbe"]["grpc"]["service"] = json!("");
        let http = ["/livenessProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
        for place in http {
            let http = &mut container.pointer_mut(place).unwrap()["httpGet"];
            http["path"] = json!("/");
            http["scheme"] = json!("HTTP");
        }
    }
    let v1 = json!("v1");
    for (place, field, value) in [
        ("/0", "emptyDir", json!({})),
        ("/1/hostPath", "type", json!("")),
        ("/2/secret", "defaultMode", json!(420)),
        ("/3/configMap", "defaultMode", json!(420)),
        ("/4/downwardAPI", "defaultMode", json!(420)),
        ("/4/downwardAPI/items/0/fieldRef", "apiVersion", v1.clone()),
        ("/4/downwardAPI/items/1/resourceFieldRef", "divisor", json!("0")),
        ("/5/projected", "defaultMode", json!(420)),
        ("/5/projected/sources/0/serviceAccountToken", "expirationSeconds", json!(3600)),
        ("/5/projected/sources/1/downwardAPI/items/0/fieldRef", "apiVersion", v1),
        ("/5/projected/sources/1/downwardAPI/items/1/resourceFieldRef", "divisor", json!("0")),
        ("/6/iscsi", "iscsiInterface", json!("default")),
        ("/6/iscsi", "lun", json!(0)),
        ("/7/rbd", "pool", json!("rbd")),
        ("/7/rbd", "user", json!("admin")),
        ("/7/rbd", "keyring", json!("/etc/ceph/keyring")),
        ("/8/azureDisk", "cachingMode", json!("ReadWrite")),
        ("/8/azureDisk", "fsType", json!("ext4")),
        ("/8/azureDisk", "readOnly", json!(false)),
        ("/8/azureDisk", "kind", json!("Shared")),
        ("/9/scaleIO", "storageMode", json!("ThinProvisioned")),
        ("/9/scaleIO", "fsType", json!("xfs")),
        ("/10/image", "pullPolicy", json!("IfNotPresent")),
        ("/11/ephemeral/volumeClaimTemplate/spec", "volumeMode", json!("Filesystem")),
        ("/11/ephemeral/volumeClaimTemplate/spec/resources/requests", "storage", json!("1Gi")),
    ] {
        pod["volumes"].pointer_mut(place).unwrap()[field] = value;
    }
    pod
}

#[test]
fn whatever_the_api_server_can_set_may_be_left_out_of_what_is_sent() {
    assert!(holds_for(&bare(), &filled()) && holds_for(&filled(), &filled()));
}

#[test]
fn what_the_api_server_sets_is_left_out_of_a_claim_only_where_and_as_it_sets_it() {
    let live = filled();
    for (place, value) in [
        // As keys of a mapping that is somebody's own.
        ("/volumes/12/csi/volumeAttributes/protocol", json!("smb")),
        ("/volumes/12/csi/volumeAttributes/empty", Value::Null),
        ("/volumes/12/csi/volumeAttributes/ports", json!("1")),
        ("/volumes/12/csi/volumeAttributes/resources", json!("")),
        ("/volumes/12/csi/volumeAttributes/defaultMode", json!("420")),
        // With another value than the API server's.
        ("/dnsPolicy", json!("None")),
        ("/enableServiceLinks", json!(false)),
        ("/terminationGracePeriodSeconds", json!(0)),
        ("/containers/0/imagePullPolicy", json!("Never")),
        ("/containers/0/terminationMessagePath", json!("/x")),
        ("/containers/0/livenessProbe/httpGet/path", json!("/x")),
        ("/containers/0/livenessProbe/periodSeconds", json!(1)),
        ("/containers/0/readinessProbe/grpc/service", json!("x")),
        ("/containers/0/ports/0/protocol", json!("UDP")),
        ("/containers/0/ports/0/hostPort", json!(80)),
        ("/containers/0/resources/claims/0/name", json!("other")),
        ("/initContainers/0/lifecycle/preStop/httpGet/scheme", json!("HTTPS")),
        ("/volumes/1/hostPath/type", json!("Socket")),
        ("/volumes/2/secret/defaultMode", json!(511)),
        ("/volumes/5/projected/sources/0/serviceAccountToken/expirationSeconds", json!(86400)),
        ("/volumes/6/iscsi/lun", json!(1)),
        ("/volumes/6/iscsi/iscsiInterface", json!("bnx2i")),
        ("/volumes/7/rbd/pool", json!("other")),
        ("/volumes/8/azureDisk/kind", json!("Managed")),
        ("/volumes/10/image/pullPolicy", json!("Never")),
        ("/volumes/11/ephemeral/volumeClaimTemplate/spec/volumeMode", json!("Block")),
        ("/volumes/11/ephemeral/volumeClaimTemplate/spec/selector", json!({})),
    ] {
        let (parent, field) = place.rsplit_once('/').unwrap();
        let mut other = live.clone();
        let map = other.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            map.remove(field);
        } else {
            map.insert(field.to_owned(), value.clone());
        }
        assert!(!holds_for(&bare(), &other) && !holds_for(&live, &other), "{place}: {value}");
        assert!(holds_for(&other, &other), "{place}: {value}");
    }
}

#[test]
fn a_job_is_unchanged_as_long_as_its_claim_would_be_the_same() {
    let created = live();
    let mut later = live();
    later["metadata"]["resourceVersion"] = json!("7");
    later["status"] = json!({"active": 1});
    later["spec"]["template"]["spec"]["nodeSelector"] = json!({"queue": "a"});
    assert!(Claim::is_unchanged(UID, &created, &later));
    for (place, key, value) in [
        ("/metadata/annotations", DECISION, "{}"),
        ("/metadata/annotations", STEP, "1/2"),
        ("/spec/template/spec/containers/0", "image", "i:2"),
    ] {
        let mut other = later.clone();
        other.pointer_mut(place).unwrap()[key] = json!(value);
        assert!(!Claim::is_unchanged(UID, &created, &other), "{place} {key}");
    }
}

#[test]
fn only_the_key_and_the_one_before_it_prove_anything() {
    let key = |byte: u8| Key::new(&[byte; KEY_BYTES]).unwrap();
    let old = Keys { current: key(7), previous: None };
    let job = claimed(live(), &old);
    let claim = Claim::of_job(&job, &job["spec"]).unwrap();
    assert!(claim.is_genuine(&old));
    assert!(claim.is_genuine(&Keys { current: key(8), previous: Some(key(7)) }), "while it is changed");
    assert!(!claim.is_genuine(&Keys { current: key(8), previous: None }));
    assert!(!claim.is_genuine(&Keys { current: key(9), previous: Some(key(8)) }));
    assert_eq!(Key::new(&[7; 31]), None);
    assert_eq!(format!("{old:?}"), "Keys { current: Key, previous: None }", "keys are not printed");
}

#[test]
fn a_claim_of_one_thing_is_none_of_another() {
    let object = ObjectRef { kind: Kind::Secret, namespace: "shop".into(), name: "s".into() };
    let of_loan = keys().claim_loan(&object, "sha256:1", None);
    let mut job = live();
    job["metadata"]["annotations"][CLAIM] = json!(of_loan);
    assert_eq!(Claim::of_job(&job, &job["spec"]), None);
    let job = claimed(live(), &keys());
    assert!(!keys().is_loan(
        job["metadata"]["annotations"][CLAIM].as_str().unwrap(),
        &object,
        "sha256:1",
        None
    ));
    let start = keys().opened("shop", "migrate-now", "u");
    let of_start = |uid| Claim::of_start(&start, "shop", "migrate-now", uid);
    assert!(of_start("u").unwrap().is_genuine(&keys()) && !of_start("v").unwrap().is_genuine(&keys()));
    assert_eq!(Claim::of_start("true", "shop", "migrate-now", "u"), None);
    assert!(!keys().is_loan(&start, &object, "sha256:1", None));
}

/// The known answer: a change of the format would make every run under way unprovable.
#[test]
fn the_format_stays_what_it_is() {
    let job = claimed(sent(), &keys());
    let claim = job["metadata"]["annotations"][CLAIM].as_str().unwrap();
    assert_eq!(claim, format!("v1.{UID}.47ec9ac30ce9478414f44dfc09376bd167e7864f7cb3b1288c1ff7aad2914594"));
}

proptest! {
    /// Nor does anything that a Job may have make it panic.
    #[test]
    fn no_text_is_a_claim_that_was_not_made(text in ".{0,200}", spec in crate::testing::any_json("[a-z]{0,3}", "[a-z]{1,3}")) {
        let mut job = live();
        job["spec"] = spec;
        job["metadata"]["annotations"][CLAIM] = json!(text);
        prop_assert!(!holds(&job));
        let claimed = claimed(job, &keys());
        prop_assert!(holds(&claimed));
    }
}
