//! hookhost recognises its own Jobs by their claims and by nothing else, whoever else may make and change Jobs; and what it cannot
//! prove it neither believes nor runs again.

use std::time::{Duration, Instant};

use e2e::{
    Fault, GATE, Host, NAMESPACE, PATIENCE, Proxy, Release, WAITS, World, condition, message, ok, says, world,
};
use hookhost_core::claim::{Claim, KEY_BYTES, Key, Keys};
use hookhost_core::keys::CLAIM;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

/// A Job that anybody could make who may make Jobs, and that is said to be this Operation's: it succeeds, and is never released.
pub(crate) fn forged(operation: &Value, namespace: &str, name: &str, script: &str) -> Value {
    let metadata = &operation["metadata"];
    let decision = json!({
        "operation": {"namespace": metadata["namespace"], "name": metadata["name"]},
        "hook": {"kind": "Job", "name": "shop-ok"},
        "release": {"name": "shop", "revision": 1, "chart": "shop", "chartVersion": "1.0.0"},
    });
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name,
            "labels": {
                "ops.vworkspace.io/operation": metadata["uid"], "ops.vworkspace.io/source-hook": "shop-ok",
                "app.vworkspace.io/managed-by": "vworkspace-operator",
            },
            "annotations": {"ops.vworkspace.io/decision": decision.to_string()},
        },
        "spec": {"template": {
            "metadata": {"labels": {"ops.vworkspace.io/operation": metadata["uid"]}},
            "spec": {"restartPolicy": "Never", "containers": [
                {"name": "main", "image": "localhost/busybox:1", "command": ["sh", "-c", script]}]},
        }},
    });
    if metadata["namespace"] == namespace {
        job["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "name": metadata["name"],
            "uid": metadata["uid"], "controller": true, "blockOwnerDeletion": true,
        }]);
    }
    job
}

/// An Operation that waits, because its target is not ready.
fn waiting(world: &World, release: &Release) -> (String, Value) {
    world.instance_status(release, false);
    let name = world.operation(release, &world.spare("ok"), json!({}));
    let operation = world.blocked(&release.namespace, &name, "TargetNotReady");
    (name, operation)
}

fn is_complete(job: &Value) -> bool {
    condition(job, "Complete")["status"] == "True"
}

#[test]
fn jobs_that_only_look_like_hookhosts_are_believed_neither_in_its_namespace_nor_in_another() {
    let world = world();
    let shop = world.apart(world.shop());
    let (name, operation) = waiting(world, &shop);
    // Somebody who may make Jobs in another organisation's namespace, and somebody who may in this one; and a true Job's claim,
    // which a third has copied.
    let elsewhere = world.namespace("forger", &[GATE]);
    let genuine = {
        let other = world.apart(world.shop());
        let name = world.operation(&other, &world.spare("ok"), json!({}));
        world.phase(&other.namespace, &name, "Succeeded");
        world.get(&other.namespace, &format!("job/{name}")).unwrap()
    };
    let claim = &genuine["metadata"]["annotations"]["hookhost.vworkspace.io/claim"];
    assert!(claim.as_str().is_some_and(|claim| claim.starts_with("v1.")), "{genuine:#}");
    let mut with_claim = forged(&operation, &shop.namespace, &format!("{name}-copy"), "true");
    with_claim["metadata"]["annotations"]["hookhost.vworkspace.io/claim"] = claim.clone();
    for (namespace, job) in [
        (&elsewhere, forged(&operation, &elsewhere, &name, "true")),
        (&shop.namespace, forged(&operation, &shop.namespace, &format!("{name}-too"), "true")),
        (&shop.namespace, with_claim),
    ] {
        world.apply(namespace, &job);
        let job = format!("job/{}", job["metadata"]["name"].as_str().unwrap());
        world.until_object(namespace, &job, "complete", is_complete);
    }
    // Once it may run it does, by a Job of its own.
    world.instance_status(&shop, true);
    let done = world.phase(&shop.namespace, &name, "Succeeded");
    let engine = json!({"kind": "Job", "namespace": shop.namespace, "name": name});
    assert_eq!(done["status"]["engineRef"], engine, "{done:#}");
    assert_eq!(says(&done, "Blocked"), "False/Unblocked", "it had waited until then");
    let pod = done["status"]["logsRef"]["name"].as_str().unwrap();
    assert!(world.pod_log(&shop.namespace, pod).contains("migrating"), "the chart's hook has run");
}

#[test]
fn a_forged_job_under_the_runs_name_stops_it_and_what_becomes_of_that_job_is_not_its_result() {
    let world = world();
    let shop = world.apart(world.shop());
    let (name, operation) = waiting(world, &shop);
    world.apply(&shop.namespace, &forged(&operation, &shop.namespace, &name, "true"));
    world.until_object(&shop.namespace, &format!("job/{name}"), "complete", is_complete);
    world.instance_status(&shop, true);
    let blocked = world.blocked(&shop.namespace, &name, "ClaimInvalid");
    let told = message(&blocked, "Blocked");
    assert!(told.contains("hookhost.vworkspace.io/claim") && told.contains(&name), "{told}");
    // Nobody can tell whether it was a run: none is made in its place.
    world.delete(&shop.namespace, &format!("job/{name}"), Some(PropagationPolicy::Background));
    let failed = world.phase(&shop.namespace, &name, "Failed");
    assert_eq!(says(&failed, "Failed"), "True/ExternalDeletion");
    assert!(world.of_operation(&shop.namespace, "jobs", &failed).is_empty());
}

#[test]
fn a_run_goes_on_though_labels_and_owners_are_taken_off_and_is_let_go_at_its_end() {
    let world = world();
    let namespace = world.namespace("relabelled", &[GATE]);
    let release = world.release("shop", &namespace, &json!({"hooks": {"waits": {"script": WAITS}}}));
    let name = world.operation(&release, "waits", json!({}));
    let pod = world.started(&namespace, &name);
    let job = format!("job/{name}");
    // Whoever may write Operations says that it is another cluster's now, and whoever may write Jobs that nobody owns it.
    let other = json!({"metadata": {"labels": {"app.vworkspace.io/cluster-id": "another"}}});
    world.patch(&namespace, &format!("operation/{name}"), &other);
    world.patch(&namespace, &job, &json!({"metadata": {"ownerReferences": null}}));
    world.go(&namespace, &pod);
    let done = world.phase(&namespace, &name, "Succeeded");
    assert_eq!(says(&done, "Succeeded"), "True/HelmHookJobSucceeded");
    world.until_object(&namespace, &job, "let go", |job| job["metadata"]["finalizers"].is_null());

    // The label by which hookhost's watch finds the Job.
    let other = world.apart(&release);
    let name = world.operation(&other, "waits", json!({}));
    let pod = world.started(&namespace, &name);
    let job = format!("job/{name}");
    world.patch(&namespace, &job, &json!({"metadata": {"labels": {"ops.vworkspace.io/operation": null}}}));
    world.go(&namespace, &pod);
    world.until_object(&namespace, &job, "complete", is_complete);
    let done = world.phase(&namespace, &name, "Succeeded");
    assert_eq!(says(&done, "Succeeded"), "True/HelmHookJobSucceeded");
    world.until_object(&namespace, &job, "let go", |job| job["metadata"]["finalizers"].is_null());
}

#[test]
fn a_cancel_ends_the_pods_of_a_job_whatever_its_label_says_by_then() {
    let world = world();
    let namespace = world.namespace("relabelled-cancel", &[GATE]);
    let release = world.release("shop", &namespace, &json!({"hooks": {"waits": {"script": WAITS}}}));
    let name = world.operation(&release, "waits", json!({}));
    let pod = world.started(&namespace, &name);
    let another = json!({"metadata": {"labels": {"ops.vworkspace.io/operation": "another"}}});
    world.patch(&namespace, &format!("job/{name}"), &another);
    world.cancel(&namespace, &name);
    world.phase(&namespace, &name, "Cancelled");
    // It is not told before nothing runs any more.
    let left = world.get(&namespace, &format!("pod/{pod}")).unwrap_or_default();
    assert_ne!(left["status"]["phase"], "Running", "{left:#}");
}

#[test]
fn a_hook_is_free_again_once_an_operation_is_gone_whose_job_no_watch_reports() {
    let world = world();
    let namespace = world.namespace("relabelled-deleted", &[GATE]);
    let release = world.release("shop", &namespace, &json!({"hooks": {"waits": {"script": WAITS}}}));
    let name = world.operation(&release, "waits", json!({}));
    world.started(&namespace, &name);
    let (job, label) = (format!("job/{name}"), json!({"ops.vworkspace.io/operation": null}));
    world.patch(&namespace, &job, &json!({"metadata": {"labels": label}}));
    world.delete(&namespace, &format!("operation/{name}"), None);
    let next = world.operation(&release, "waits", json!({}));
    let pod = world.started(&namespace, &next);
    world.until_gone(&namespace, &job);
    world.go(&namespace, &pod);
    world.phase(&namespace, &next, "Succeeded");
}

#[test]
fn a_run_of_which_a_part_was_done_has_failed_when_its_job_is_deleted() {
    let world = world();
    let namespace = world.namespace("partial", &[GATE]);
    let thrice = json!({"script": WAITS, "job": {"completions": 3, "parallelism": 1}});
    let release = world.release("shop", &namespace, &json!({"hooks": {"thrice": thrice}}));
    let name = world.operation(&release, "thrice", json!({}));
    let pod = world.started(&namespace, &name);
    // There is no room for the second.
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}},
    });
    world.apply(&namespace, &quota);
    world.until_object(&namespace, "resourcequota/none", "in force", |it| it["status"]["hard"].is_object());
    world.go(&namespace, &pod);
    let job = format!("job/{name}");
    world.until_object(&namespace, &job, "done once", |job| job["status"]["succeeded"] == 1);
    world.delete(&namespace, &job, Some(PropagationPolicy::Background));
    let failed = world.phase(&namespace, &name, "Failed");
    assert_eq!(says(&failed, "Failed"), "True/ExternalDeletion", "{failed:#}");
    world.until_gone(&namespace, &job);
}

#[test]
fn a_job_that_the_api_server_changed_when_it_was_created_is_claimed_as_it_is() {
    let world = world();
    let namespace = world.namespace("changed", &[GATE]);
    // A field that this API server does not know: it leaves it out, as a webhook would put one in.
    let hook = json!({"script": "echo done", "container": {"fieldOfTomorrow": "x"}});
    let release = world.release("shop", &namespace, &json!({"hooks": {"odd": hook}}));
    let name = world.operation(&release, "odd", json!({}));
    world.phase(&namespace, &name, "Succeeded");
    let job = world.get(&namespace, &format!("job/{name}")).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert!(container["fieldOfTomorrow"].is_null() && container["image"].is_string(), "{container}");
}

/// A Job of which nothing is given that an API server can set, with every kind of volume that it knows a default for.
fn bare(name: &str) -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "localhost/busybox:1", "ports": [{"containerPort": 80, "hostPort": 0}],
            "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 81}},
            "startupProbe": {"tcpSocket": {"port": 80}, "initialDelaySeconds": 0},
            "lifecycle": {"postStart": {"httpGet": {"port": 80}}, "preStop": {"httpGet": {"port": 80}}},
            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
            "securityContext": {"privileged": false, "capabilities": {}}, "args": [], "command": null,
            "env": [
                {"name": "A", "value": ""},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": false}}},
            ],
        })
    };
    let mut sidecar = container("sidecar");
    sidecar["restartPolicy"] = json!("Always");
    let items = json!([{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "b", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}}]);
    let volumes = [
        json!({}),
        json!({"awsElasticBlockStore": {"volumeID": "v"}}),
        json!({"azureDisk": {"diskName": "d", "diskURI": "https://a.blob.core.windows.net/c/d.vhd"}}),
        json!({"configMap": {"name": "m"}}),
        json!({"csi": {"driver": "d", "volumeAttributes": {"protocol": "nfs", "empty": "", "resources": "x"}}}),
        json!({"downwardAPI": {"items": items}}),
        json!({"emptyDir": {"sizeLimit": "1024Mi"}}),
        json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"protocol": ""}}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}}}),
        json!({"flexVolume": {"driver": "d/d", "options": {"ports": ""}}}),
        json!({"gcePersistentDisk": {"pdName": "d"}}),
        json!({"hostPath": {"path": "/x"}}),
        json!({"iscsi": {"targetPortal": "1.2.3.4:3260", "iqn": "iqn.2001-04.com.example:storage"}}),
        json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "t"}}, {"downwardAPI": {"items": items}}, {"configMap": {"name": "m"}}]}}),
        json!({"rbd": {"monitors": ["m"], "image": "i"}}),
        json!({"scaleIO": {"gateway": "g", "system": "s", "volumeName": "v", "secretRef": {"name": "s"}}}),
        json!({"secret": {"secretName": "s"}}),
    ];
    let volumes = volumes.into_iter().enumerate().map(|(n, mut volume)| {
        volume["name"] = json!(format!("v{n}"));
        volume
    });
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "annotations": {"any": "thing"}},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "serviceAccount": "default", "hostNetwork": false, "overhead": null,
            "containers": [container("main")], "initContainers": [sidecar], "volumes": volumes.collect::<Vec<_>>(),
        }}},
    })
}

#[test]
fn the_claim_of_a_job_holds_for_what_this_api_server_makes_of_it_whatever_is_left_out() {
    let world = world();
    let namespace = world.namespace("defaults", &[]);
    let keys = Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None };
    let mut job = bare("defaults");
    job["metadata"]["namespace"] = json!(namespace);
    job["metadata"]["annotations"][CLAIM] = json!(keys.claim_job("uid", &job));
    let file = world.cluster.logs().join("defaults.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let file = file.display().to_string();
    let args =
        ["create", "--filename", &file, "--namespace", &namespace, "--dry-run=server", "--output=json"];
    let created: Value = serde_json::from_str(&ok(world.cluster.kubectl(&args))).unwrap();
    let pod = &created["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["livenessProbe"]["httpGet"]["path"], "/", "it has filled it in: {pod:#}");
    let claim = Claim::of_job(&created, &created["spec"]).unwrap();
    assert!(claim.is_genuine(&keys), "hookhost would have to claim it by a second write: {pod:#}");
}

/// A host with a key of its own, since it is an installation of its own.
struct OwnKey<'w> {
    world: &'w World,
    release: Release,
    gate: &'static str,
    host: Host,
}

impl OwnKey<'_> {
    fn new<'w>(world: &'w World, gate: &'static str) -> OwnKey<'w> {
        let namespace = world.namespace("key", &[gate]);
        let hooks = json!({"hooks": {"waits": {"script": WAITS}}});
        let release = world.release("shop", &namespace, &hooks);
        let own = OwnKey { world, release, gate, host: OwnKey::start(world, gate) };
        let is_filled = |secret: &Value| secret["data"]["current"].is_string();
        world.until_object(NAMESPACE, &format!("secret/{}", own.secret()), "filled", is_filled);
        own
    }

    fn start(world: &World, gate: &str) -> Host {
        // The next need not wait until the lease of one that was killed lapses.
        world.host(json!({"namespaceGate": gate})).without_lease().start()
    }

    /// Kills the host, does this, and starts another.
    fn restart_after(&mut self, meanwhile: impl FnOnce(&str)) {
        self.host.kill();
        meanwhile(&self.secret());
        self.host = OwnKey::start(self.world, self.gate);
    }

    /// The Secret with its key.
    fn secret(&self) -> String {
        format!("{}-claim-key", self.host.name())
    }

    fn key(&self) -> Value {
        self.world.get(NAMESPACE, &format!("secret/{}", self.secret())).unwrap()["data"].clone()
    }

    fn one_run(&self, operation: &Value) {
        for kind in ["jobs", "pods"] {
            let all = self.world.of_operation(&self.release.namespace, kind, operation);
            assert_eq!(all.len(), 1, "{kind}");
        }
    }
}

#[test]
fn with_a_lost_key_a_run_is_neither_believed_nor_run_again_until_the_key_is_put_back() {
    let world = world();
    let mut own = OwnKey::new(world, "e2e=lost-key");
    let namespace = own.release.namespace.clone();
    let name = world.operation(&own.release, "waits", json!({}));
    let pod = world.started(&namespace, &name);
    let lost = own.key();
    // As `helm upgrade --force` does, or whoever makes the Secret anew.
    own.restart_after(|secret| {
        world.patch(NAMESPACE, &format!("secret/{secret}"), &json!({"data": null}));
    });
    let blocked = |it: &Value| says(it, "Blocked") == "True/ClaimInvalid";
    let operation = world.until(&namespace, &name, "blocked", blocked);
    assert!(message(&operation, "Blocked").contains(&own.secret()), "{operation:#}");
    assert_ne!(own.key(), lost, "another is made");
    own.one_run(&operation);
    world.go(&namespace, &pod);
    world.until_object(&namespace, &format!("job/{name}"), "complete", is_complete);
    let told = world.get(&namespace, &format!("operation/{name}")).unwrap();
    assert!(blocked(&told), "what it cannot prove is no result: {told:#}");

    world.patch(NAMESPACE, &format!("secret/{}", own.secret()), &json!({ "data": lost }));
    let done = world.phase(&namespace, &name, "Succeeded");
    assert_eq!(says(&done, "Blocked"), "False/Unblocked");
    own.one_run(&done);
}

#[test]
fn an_operation_that_is_to_end_beside_a_job_that_nobody_can_prove_waits_for_it() {
    let world = world();
    let mut own = OwnKey::new(world, "e2e=beside");
    let namespace = own.release.namespace.clone();
    let proxy = Proxy::start(world.cluster);
    let values = json!({"namespaceGate": own.gate});
    for is_cancelled in [true, false] {
        // A host that is killed when it has made the Job, and before it has told anybody.
        own.host.kill();
        own.host = world.host(values.clone()).through(&proxy).without_lease().start();
        proxy.arm(own.host.pid(), Some(Fault::After(0)));
        let parameters = if is_cancelled { json!({}) } else { json!({"waitTimeout": "30s"}) };
        let name = world.operation(&own.release, "waits", parameters);
        let made = Instant::now();
        ok(world.cluster.eventually("it is killed", PATIENCE, || own.host.ended()));
        assert!(proxy.struck().is_some_and(|write| write.ends_with("/jobs")), "{:?}", proxy.writes());
        let lost = own.key();
        own.restart_after(|secret| {
            world.patch(NAMESPACE, &format!("secret/{secret}"), &json!({"data": null}));
            if is_cancelled {
                world.cancel(&namespace, &name);
            } else {
                let is_over = || (made.elapsed() > Duration::from_secs(31)).then_some(());
                ok(world.cluster.eventually("its wait is over", PATIENCE, is_over));
            }
        });
        let blocked = world.blocked(&namespace, &name, "ClaimInvalid");
        let told = message(&blocked, "Blocked");
        assert_eq!(told.contains("was cancelled, and ends so once that Job is gone"), is_cancelled, "{told}");
        assert!(blocked["status"]["finishedAt"].is_null(), "{blocked:#}");
        own.one_run(&blocked);

        world.patch(NAMESPACE, &format!("secret/{}", own.secret()), &json!({ "data": lost }));
        if is_cancelled {
            world.phase(&namespace, &name, "Cancelled");
            world.until_gone(&namespace, &format!("job/{name}"));
        } else {
            let pod = world.started(&namespace, &name);
            world.go(&namespace, &pod);
            own.one_run(&world.phase(&namespace, &name, "Succeeded"));
        }
    }
}

#[test]
fn a_key_can_be_changed_in_the_middle_of_a_run() {
    let world = world();
    let mut own = OwnKey::new(world, "e2e=new-key");
    let namespace = own.release.namespace.clone();
    let name = world.operation(&own.release, "waits", json!({}));
    let pod = world.started(&namespace, &name);
    let before = own.key()["current"].clone();
    own.restart_after(|secret| {
        // As the chart's README has it.
        let patch = json!([{"op": "move", "from": "/data/current", "path": "/data/previous"}]).to_string();
        let args = ["patch", "secret", secret, "--namespace", NAMESPACE, "--type=json", "--patch", &patch];
        ok(world.cluster.kubectl(&args));
    });
    world.until_object(NAMESPACE, &format!("secret/{}", own.secret()), "a new key", |secret| {
        secret["data"]["current"].is_string()
    });
    assert_eq!(own.key()["previous"], before);
    assert_ne!(own.key()["current"], before);
    world.go(&namespace, &pod);
    let done = world.phase(&namespace, &name, "Succeeded");
    own.one_run(&done);
    // With the new one.
    let next = world.operation(&own.release, "ok", json!({}));
    world.phase(&namespace, &next, "Succeeded");
}

#[test]
fn without_its_key_nothing_is_run_and_the_operations_say_why() {
    let world = world();
    let mut own = OwnKey::new(world, "e2e=no-key");
    let namespace = own.release.namespace.clone();
    let lost = own.key();
    own.restart_after(|secret| world.delete(NAMESPACE, &format!("secret/{secret}"), None));
    // The chart gives it no right to make the Secret.
    let name = world.operation(&own.release, "ok", json!({}));
    let blocked = world.blocked(&namespace, &name, "ClaimKeyUnavailable");
    assert!(message(&blocked, "Blocked").contains(&own.secret()), "{blocked:#}");
    assert!(world.of_operation(&namespace, "jobs", &blocked).is_empty());

    // It waits for no longer than elsewhere, unless there is a Job that may be its own.
    let has_job = format!("has-job-{}", world.number());
    let container = json!({"name": "c", "image": "localhost/busybox:1"});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": has_job}, "spec": {"suspend": true,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}});
    world.apply(&namespace, &job);
    let short = json!({"waitTimeout": "2s"});
    world.apply(&namespace, &world.operation_named(&has_job, &own.release, "ok", short));
    world.blocked(&namespace, &has_job, "ClaimKeyUnavailable");
    let has_none = world.operation(&own.release, "ok", json!({"waitTimeout": "5s"}));
    let failed = world.refused(&namespace, &has_none, "WaitTimeout");
    assert!(failed.contains("ClaimKeyUnavailable"), "{failed}");
    world.blocked(&namespace, &has_job, "ClaimKeyUnavailable");

    let made = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": own.secret()}});
    world.apply(NAMESPACE, &made);
    world.phase(&namespace, &name, "Succeeded");
    assert_ne!(own.key(), lost);
}

/// What tells hookhost that the object of this name is another one by now.
#[test]
fn the_api_server_calls_a_patch_of_another_object_invalid_for_its_uid() {
    let world = world();
    let namespace = world.namespace("another-uid", &[]);
    world.apply(&namespace, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}));
    for kind in ["merge", "strategic"] {
        let patch = json!({"metadata": {"uid": "4f6a0000-0000-4000-8000-000000000000"}}).to_string();
        let args = ["patch", "configmap/one", "--namespace", &namespace, "--type", kind, "--patch", &patch];
        let error = world.cluster.kubectl(&args).unwrap_err().to_string();
        assert!(error.contains("is invalid: metadata.uid: "), "{error}");
    }
}
