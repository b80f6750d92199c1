//! What must hold before a hook runs: each precondition by itself, that the Operation says which one does not hold, and
//! that it runs as soon as it does, where that can still come.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::{CLUSTER_ID, GATE, Release, condition, message, ok, says, world};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::releases::{APPROVAL_KEY, helm_release, operation_for, special, special_operation, upgrade};

// === the target ===

#[test]
fn a_target_that_does_not_exist_is_not_found() {
    let world = world();
    let nobody = Release { instance: "nobody".to_owned(), ..world.shop().clone() };
    let name = world.operation(&nobody, "ok", json!({}));
    let message = world.refused(&nobody.namespace, &name, "TargetNotFound");
    assert!(message.contains("ApplicationInstance nobody"), "{message}");
}

#[test]
fn a_target_of_the_wrong_kind_is_told_with_the_one_that_has_its_name() {
    let world = world();
    let namespace = world.namespace("namesake", &[GATE]);
    // What Flux installed, and nobody made an ApplicationInstance of.
    let flux = Release { instance: "by-flux".to_owned(), ..Release::new(&namespace, "by-flux") };
    helm_release(world, &flux, json!({}));
    let name = world.operation(&flux, "ok", json!({}));
    let message = world.refused(&namespace, &name, "TargetNotFound");
    for words in [
        "there is no ApplicationInstance by-flux",
        "but a HelmRelease of that name",
        "kind: HelmRelease, name: by-flux",
        "--target-kind HelmRelease",
    ] {
        assert!(message.contains(words), "{words} in {message}");
    }
    // What Helm installed: hookhost may not list Secrets here, and knows it by its first revision.
    let plain = crate::charts::store(&namespace, "by-helm", &[]);
    let name = world.operation(&Release { instance: plain.name.clone(), ..plain }, "ok", json!({}));
    let message = world.refused(&namespace, &name, "TargetNotFound");
    for words in ["but a plain Helm release", "--target-kind Release", "Helm value helmReleases.enabled"] {
        assert!(message.contains(words), "{words} in {message}");
    }
}

#[test]
fn an_operation_waits_for_an_instance_that_is_not_ready_and_is_woken_by_it() {
    let world = world();
    let shop = world.apart(world.shop());
    world.instance_status(&shop, false);
    let name = world.operation(&shop, &world.spare("ok"), json!({}));
    let operation = world.blocked(&shop.namespace, &name, "TargetNotReady");
    assert!(message(&operation, "Blocked").contains("as the test says"), "{operation:#}");
    // Nothing else would have it looked at again: no timer is set.
    world.instance_status(&shop, true);
    let operation = world.phase(&shop.namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Blocked"), "False/Unblocked");
}

#[test]
fn an_instance_that_does_not_name_this_engine_lacks_the_capability() {
    let world = world();
    for annotations in [json!({}), json!({"ops.vworkspace.io/migration": "job"})] {
        let shop = Release { instance: format!("incapable-{}", world.number()), ..world.shop().clone() };
        world.instance(&shop, annotations, true);
        let name = world.operation(&shop, "ok", json!({}));
        let message = world.refused(&shop.namespace, &name, "CapabilityMissing");
        assert!(message.contains("kubectl annotate"), "{message}");
    }
}

#[test]
fn a_placeholder_has_no_hooks() {
    let world = world();
    let shop = Release { instance: format!("placeholder-{}", world.number()), ..world.shop().clone() };
    let instance = json!({
        "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance",
        "metadata": {"name": shop.instance, "annotations": {"ops.vworkspace.io/migration": "helmHookJob"}},
        "spec": {"appRef": {"catalogId": "shop"}, "mode": "placeholder"},
    });
    world.apply(&shop.namespace, &instance);
    let name = world.operation(&shop, "ok", json!({}));
    let message = world.refused(&shop.namespace, &name, "HookRequiresRelease");
    assert!(message.contains("placeholder"), "{message}");
}

#[test]
fn a_helm_release_is_a_target_too_and_may_be_suspended() {
    let world = world();
    let special = special();
    world.patch(
        &special.namespace,
        &format!("helmrelease/{}", special.name),
        &json!({"spec": {"suspend": true}}),
    );
    let target =
        json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": special.name});
    let name = special_operation(world, special, "ok", json!({"targetRef": target}));
    world.phase(&special.namespace, &name, "Succeeded");
}

#[test]
fn a_release_in_another_cluster_is_not_run_here() {
    let world = world();
    let remote = Release::new(&world.namespace("remote", &[GATE]), "remote");
    helm_release(
        world,
        &remote,
        json!({"suspend": true, "kubeConfig": {"secretRef": {"name": "elsewhere"}}}),
    );
    let name = world.operation(&world.apart(&remote), "ok", json!({}));
    let message = world.refused(&remote.namespace, &name, "RemoteCluster");
    assert!(message.contains("spec.kubeConfig"), "{message}");
}

// === conflicts ===

#[test]
fn no_hook_runs_while_its_target_is_upgraded() {
    let world = world();
    let shop = world.apart(world.shop());
    let upgrade = upgrade(world, &shop, "Running");
    let name = world.operation(&shop, &world.spare("ok"), json!({}));
    let operation = world.blocked(&shop.namespace, &name, "ConflictingOperation");
    assert!(message(&operation, "Blocked").contains(&upgrade), "{operation:#}");
    world.patch_status(&shop.namespace, &format!("operation/{upgrade}"), &json!({"phase": "Succeeded"}));
    world.phase(&shop.namespace, &name, "Succeeded");
}

#[test]
fn an_upgrade_that_never_reports_its_end_holds_hooks_back_until_its_release_was_upgraded() {
    let world = world();
    let release = world.release("endless", &world.namespace("endless", &[GATE]), &json!({}));
    let namespace = &release.namespace;
    let upgrade = upgrade(world, &release, "Running");
    // Another one, by another name of the release.
    let mut beside = world.get(namespace, &format!("operation/{upgrade}")).unwrap();
    beside["metadata"] = json!({"name": "beside"});
    beside["spec"]["targetRef"] =
        json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": release.name});
    world.apply(namespace, &beside);
    world.patch_status(namespace, "operation/beside", &json!({"phase": "Running"}));
    let waiting = world.operation(&release, "ok", json!({}));
    let operation = world.blocked(namespace, &waiting, "ConflictingOperation");
    assert!(message(&operation, "Blocked").contains("or 1h after it began"), "{operation:#}");
    let other = world.operation(&release, "ok-2", json!({}));
    world.blocked(namespace, &other, "ConflictingOperation");

    let values = json!({"hooks": {"later": {"script": "true"}}});
    world.patch(namespace, &format!("helmrelease/{}", release.name), &json!({"spec": {"values": values}}));
    for name in [waiting, other] {
        let operation = world.phase(namespace, &name, "Succeeded");
        assert_eq!(operation["status"]["outputs"]["revision"], 2, "{operation:#}");
    }
    for upgrade in [upgrade.as_str(), "beside"] {
        let upgrade = world.get(namespace, &format!("operation/{upgrade}")).unwrap();
        assert_eq!(upgrade["status"]["phase"], "Running", "it says nothing else");
    }
    // One that begins only now counts again.
    world.patch_status(namespace, "operation/beside", &json!({"startedAt": "2099-01-01T00:00:00Z"}));
    let next = world.operation(&release, "later", json!({}));
    let told = message(&world.blocked(namespace, &next, "ConflictingOperation"), "Blocked");
    assert!(told.contains("beside"), "{told}");
}

#[test]
fn an_upgrade_that_began_more_than_an_hour_ago_holds_no_hook_back() {
    let world = world();
    let shop = world.apart(world.shop());
    let upgrade = upgrade(world, &shop, "Running");
    let name = world.operation(&shop, &world.spare("ok"), json!({}));
    world.blocked(&shop.namespace, &name, "ConflictingOperation");
    let long_ago = json!({"startedAt": "2026-01-01T00:00:00Z"});
    world.patch_status(&shop.namespace, &format!("operation/{upgrade}"), &long_ago);
    let next = world.operation(&shop, &world.spare("ok"), json!({}));
    world.phase(&shop.namespace, &next, "Succeeded");
    world.phase(&shop.namespace, &name, "Succeeded");
}

#[test]
fn the_same_hook_of_a_target_runs_once_at_a_time_and_others_beside_it() {
    let world = world();
    let shop = world.apart(world.shop());
    let hook = world.spare("slow");
    let first = world.operation(&shop, &hook, json!({}));
    world.phase(&shop.namespace, &first, "Running");
    let second = world.operation(&shop, &hook, json!({}));
    let operation = world.blocked(&shop.namespace, &second, "ConflictingOperation");
    assert!(message(&operation, "Blocked").contains(&first), "{operation:#}");
    let other = world.operation(&shop, &world.spare("ok"), json!({}));
    world.phase(&shop.namespace, &other, "Succeeded");

    world.delete(&shop.namespace, &format!("operation/{first}"), None);
    world.phase(&shop.namespace, &second, "Running");
    world.delete(&shop.namespace, &format!("operation/{second}"), None);
}

#[test]
fn of_many_operations_for_one_hook_all_run_one_after_the_other() {
    let world = world();
    let shop = world.apart(world.shop());
    let hook = world.spare("ok");
    let names: Vec<String> = (0..4).map(|_| world.operation(&shop, &hook, json!({}))).collect();
    let times: Vec<(String, String)> = names
        .iter()
        .map(|name| {
            let status = &world.phase(&shop.namespace, name, "Succeeded")["status"];
            let time = |field: &str| status[field].as_str().unwrap().to_owned();
            (time("startedAt"), time("finishedAt"))
        })
        .collect();
    let mut sorted = times.clone();
    sorted.sort();
    for pair in sorted.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "no two at once: {times:?}");
    }
}

// === approvals ===

/// What the control plane signs when a person approves an Operation.
fn claim(key: &str, operation: &str, expires_in: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expires = i64::try_from(now).unwrap() + expires_in;
    let body = json!({"at": "2026-05-28T14:00:00Z", "by": "alice", "exp": expires, "op": operation, "rid": 7, "v": 1});
    let body = URL_SAFE_NO_PAD.encode(body.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let mac: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("vws1.{body}.{mac}")
}

#[test]
fn an_operation_that_needs_an_approval_waits_for_a_good_one() {
    let world = world();
    let special = special();
    let required =
        |claim: Option<String>| json!({"approvals": {"required": true, "claim": claim.unwrap_or_default()}});
    let name = special_operation(world, &world.apart(special), "ok-2", required(None));
    let operation = world.blocked(&special.namespace, &name, "AwaitingApproval");
    assert!(message(&operation, "Blocked").contains("has none"), "{operation:#}");

    let wrong = [
        (claim("another key", &name, 600), "signature"),
        (claim(APPROVAL_KEY, "another-operation", 600), "another-operation"),
        (claim(APPROVAL_KEY, &name, -600), "expired"),
        ("yes".to_owned(), "vws1.BODY.MAC"),
    ];
    let object = format!("operation/{name}");
    for (claim, why) in wrong {
        world.patch(&special.namespace, &object, &json!({"spec": {"approvals": {"claim": claim}}}));
        let is_told = |it: &Value| message(it, "Blocked").contains(why);
        let operation = world.until(&special.namespace, &name, why, is_told);
        assert_eq!(says(&operation, "Blocked"), "True/AwaitingApproval");
    }
    let good = claim(APPROVAL_KEY, &name, 600);
    world.patch(&special.namespace, &object, &json!({"spec": {"approvals": {"claim": good}}}));
    world.phase(&special.namespace, &name, "Succeeded");
}

#[test]
fn without_the_control_planes_key_no_approval_counts() {
    let world = world();
    let shop = world.apart(world.shop());
    let approvals = json!({"approvals": {"required": true, "claim": claim(APPROVAL_KEY, "any", 600)}});
    let name = operation_for(world, CLUSTER_ID, &shop, "ok", approvals);
    let operation = world.blocked(&shop.namespace, &name, "AwaitingApproval");
    assert!(message(&operation, "Blocked").contains("without the control plane's approval key"));
    world.delete(&shop.namespace, &format!("operation/{name}"), None);
}

// === the release ===

#[test]
fn a_release_whose_upgrade_has_failed_runs_nothing_until_it_is_mended() {
    let world = world();
    let release = world.release("failing", &world.namespace("failing", &[GATE]), &json!({}));
    let (namespace, helm_release) = (&release.namespace, format!("helmrelease/{}", release.name));
    let hook = json!({"events": "post-upgrade", "script": "exit 1"});
    world.patch(namespace, &helm_release, &json!({"spec": {"values": {"hooks": {"after": hook}}}}));
    world.until_object(namespace, &helm_release, "a failed upgrade", |it| {
        says(it, "Released") == "False/UpgradeFailed"
    });
    let name = world.operation(&release, "ok", json!({}));
    let operation = world.blocked(namespace, &name, "TargetNotReady");
    assert!(message(&operation, "Blocked").contains("failed half-way"), "{operation:#}");

    world.patch(namespace, &helm_release, &json!({"spec": {"values": {"hooks": {"after": null}}}}));
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(operation["status"]["outputs"]["revision"], 3);
}

#[test]
fn while_helm_is_at_work_nothing_runs_and_then_the_new_revisions_hook() {
    let world = world();
    let release = world.release("busy", &world.namespace("busy", &[GATE]), &json!({}));
    let (namespace, helm_release) = (&release.namespace, format!("helmrelease/{}", release.name));
    // Helm waits for a hook that does not start.
    let hook = json!({"events": "pre-upgrade", "job": {"suspend": true}, "script": "true"});
    world.patch(namespace, &helm_release, &json!({"spec": {"values": {"hooks": {"before": hook}}}}));
    world.until_object(namespace, "job/busy-before", "there", |_| true);
    let name = world.operation(&release, "ok", json!({}));
    world.blocked(namespace, &name, "ReleaseBusy");

    world.patch(namespace, "job/busy-before", &json!({"spec": {"suspend": false}}));
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(operation["status"]["outputs"]["revision"], 2);
    is_calm(namespace);
}

#[test]
fn a_record_that_flux_did_not_write_is_tampered_with_and_nothing_of_it_runs() {
    let world = world();
    let release = world.release("forged", &world.namespace("forged", &[GATE]), &json!({}));
    let namespace = &release.namespace;
    let secret = "secret/sh.helm.release.v1.forged.v1";
    let stored = world.get(namespace, secret).unwrap();

    // A later revision than Flux knows of is Helm at work, until it is gone.
    let mut next = stored.clone();
    next["metadata"] = json!({"name": "sh.helm.release.v1.forged.v2"});
    world.apply(namespace, &next);
    let waits = world.operation(&release, "ok", json!({}));
    world.blocked(namespace, &waits, "ReleaseBusy");
    world.delete(namespace, "secret/sh.helm.release.v1.forged.v2", None);
    world.phase(namespace, &waits, "Succeeded");

    let forged = forged(&stored, "echo migrating; echo done", "cat /etc/shadow; echo ok!");
    world.patch(namespace, secret, &json!({"data": {"release": forged}}));
    let name = world.operation(&release, "ok-2", json!({}));
    let message = world.refused(namespace, &name, "ReleaseTampered");
    assert!(message.contains("sha256:"), "{message}");
    assert!(world.get(namespace, &format!("job/{name}")).is_none());
}

/// The data of a record's Secret with one text in the place of another.
pub(crate) fn forged(stored: &Value, from: &str, to: &str) -> String {
    let record = STANDARD.decode(stored["data"]["release"].as_str().unwrap()).unwrap();
    let record = gunzip(&STANDARD.decode(record).unwrap());
    assert!(record.contains(from), "{record}");
    // Helm reads a record that is not compressed, too.
    STANDARD.encode(STANDARD.encode(record.replace(from, to)))
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes), &mut text).unwrap();
    text
}

#[test]
fn a_release_in_another_namespace_runs_there_if_that_is_of_the_same_organisation() {
    let world = world();
    let (home, abroad) = (world.namespace("home", &[GATE]), world.namespace("abroad", &[GATE]));
    let release = Release::new(&home, "traveller");
    let values = json!({"targetNamespace": abroad, "releaseName": "traveller"});
    helm_release(world, &release, values);
    world.ready(&release);
    let release = world.apart(&release);
    let name = world.operation(&release, "ok", json!({}));
    let operation = world.blocked(&home, &name, "NamespaceNotManaged");
    assert!(message(&operation, "Blocked").contains("organisation"), "{operation:#}");
    assert!(world.list(&abroad, "jobs", "").is_empty());

    for namespace in [&home, &abroad] {
        world.label_namespace(namespace, "vworkspace.io/organisation", "myteam");
    }
    let operation = world.phase(&home, &name, "Succeeded");
    assert_eq!(operation["status"]["engineRef"]["namespace"], json!(abroad));
    let job_of =
        |operation: &Value| format!("job/{}", operation["status"]["engineRef"]["name"].as_str().unwrap());
    let job = world.get(&abroad, &job_of(&operation)).expect("the Job is where the release is");
    // The garbage collector would take an owner in another namespace for one that is gone.
    assert!(job["metadata"]["ownerReferences"].is_null(), "{job:#}");

    // Nobody but hookhost would end the Job of a deleted Operation there.
    let slow = world.operation(&release, "slow", json!({}));
    let operation = world.phase(&home, &slow, "Running");
    world.delete(&home, &format!("operation/{slow}"), None);
    world.until_gone(&abroad, &job_of(&operation));
    let pod = operation["status"]["logsRef"]["name"].as_str().unwrap();
    world.until_gone(&abroad, &format!("pod/{pod}"));
    world.until_gone(&home, &format!("operation/{slow}"));
}

#[test]
fn a_release_in_a_namespace_without_the_gate_is_out_of_reach() {
    let world = world();
    let home = world.namespace("home", &[GATE]);
    let release = Release::new(&home, "outside");
    let outside = world.namespace("outside", &[]);
    helm_release(
        world,
        &release,
        json!({"targetNamespace": outside, "releaseName": "outside", "storageNamespace": outside}),
    );
    world.ready(&release);
    let name = world.operation(&world.apart(&release), "ok", json!({}));
    let operation = world.blocked(&home, &name, "NamespaceNotManaged");
    assert!(message(&operation, "Blocked").contains(GATE), "{operation:#}");
    world.label_namespace(&outside, "vworkspace.io/organisation", "myteam");
    world.label_namespace(&home, "vworkspace.io/organisation", "myteam");
    world.label_namespace(&outside, "managed-by", "vworkspace");
    world.phase(&home, &name, "Succeeded");
}

// === the hook ===

#[test]
fn a_test_hook_runs_only_where_that_is_allowed() {
    let world = world();
    let shop = world.shop();
    let name = world.operation(&world.apart(shop), "check", json!({}));
    // It waits, for who installed hookhost may allow it yet.
    let waiting = world.blocked(&shop.namespace, &name, "HookNotVerified");
    let told = message(&waiting, "Blocked");
    assert!(told.contains("--allow-unverified-test-hooks"), "{told}");

    let special = special();
    let name = special_operation(world, &world.apart(special), "check", json!({}));
    world.phase(&special.namespace, &name, "Succeeded");
}

#[test]
fn what_the_hooks_pod_refers_to_must_be_there() {
    let world = world();
    let volumes = json!([
        {"name": "one", "secret": {"secretName": "late"}},
        {"name": "two", "configMap": {"name": "later", "items": [{"key": "mode", "path": "mode"}]}},
        {"name": "three", "secret": {"secretName": "never", "optional": true}},
        // The kubelet sets up no volume that no container mounts.
        {"name": "four", "secret": {"secretName": "never"}},
    ]);
    let mounts: Vec<Value> =
        ["one", "two", "three"].map(|name| json!({"name": name, "mountPath": format!("/{name}")})).into();
    let hook = json!({"pod": {"volumes": volumes}, "container": {"volumeMounts": mounts},
        "script": "cat /two/mode && echo all there"});
    let values = json!({"hooks": {"needs": hook}});
    let release = world.release("needy", &world.namespace("needy", &[GATE]), &values);
    let namespace = &release.namespace;
    let name = world.operation(&release, "needs", json!({}));
    let operation = world.blocked(namespace, &name, "DependencyMissing");
    let message = message(&operation, "Blocked");
    for word in ["Secret \"late\"", "ConfigMap \"later\"", "volumes[0]"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!message.contains("never"), "{message}");
    world.apply(namespace, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}}));
    let later = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}, "data": data});
    world.apply(namespace, &later(json!({"other": "key"})));
    let says_key = |it: &Value| {
        condition(it, "Blocked")["message"].as_str().is_some_and(|it| it.contains("key \"mode\""))
    };
    world.until(namespace, &name, "in want of the key", says_key);
    world.apply(namespace, &later(json!({"mode": "fast"})));
    world.phase(namespace, &name, "Succeeded");
    is_calm(namespace);
}

/// Waiting is not asking: a look takes some ten requests, and is made when something has changed or a pause is over.
fn is_calm(namespace: &str) {
    let requests = world().requests(namespace);
    assert!((10..100).contains(&requests.len()), "{}: {requests:#?}", requests.len());
}

#[test]
fn a_chart_that_flux_upgrades_while_operations_wait() {
    let world = world();
    let release = world.release("growing", &world.namespace("growing", &[GATE]), &json!({}));
    let namespace = &release.namespace;
    let gone = world.operation(&release, "new", json!({}));
    world.refused(namespace, &gone, "HookNotFound");
    let patient = world.operation(&world.apart(&release), "new", json!({"waitForHook": true}));
    world.blocked(namespace, &patient, "HookNotFound");
    let before = world.operation(&release, "version", json!({}));
    world.phase(namespace, &before, "Succeeded");
    let job = world.get(namespace, &format!("job/{before}")).unwrap();
    let beside = world.apart(&release);
    let upgrade = upgrade(world, &beside, "Running");
    let waiting = world.operation(&beside, "version", json!({}));
    world.blocked(namespace, &waiting, "ConflictingOperation");

    push_second_version();
    let source = format!("ocirepository/{}", release.name);
    world.patch(namespace, &source, &json!({"spec": {"ref": {"tag": "2.0.0"}}}));

    // Who waits for the hook gets it.
    let operation = world.phase(namespace, &patient, "Succeeded");
    assert_eq!(operation["status"]["outputs"]["revision"], 2);
    // Who has failed for want of it hears that it is there, and is not run.
    let operation = world.until(namespace, &gone, "told that the hook is there", |it| {
        says(it, "Blocked") == "False/HookAvailable"
    });
    assert_eq!(operation["status"]["phase"], "Failed");
    assert!(world.of_operation(namespace, "jobs", &operation).is_empty());
    // Who waited for something else runs what is deployed by then.
    world.patch_status(namespace, &format!("operation/{upgrade}"), &json!({"phase": "Succeeded"}));
    let operation = world.phase(namespace, &waiting, "Succeeded");
    let pod = operation["status"]["logsRef"]["name"].as_str().unwrap();
    let log = world.pod_log(namespace, pod);
    assert!(log.starts_with("chart 2.0.0"), "{log}");
    // And what had run is not Helm's to touch.
    let after = world.get(namespace, &format!("job/{before}")).unwrap();
    assert_eq!(after["metadata"]["uid"], job["metadata"]["uid"]);
}

/// Pushes version 2.0.0 of the chart, which has a hook more.
pub(crate) fn push_second_version() {
    let world = world();
    let chart = world.cluster.logs().join("chart-2");
    let first = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    for file in ["templates/_pod.tpl", "templates/hooks.yaml", "templates/own.yaml", "templates/release.yaml"]
    {
        fs::copy(first.join(file), chart.join(file)).unwrap();
    }
    let edit = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(first.join(file)).unwrap();
        assert!(text.contains(from), "{file}");
        fs::write(chart.join(file), text.replacen(from, to, 1)).unwrap();
    };
    edit("Chart.yaml", "version: 1.0.0", "version: 2.0.0");
    edit("values.yaml", "hooks:\n", "hooks:\n  new: {script: \"echo new\"}\n");
    ok(world.cluster.push_chart(&chart));
}

#[test]
fn an_instance_whose_helm_release_is_another_by_now_is_served_from_that_one() {
    let world = world();
    let namespace = world.namespace("moved", &[GATE]);
    let [one, two] = ["one", "two"].map(|name| world.release(name, &namespace, &json!({})));
    // Both are known, and what they need is asked for ahead the next time.
    for release in [&one, &two] {
        let name = world.operation(release, "ok", json!({}));
        world.phase(&namespace, &name, "Succeeded");
    }
    let moved = Release { instance: one.instance.clone(), ..two.clone() };
    world.patch(
        &namespace,
        &format!("applicationinstance/{}", one.instance),
        &json!({"spec": {"release": {"name": two.name}}}),
    );
    world.instance_status(&moved, true);
    let name = world.operation(&moved, "ok", json!({}));
    world.phase(&namespace, &name, "Succeeded");
}

#[test]
fn an_operation_that_was_restored_from_a_backup_runs_only_when_somebody_says_so() {
    let world = world();
    let shop = world.apart(world.shop());
    let hook = world.spare("ok");
    let name = format!("{}-restored-{}", shop.name, world.number());
    let mut operation = world.operation_named(&name, &shop, &hook, json!({}));
    operation["metadata"]["labels"] =
        json!({"velero.io/restore-name": "nightly", "velero.io/backup-name": "nightly"});
    world.apply(&shop.namespace, &operation);
    let told = message(&world.blocked(&shop.namespace, &name, "RestoredFromBackup"), "Blocked");
    assert!(told.contains("hookhost.vworkspace.io/run-restored=nightly"), "{told}");
    // It is in nobody's way, not even where that runs the same hook.
    let other = world.operation(&shop, &hook, json!({}));
    world.phase(&shop.namespace, &other, "Succeeded");
    let release = |value: &str| {
        let released = json!({"metadata": {"annotations": {"hookhost.vworkspace.io/run-restored": value}}});
        world.patch(&shop.namespace, &format!("operation/{name}"), &released);
    };
    // Released once before, and in the backup with that.
    release("weekly");
    let next = world.operation(&shop, &hook, json!({}));
    world.phase(&shop.namespace, &next, "Succeeded");
    world.blocked(&shop.namespace, &name, "RestoredFromBackup");
    release("nightly");
    world.phase(&shop.namespace, &name, "Succeeded");
}
