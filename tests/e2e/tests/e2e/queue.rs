//! What Operations cost that wait, in requests, and how long they may.

use e2e::{GATE, Release, WAITS, condition, message, says, world};
use serde_json::{Value, json};

use crate::preconditions::push_second_version;
use crate::releases::{helm_release, special, special_operation};

/// The requests of hookhost about a namespace, reads and writes.
fn count(namespace: &str) -> (usize, usize) {
    let requests = world().requests(namespace);
    let is_read = |request: &&String| request.starts_with("get ") || request.starts_with("list ");
    let reads = requests.iter().filter(is_read).count();
    (reads, requests.len() - reads)
}

fn records_read(namespace: &str) -> usize {
    let is_record = |request: &&String| request.starts_with("get secrets/sh.helm.release.v1.");
    world().requests(namespace).iter().filter(is_record).count()
}

#[test]
fn a_queue_for_one_hook_costs_requests_in_proportion_to_its_length() {
    let world = world();
    let queue = |length: usize| {
        let release = world.release("line", &world.namespace(&format!("line-{length}"), &[GATE]), &json!({}));
        let names: Vec<String> = (0..length).map(|_| format!("queued-{}", world.number())).collect();
        for name in &names {
            world.apply(&release.namespace, &world.operation_named(name, &release, "ok", json!({})));
        }
        (release, names)
    };
    // Both at once: they are in nobody's way.
    let queues = [queue(10), queue(40)];
    let [(short_reads, short_writes), (long_reads, long_writes)] = queues.map(|(release, names)| {
        let mut times: Vec<(String, String)> = Vec::new();
        // They end in an order of their own, and all of them together take their time.
        let has_ended = |name: &&String| {
            let operation = world.get(&release.namespace, &format!("operation/{name}")).unwrap_or_default();
            operation["status"]["phase"] == "Succeeded"
        };
        let mut ended = 0;
        while ended < names.len() {
            let more = || Some(names.iter().filter(has_ended).count()).filter(|now| *now > ended);
            ended = world.cluster.eventually("one more has ended", e2e::PATIENCE, more).unwrap();
        }
        for name in &names {
            let status = world.phase(&release.namespace, name, "Succeeded")["status"].clone();
            let time = |field: &str| status[field].as_str().unwrap().to_owned();
            times.push((time("startedAt"), time("finishedAt")));
        }
        times.sort();
        assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "no two at once: {times:?}");
        count(&release.namespace)
    });
    // A run by itself takes some ten reads and six writes; whoever waits says so once, and goes when it is its turn.
    assert!(short_reads <= 10 * 20 && long_reads <= 40 * 20, "{short_reads} and {long_reads} reads");
    assert!(short_writes <= 10 * 9 && long_writes <= 40 * 9, "{short_writes} and {long_writes} writes");
    assert!(long_reads <= short_reads * 5, "it grows faster than the queue: {short_reads}, {long_reads}");
}

/// Changes the HelmRelease of a release, but not its revision, until three changes in a row cost no read of a record, and of
/// anything no more reads than this each. Gives back how many records were read until then.
///
/// # Panics
/// Changes keep costing that.
fn touched(release: &Release, most: usize) -> usize {
    let world = world();
    let namespace = &release.namespace;
    let asked = format!("get helmreleases/{}", release.name);
    let touch = |number: usize| {
        let times = || world.requests(namespace).iter().filter(|request| **request == asked).count();
        let before = times();
        let annotation = json!({"metadata": {"annotations": {"e2e/touched": number.to_string()}}});
        world.patch(namespace, &format!("helmrelease/{}", release.name), &annotation);
        world
            .cluster
            .eventually("the change is noticed", e2e::PATIENCE, || (times() > before).then_some(()))
            .unwrap();
    };
    // What each found out for itself, and its watch has told since, is over at some time.
    let mut quiet = 0;
    let is_quiet = (0..30).any(|number| {
        let (records, (reads, _)) = (records_read(namespace), count(namespace));
        touch(number);
        let (now, _) = count(namespace);
        quiet = if records_read(namespace) == records && now - reads <= most { quiet + 1 } else { 0 };
        quiet == 3
    });
    assert!(is_quiet, "a change of metadata is no other revision");
    records_read(namespace)
}

#[test]
fn operations_that_wait_for_a_hook_of_a_large_release_share_what_is_read_of_it() {
    const OTHERS: usize = 3;
    let world = world();
    // More names than are kept as they are.
    let hooks = json!({"hooks": {"waits": {"script": WAITS, "spares": 400}}});
    let release = world.release("large", &world.namespace("large", &[GATE]), &hooks);
    let namespace = &release.namespace;
    let waits = json!({"waitForHook": true});
    let hooks = (0..OTHERS).map(|n| format!("never-{n}")).chain(["new".to_owned()]);
    let names: Vec<String> = hooks.map(|hook| world.operation(&release, &hook, waits.clone())).collect();
    let told = |name: &String| message(&world.blocked(namespace, name, "HookNotFound"), "Blocked");
    let before: Vec<String> = names.iter().map(told).collect();
    touched(&release, 2 * (OTHERS + 1));
    assert_eq!(names.iter().map(told).collect::<Vec<_>>(), before, "nothing new is told");
    push_second_version();
    let source = format!("ocirepository/{}", release.name);
    world.patch(namespace, &source, &json!({"spec": {"ref": {"tag": "2.0.0"}}}));
    world.phase(namespace, &names[OTHERS], "Succeeded");
    names[..OTHERS].iter().for_each(|name| drop(told(name)));
}

#[test]
fn operations_that_lack_a_hook_read_no_record_until_there_is_another_revision() {
    const COUNT: usize = 24;
    let world = world();
    let release = world.release("lacking", &world.namespace("lacking", &[GATE]), &json!({}));
    let namespace = &release.namespace;
    let names: Vec<String> = (0..COUNT).map(|_| world.operation(&release, "new", json!({}))).collect();
    for name in &names {
        world.refused(namespace, name, "HookNotFound");
    }
    // One read of each Operation would be twice as many.
    let records = touched(&release, COUNT / 2);

    push_second_version();
    let source = format!("ocirepository/{}", release.name);
    world.patch(namespace, &source, &json!({"spec": {"ref": {"tag": "2.0.0"}}}));
    for name in &names {
        let told = |it: &Value| says(it, "Blocked") == "False/HookAvailable";
        let operation = world.until(namespace, name, "told that the hook is there", told);
        assert_eq!(operation["status"]["phase"], "Failed");
    }
    let found = records_read(namespace) - records;
    assert!(found <= 2 * 4, "{COUNT} Operations read the record {found} times, its successor among them");
}

#[test]
fn where_too_many_operations_of_other_engines_are_in_flight_a_run_waits_and_says_so() {
    /// One more than hookhost keeps of a namespace.
    const COUNT: usize = 1001;
    /// How many are made at once.
    const AT_ONCE: usize = 8;
    let world = world();
    let release = world.release("crowd", &world.namespace("crowd", &[GATE]), &json!({}));
    let namespace = release.namespace.as_str();
    let names: Vec<String> = (0..COUNT).map(|n| format!("upgrade-{n}")).collect();
    let each = |act: &(dyn Fn(&str) + Sync)| {
        std::thread::scope(|scope| {
            for some in names.chunks(COUNT.div_ceil(AT_ONCE)) {
                scope.spawn(move || some.iter().for_each(|name| act(name)));
            }
        });
    };
    // Of another release, of an engine that nobody serves, as vWorkspace's operator leaves those.
    each(&|name| {
        let mut operation = world.operation_named(name, &release, "any", json!({}));
        operation["spec"]["targetRef"]["name"] = json!("another");
        operation["spec"]["engine"] = json!("velero");
        operation["spec"]["type"] = json!("Upgrade");
        world.create_operation(namespace, operation.to_string());
        world.patch_status(namespace, &format!("operation/{name}"), &json!({"phase": "Pending"}));
    });
    let name = world.operation(&release, "ok", json!({}));
    let operation = world.blocked(namespace, &name, "TooManyOperations");
    let told = message(&operation, "Blocked");
    assert!(told.contains(&format!("kubectl get operations -n {namespace}")), "{told}");
    assert!(world.list(namespace, "jobs", "").is_empty());
    // Other namespaces have nothing to do with it.
    let shop = world.apart(world.shop());
    let other = world.operation(&shop, &world.spare("ok"), json!({}));
    world.phase(&shop.namespace, &other, "Succeeded");
    each(&|name| world.delete(namespace, &format!("operation/{name}"), None));
    world.phase(namespace, &name, "Succeeded");
}

#[test]
fn who_waits_for_one_in_a_namespace_that_loses_its_label_goes_on() {
    let world = world();
    let gate = "e2e=left-alone";
    let (home, abroad) = (world.namespace("home", &[gate]), world.namespace("abroad", &[gate]));
    for namespace in [&home, &abroad] {
        world.label_namespace(namespace, "vworkspace.io/organisation", "one");
    }
    let mounts = json!([{"name": "missing", "mountPath": "/missing"}]);
    let pod = json!({"volumes": [{"name": "missing", "secret": {"secretName": "missing"}}]});
    let values = json!({"hooks": {"needs": {"pod": pod, "container": {"volumeMounts": mounts}}}});
    let release = Release::new(&home, "traveller");
    let spec = json!({"targetNamespace": abroad, "storageNamespace": abroad, "releaseName": "traveller", "values": values});
    helm_release(world, &release, spec);
    world.ready(&release);
    let _host = world.host(json!({"namespaceGate": gate, "helmReleases": {"enabled": true}, "organisationLabel": "vworkspace.io/organisation"})).start();
    let operation = |namespace: &str, target: Value| {
        let name = format!("travels-{}", world.number());
        let mut operation = world.operation_named(&name, &release, "needs", json!({}));
        operation["spec"]["targetRef"] = target;
        world.apply(namespace, &operation);
        name
    };
    // One release by two names, in two namespaces.
    let flux = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "traveller"});
    let first = operation(&home, flux);
    world.blocked(&home, &first, "DependencyMissing");
    // Of two made in one second the UID tells which goes first.
    let made = |namespace: &str, name: &str| {
        let operation = world.get(namespace, &format!("operation/{name}")).unwrap();
        operation["metadata"]["creationTimestamp"].as_str().unwrap().to_owned()
    };
    let plain = json!({"apiVersion": "helm.sh/v3", "kind": "Release", "name": "traveller"});
    let later = || {
        let name = operation(&abroad, plain.clone());
        if made(&abroad, &name) > made(&home, &first) {
            return Some(name);
        }
        world.delete(&abroad, &format!("operation/{name}"), None);
        None
    };
    let second = world.cluster.eventually("made a second later", e2e::PATIENCE, later).unwrap();
    let told = message(&world.blocked(&abroad, &second, "ConflictingOperation"), "Blocked");
    assert!(told.contains(&first), "{told}");
    world.label_namespace(&home, "e2e", "nobody");
    world.blocked(&abroad, &second, "DependencyMissing");
}

#[test]
fn an_operation_that_waits_for_too_long_fails_and_says_for_what() {
    let world = world();
    let shop = world.apart(world.shop());
    world.instance_status(&shop, false);
    let name = world.operation(&shop, &world.spare("ok"), json!({"waitTimeout": "3s"}));
    let failed = world.refused(&shop.namespace, &name, "WaitTimeout");
    for part in ["waited 3s", "parameters.waitTimeout", "TargetNotReady", "as the test says"] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    let operation = world.get(&shop.namespace, &format!("operation/{name}")).unwrap();
    assert_ne!(condition(&operation, "Blocked")["status"], "True", "{operation:#}");
}

#[test]
fn where_jobs_cannot_be_listed_an_operation_without_one_waits_no_longer_than_it_may() {
    let world = world();
    let gate = "e2e=unlisted";
    let release = world.release("unlisted", &world.namespace("unlisted", &[gate]), &json!({}));
    let namespace = &release.namespace;
    let start = || world.host(json!({"namespaceGate": gate})).without_lease().start();
    let mut host = start();
    let role = format!("clusterrole/{}-namespace", host.name());
    let rules = world.get("", &role).unwrap()["rules"].clone();
    host.kill();
    let mut fewer = rules.clone();
    let of_jobs = fewer.as_array_mut().unwrap().iter_mut().find(|rule| rule["resources"] == json!(["jobs"]));
    of_jobs.unwrap()["verbs"] = json!(["get", "create", "patch", "delete"]);
    world.patch("", &role, &json!({ "rules": fewer }));
    let account = format!("--as=system:serviceaccount:hookhost:{}", host.name());
    let asked = ["auth", "can-i", "list", "jobs", "--namespace", namespace, &account];
    let is_forbidden = || world.cluster.kubectl(&asked).is_err().then_some(());
    world.cluster.eventually("the right is gone", e2e::PATIENCE, is_forbidden).unwrap();

    let made = |timeout: Value| world.operation(&release, "ok", timeout);
    let has_job = format!("has-job-{}", world.number());
    let container = json!({"name": "c", "image": "localhost/busybox:1"});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": has_job}, "spec": {"suspend": true,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}});
    world.apply(namespace, &job);
    let short = json!({"waitTimeout": "2s"});
    world.apply(namespace, &world.operation_named(&has_job, &release, "ok", short));
    let (has_none, waits) = (made(json!({"waitTimeout": "5s"})), made(json!({})));
    host = start();
    let failed = world.refused(namespace, &has_none, "WaitTimeout");
    assert!(failed.contains("AccessForbidden"), "{failed}");
    // A Job may be its own, so it may not end without it.
    world.blocked(namespace, &has_job, "AccessForbidden");
    world.blocked(namespace, &waits, "AccessForbidden");
    host.kill();
    world.patch("", &role, &json!({ "rules": rules }));
    let is_allowed = || world.cluster.kubectl(&asked).is_ok().then_some(());
    world.cluster.eventually("the right is back", e2e::PATIENCE, is_allowed).unwrap();
    let _host = start();
    world.refused(namespace, &has_job, "WaitTimeout");
    world.phase(namespace, &waits, "Succeeded");
}

#[test]
fn who_gives_up_waiting_in_a_line_holds_nobody_up() {
    let world = world();
    let hooks = json!({"hooks": {"waits": {"script": WAITS}}});
    let release: Release = world.release("impatient", &world.namespace("impatient", &[GATE]), &hooks);
    let namespace = &release.namespace;
    let first = world.operation(&release, "waits", json!({}));
    let pod = world.started(namespace, &first);
    let second = world.operation(&release, "waits", json!({"waitTimeout": "4s"}));
    let third = world.operation(&release, "waits", json!({}));
    let operation = world.blocked(namespace, &third, "ConflictingOperation");
    assert!(
        message(&operation, "Blocked").contains(&first) || message(&operation, "Blocked").contains(&second)
    );
    let failed = world.refused(namespace, &second, "WaitTimeout");
    // For the first, or for the third: of two made in one second the UID tells which goes first.
    assert!(failed.contains("ConflictingOperation"), "{failed}");
    // The one behind it now says whom it waits for, and goes when that has ended.
    let is_told = |it: &Value| message(it, "Blocked").contains(&first);
    world.until(namespace, &third, "waiting for the first", is_told);
    world.go(namespace, &pod);
    world.phase(namespace, &first, "Succeeded");
    let pod = world.started(namespace, &third);
    world.go(namespace, &pod);
    world.phase(namespace, &third, "Succeeded");
}

#[test]
fn an_operation_overtakes_a_blocked_event_unless_that_has_its_hook() {
    let world = world();
    let special = world.apart(special());
    let approvals = json!({"required": true});
    let spec = json!({"parameters": {"event": "test"}, "approvals": approvals});
    let event = special_operation(world, &special, "event", spec);
    world.blocked(&special.namespace, &event, "AwaitingApproval");
    let other = special_operation(world, &special, "ok-2", json!({}));
    world.phase(&special.namespace, &other, "Succeeded");
    let same = special_operation(world, &special, "check", json!({}));
    let operation = world.blocked(&special.namespace, &same, "ConflictingOperation");
    let told = message(&operation, "Blocked");
    assert!(told.contains(&event) && told.contains("AwaitingApproval"), "{told}");
    world.delete(&special.namespace, &format!("operation/{event}"), None);
    world.phase(&special.namespace, &same, "Succeeded");
}
