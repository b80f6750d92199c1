//! hookhost in the cluster, as its Helm chart installs it: a pod of its own image, with its own account and no more rights.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use e2e::{PATIENCE, Release, WAITS, World, chart, ok, says, world};

use crate::installed::{CLUSTER_ID, Installed, pod_of};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::Helm;

/// A release in a namespace of its own that has this gate.
fn release(prefix: &str, gate: &str) -> Release {
    let world = world();
    let namespace = world.namespace(prefix, &[gate]);
    world.release("shop", &namespace, &json!({"hooks": {"waits": {"script": WAITS}}}))
}

/// What the tests share that only look: installed by Helm 3, with a release in a namespace of its gate.
fn shared() -> &'static (Installed, Release) {
    static SHARED: OnceLock<(Installed, Release)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let release = release("in-pods", "e2e=in-pods");
        let installed = Installed::new(Helm::Three, "hookhost-e2e", "e2e=in-pods", &[&release.namespace], 1);
        (installed, release)
    })
}

#[test]
fn installed_in_a_restricted_namespace_it_runs_the_worked_example_and_answers_probes_and_scrapes() {
    let world = world();
    let (installed, release) = shared();
    let name = world.operation(release, "ok", json!({"activeDeadlineSeconds": 1800, "backoffLimit": 1}));
    let operation = world.phase(&release.namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Succeeded"), "True/HelmHookJobSucceeded");
    let jobs = world.of_operation(&release.namespace, "jobs", &operation);
    assert_eq!(jobs[0]["metadata"]["labels"]["app.vworkspace.io/cluster-id"], CLUSTER_ID);
    assert_eq!(jobs[0]["spec"]["activeDeadlineSeconds"], 1800);
    let failing = world.operation(release, "fails", json!({}));
    let failed = world.phase(&release.namespace, &failing, "Failed");
    assert!(
        e2e::message(&failed, "Failed").contains("the last words"),
        "its account may read logs: {failed:#}"
    );

    let pod = &installed.pods()[0];
    let spec = &world.get(&installed.at, &format!("pod/{pod}")).unwrap_or_default()["spec"];
    assert_eq!(spec["securityContext"]["runAsUser"], 65532);
    assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
    let get = |path: &str| {
        let at = &installed.at;
        ok(world.cluster.kubectl(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/{at}/pods/{pod}:8080/proxy{path}"),
        ]))
    };
    assert_eq!((get("/healthz").as_str(), get("/readyz").as_str()), ("ok", "ok"));
    // By the Service, as Prometheus finds it.
    let at = &installed.at;
    let metrics = format!("/api/v1/namespaces/{at}/services/{}:admin/proxy/metrics", installed.name);
    let metrics = ok(world.cluster.kubectl(&["get", "--raw", &metrics]));
    for line in ["hookhost_leader 1", "hookhost_operation_transitions_total{phase=\"Succeeded\"", "# EOF"] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    // HookPolicies are the whole cluster's, and other tests make wrong ones.
    let log = installed.kubectl(&["logs", pod]);
    let log: Vec<&str> = log.lines().filter(|line| !line.contains("\"policy\":")).collect();
    let is_bad = |line: &&str| line.contains("AccessForbidden") || line.contains("\"level\":\"error\"");
    assert!(!log.iter().any(is_bad), "{log:#?}");
}

/// One question to the API server: who, where, which verb on which resource (GROUP/RESOURCE[/PART], or a path), of which
/// name.
struct May<'a> {
    who: (&'a str, &'a str),
    namespace: &'a str,
    verb: &'a str,
    resource: &'a str,
    name: &'a str,
}

impl May<'_> {
    /// The question as `kubectl auth can-i` asks it.
    fn review(&self) -> Value {
        let (namespace, name) = self.who;
        let mut spec = json!({
            "user": format!("system:serviceaccount:{namespace}:{name}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
        });
        if self.resource.starts_with('/') {
            spec["nonResourceAttributes"] = json!({"path": self.resource, "verb": self.verb});
        } else {
            let mut parts = self.resource.splitn(3, '/');
            let mut part = || parts.next().unwrap_or_default();
            let group = part().replace("core", "");
            spec["resourceAttributes"] = json!({
                "namespace": self.namespace, "verb": self.verb, "group": group, "resource": part(),
                "subresource": part(), "name": self.name,
            });
        }
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
    }

    fn line(&self) -> String {
        let place = if self.namespace.is_empty() { "the cluster" } else { self.namespace };
        format!("{} {} {} in {place} as {}/{}", self.verb, self.resource, self.name, self.who.0, self.who.1)
    }
}

/// Asks all questions at once; gives back those whose answer is not the wanted one.
fn wrong(world: &World, asked: &[(bool, May<'_>)]) -> Vec<String> {
    let items: Vec<Value> = asked.iter().map(|(_, may)| may.review()).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let file = world.cluster.logs().join("access-reviews.json");
    fs::write(&file, list.to_string()).unwrap();
    let file = format!("--filename={}", file.display());
    let answers = ok(world.cluster.kubectl(&["create", &file, "--output=json"]));
    // One JSON document after the other.
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&answers).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(answers.len(), asked.len());
    let wrong = asked.iter().zip(answers).filter(|((wanted, _), is)| is["status"]["allowed"] != *wanted);
    wrong.map(|((wanted, may), _)| format!("wanted {wanted}: {}", may.line())).collect()
}

/// Where, resource and verbs of each right in the table of the chart's README.
fn told_rights() -> Vec<[String; 3]> {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let rows = readme.lines().skip_while(|line| !line.starts_with("| Where |")).skip(2);
    let rows =
        rows.take_while(|line| line.starts_with('|')).filter(|row| !row.contains("helmReleases.enabled"));
    let mut rights = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [place, group, resource, verbs, _] = cells[..] else { panic!("{row}") };
        for verb in verbs.split(", ") {
            rights.push([place.to_owned(), format!("{group}/{resource}"), verb.to_owned()]);
        }
    }
    assert!(rights.len() > 30, "{rights:?}");
    rights
}

/// What its account may not do in a namespace in which it acts: verbs and GROUP/RESOURCE.
const DENIED_WHERE_IT_ACTS: [(&str, &str); 34] = [
    ("list watch create update patch delete deletecollection", "core/secrets"),
    ("list watch create update patch delete", "core/configmaps"),
    ("create update patch deletecollection", "core/pods"),
    ("create get", "core/pods/exec"),
    ("create get", "core/pods/attach"),
    ("create get", "core/pods/portforward"),
    ("update patch", "core/pods/ephemeralcontainers"),
    ("create", "core/pods/eviction"),
    ("create", "core/serviceaccounts/token"),
    ("list watch create update patch delete impersonate", "core/serviceaccounts"),
    ("list watch create update patch delete", "core/persistentvolumeclaims"),
    ("create update patch delete", "core/services"),
    ("get create delete", "core/events"),
    ("update deletecollection", "batch/jobs"),
    ("update patch", "batch/jobs/status"),
    ("get list create patch delete", "batch/cronjobs"),
    ("get list create patch delete", "apps/deployments"),
    ("create patch delete", "apps/daemonsets"),
    ("create update patch delete", "helm.toolkit.fluxcd.io/helmreleases"),
    ("update patch", "helm.toolkit.fluxcd.io/helmreleases/status"),
    ("create update patch delete", "source.toolkit.fluxcd.io/ocirepositories"),
    ("create update patch delete deletecollection", "ops.vworkspace.io/operations"),
    ("update", "ops.vworkspace.io/operations/status"),
    ("create update patch delete", "apps.vworkspace.io/applicationinstances"),
    ("update patch", "apps.vworkspace.io/applicationinstances/status"),
    ("list create update patch delete bind escalate", "rbac.authorization.k8s.io/roles"),
    ("list create update patch delete", "rbac.authorization.k8s.io/rolebindings"),
    ("get list create update delete", "coordination.k8s.io/leases"),
    ("create delete", "networking.k8s.io/networkpolicies"),
    ("create delete", "core/resourcequotas"),
    ("create delete", "policy/poddisruptionbudgets"),
    ("get list delete", "events.k8s.io/events"),
    ("create", "authorization.k8s.io/subjectaccessreviews"),
    ("*", "*/*"),
];

/// What it may not do in the cluster.
const DENIED_IN_THE_CLUSTER: [(&str, &str); 20] = [
    ("create update patch delete", "core/namespaces"),
    ("get list patch", "core/nodes"),
    ("get create", "core/nodes/proxy"),
    ("get list create", "core/persistentvolumes"),
    ("get list create delete", "batch/jobs"),
    ("get list", "core/pods"),
    ("get list watch", "core/secrets"),
    ("get list", "core/configmaps"),
    ("get list", "helm.toolkit.fluxcd.io/helmreleases"),
    ("impersonate", "core/users"),
    ("impersonate", "core/groups"),
    ("create update patch delete", "policy.vworkspace.io/hookpolicies"),
    ("update", "policy.vworkspace.io/hookpolicies/status"),
    ("list create update patch delete bind escalate", "rbac.authorization.k8s.io/clusterroles"),
    ("list create update patch delete", "rbac.authorization.k8s.io/clusterrolebindings"),
    ("get create update patch delete", "apiextensions.k8s.io/customresourcedefinitions"),
    ("create update patch", "admissionregistration.k8s.io/validatingwebhookconfigurations"),
    ("create approve", "certificates.k8s.io/certificatesigningrequests"),
    ("create", "authentication.k8s.io/tokenreviews"),
    ("get post", "/metrics"),
];

#[test]
fn its_account_may_do_what_the_table_of_its_rights_says_and_nothing_else() {
    let world = world();
    let (installed, release) = shared();
    let (who, acts) = ((installed.at.as_str(), installed.name), release.namespace.as_str());
    let elsewhere = world.namespace("ungated", &[]);
    let may = |namespace, verb, resource, name| May { who, namespace, verb, resource, name };
    let mut asked = Vec::new();

    let (rights, key) = (told_rights(), format!("{}-claim-key", installed.name));
    for [place, resource, verb] in &rights {
        let (resource, own) = match resource.strip_suffix(" (its own)") {
            Some(resource @ "core/secrets") => (resource, key.as_str()),
            Some(resource) => (resource, installed.name),
            None => (resource.as_str(), ""),
        };
        match place.as_str() {
            "cluster" => {
                asked.push((true, may("", verb, resource, own)));
                if !own.is_empty() {
                    asked.push((false, may("", verb, resource, "another")));
                }
            }
            "each namespace" => {
                asked.push((true, may(acts, verb, resource, "")));
                asked.push((false, may(&elsewhere, verb, resource, "")));
            }
            "its own namespace" => {
                asked.push((true, may(&installed.at, verb, resource, own)));
                let is_given = |right: &&[String; 3]| **right == ["each namespace", resource, verb];
                asked.push((rights.iter().any(|right| is_given(&right)), may(acts, verb, resource, own)));
                if !own.is_empty() {
                    asked.push((false, may(&installed.at, verb, resource, "another")));
                }
            }
            "policies.namespace" => asked.push((true, may(&installed.at, verb, resource, ""))),
            other => panic!("the table has a place that this test does not know: {other}"),
        }
    }
    let each = |table: &'static [(&str, &str)]| {
        table.iter().flat_map(|(verbs, resource)| verbs.split(' ').map(move |verb| (verb, *resource)))
    };
    for (verb, resource) in each(&DENIED_WHERE_IT_ACTS) {
        for namespace in [acts, elsewhere.as_str(), "kube-system"] {
            asked.push((false, may(namespace, verb, resource, "")));
        }
    }
    for (verb, resource) in each(&DENIED_IN_THE_CLUSTER) {
        asked.push((false, may("", verb, resource, "")));
    }
    // In its own namespace it may read neither Secrets nor Jobs, and start nothing.
    for (verb, resource) in
        [("get", "core/secrets"), ("create", "batch/jobs"), ("get", "core/pods"), ("list", "core/configmaps")]
    {
        asked.push((false, may(&installed.at, verb, resource, "")));
    }
    // A hook's own account has got nothing by being run.
    let hook = (acts, "shop");
    for (verb, resource) in [
        ("get", "core/secrets"),
        ("create", "batch/jobs"),
        ("create", "core/pods"),
        ("get", "ops.vworkspace.io/operations"),
        ("create", "ops.vworkspace.io/operations"),
        ("patch", "ops.vworkspace.io/operations/status"),
        ("get", "policy.vworkspace.io/hookpolicies"),
        ("update", "coordination.k8s.io/leases"),
    ] {
        for namespace in [acts, installed.at.as_str()] {
            asked.push((false, May { who: hook, namespace, verb, resource, name: "" }));
        }
    }
    let wrong = wrong(world, &asked);
    assert!(wrong.is_empty(), "of {} questions:\n{}", asked.len(), wrong.join("\n"));

    // And as a person would ask.
    let account = format!("--as=system:serviceaccount:{}:{}", installed.at, installed.name);
    let can_i = |verb: &str, resource: &str, namespace: &str| {
        let args = ["auth", "can-i", verb, resource, "--namespace", namespace, &account];
        world.cluster.kubectl(&args).is_ok_and(|answer| answer == "yes")
    };
    assert!(
        can_i("create", "jobs", acts)
            && !can_i("create", "jobs", &elsewhere)
            && !can_i("list", "secrets", acts)
    );
}

#[test]
fn a_leader_that_ends_or_dies_is_followed_by_the_other_and_a_run_in_flight_ends_right() {
    let world = world();
    let release = release("led", "e2e=led");
    let installed = Installed::new(Helm::Four, "hookhost-led", "e2e=led", &[&release.namespace], 2);
    assert_eq!(installed.pods().len(), 2);
    let name = world.operation(&release, "waits", json!({}));
    let pod = world.started(&release.namespace, &name);

    // Told to end, it finishes what it does and gives the lease back: the other leads at its next look.
    let first = installed.leader();
    let mut logs = world.cluster.command("kubectl");
    logs.args(["logs", "--follow", pod_of(&first), "--namespace", &installed.at]);
    let logs = logs.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    installed.kubectl(&["delete", "pod", pod_of(&first), "--wait=false"]);
    let said = String::from_utf8(logs.wait_with_output().unwrap().stdout).unwrap();
    for line in ["ending: what is under way is finished first", "gave the lease back", "\"msg\":\"ended\""] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
    let second = installed.leader_after(&first);
    let while_led = world.operation(&world.apart(&release), "ok", json!({}));
    world.phase(&release.namespace, &while_led, "Succeeded");

    // Killed, it can give nothing back: the lease lapses.
    ok(world.cluster.eventually("two pods again", PATIENCE, || {
        let ready =
            ["wait", "--for=condition=Available", &format!("deployment/{}", installed.name), "--timeout=1s"];
        (installed.pods().len() == 2
            && world.cluster.kubectl(&[&ready[..], &["--namespace", &installed.at]].concat()).is_ok())
        .then_some(())
    }));
    kill(pod_of(&second));
    installed.leader_after(&second);
    world.go(&release.namespace, &pod);
    let operation = world.phase(&release.namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Succeeded"), "True/HelmHookJobSucceeded");
    for kind in ["jobs", "pods"] {
        assert_eq!(world.of_operation(&release.namespace, kind, &operation).len(), 1, "{kind}");
    }
}

/// Ends the controller in a pod at once: its process is one of this test's own process namespace too.
fn kill(pod: &str) {
    let host_name = format!("HOSTNAME={pod}");
    let is_it = |dir: &Path| {
        let read = |name: &str| fs::read(dir.join(name)).unwrap_or_default();
        read("cmdline").starts_with(b"/hookhost\0controller\0")
            && read("environ").split(|byte| *byte == 0).any(|entry| entry == host_name.as_bytes())
    };
    let mut processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let process = processes.find(|dir| is_it(dir)).unwrap_or_else(|| panic!("{pod} has no process"));
    let id =
        process.file_name().and_then(|name| name.to_str()?.parse().ok()).and_then(Pid::from_raw).unwrap();
    kill_process(id, Signal::KILL).unwrap();
}

#[test]
fn helm_3_uninstalls_it_with_a_run_in_flight_and_nothing_is_left_that_hangs() {
    uninstalled_leaves_nothing_that_hangs(Helm::Three, "hookhost-gone-3", "e2e=gone-3");
}

#[test]
fn helm_4_uninstalls_it_with_a_run_in_flight_and_nothing_is_left_that_hangs() {
    uninstalled_leaves_nothing_that_hangs(Helm::Four, "hookhost-gone-4", "e2e=gone-4");
}

fn uninstalled_leaves_nothing_that_hangs(helm: Helm, name: &'static str, gate: &str) {
    let world = world();
    let (kept, deleted) = (release("kept", gate), release("deleted", gate));
    let namespaces = [kept.namespace.as_str(), deleted.namespace.as_str()];
    let installed = Installed::new(helm, name, gate, &namespaces, 2);
    let finished = world.operation(&kept, "ok", json!({}));
    world.phase(&kept.namespace, &finished, "Succeeded");
    let running = [&kept, &deleted].map(|release| {
        let operation = world.operation(release, "waits", json!({}));
        let pod = world.started(&release.namespace, &operation);
        (operation, pod)
    });
    for (operation, release) in running.iter().zip([&kept, &deleted]) {
        let job = world.get(&release.namespace, &format!("job/{}", operation.0)).unwrap();
        assert_eq!(job["metadata"]["finalizers"], json!(["hookhost.vworkspace.io/result"]));
    }

    let key = || world.get(&installed.at, &format!("secret/{name}-claim-key")).unwrap()["data"].clone();
    let made = key();
    assert!(made["current"].is_string(), "hookhost puts a key into the Secret that Helm made");
    ok(world.cluster.helm(helm, &["uninstall", name, "--namespace", &installed.at, "--timeout=120s"]));
    for (operation, release) in running.iter().zip([&kept, &deleted]) {
        let job = world.get(&release.namespace, &format!("job/{}", operation.0)).unwrap();
        assert!(job["metadata"]["finalizers"].is_null(), "{job:#}");
        assert_eq!(job["status"]["active"], 1, "it runs on: {job:#}");
    }
    let job = format!("job.batch/{name}-uninstall");
    assert_eq!(left_of(world, name), [job.as_str()], "Helm leaves nothing else");
    let lease = world.get(&installed.at, &format!("lease/{name}"));
    assert!(lease.is_none(), "a hookhost that is installed again would wait for it: {lease:#?}");
    let log = ok(world.cluster.kubectl(&["logs", "--namespace", &installed.at, &job]));
    assert!(log.contains("released a Job"), "what it did can be read afterwards: {log}");
    let kept_for = &world.get(&installed.at, &job).unwrap()["spec"]["ttlSecondsAfterFinished"];
    assert_eq!(kept_for, 3600);
    ok(world.cluster.kubectl(&["delete", "namespace", namespaces[1], "--timeout=60s"]));

    // Installed again, it tells the result of the run that ended meanwhile: its key was kept.
    let (operation, pod) = &running[0];
    world.go(&kept.namespace, pod);
    let job = format!("job/{operation}");
    world.until_object(&kept.namespace, &job, "complete", |job| job["status"]["succeeded"] == 1);
    assert_eq!(
        world.get(&kept.namespace, &format!("operation/{operation}")).unwrap()["status"]["phase"],
        "Running"
    );
    installed.install(name, gate, &namespaces[..1], 1);
    world.phase(&kept.namespace, operation, "Succeeded");
    let log = installed.logs(&installed.pods()[0]);
    assert!(log.contains("this hookhost leads") && !log.contains("standing by"), "it leads at once: {log}");
    installed.upgrade(&["logLines=5"]);
    assert_eq!(key(), made, "an upgrade leaves it alone");
    ok(world.cluster.kubectl(&["delete", "namespace", namespaces[0], "--timeout=60s"]));
    ok(world.cluster.helm(helm, &["uninstall", name, "--namespace", &installed.at, "--timeout=120s"]));
    ok(world.cluster.kubectl(&["delete", "namespace", &installed.at, "--timeout=60s"]));
}

/// What of a release is still in the cluster, or in any namespace.
fn left_of(world: &World, name: &str) -> Vec<String> {
    let selector = format!("--selector=app.kubernetes.io/instance={name}");
    let kinds = "deployments,replicasets,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,jobs,poddisruptionbudgets";
    let left = ok(world.cluster.kubectl(&["get", kinds, "--all-namespaces", &selector, "--output=name"]));
    // What belonged to the Deployment goes after it.
    left.lines().filter(|line| !line.starts_with("replicaset")).map(str::to_owned).collect()
}

#[test]
fn crds_of_somebody_else_and_values_that_cannot_be_are_refused_with_what_to_do() {
    let world = world();
    let chart = chart().display().to_string();
    let dry = |helm: Helm, sets: &str| {
        let args = ["install", "other", &chart, "--dry-run=server", "--set", sets];
        world.cluster.helm(helm, &args).map_err(|error| error.to_string())
    };
    for helm in Helm::ALL {
        let refused = dry(helm, "replicas=1").unwrap_err();
        assert!(refused.contains("operations.ops.vworkspace.io"), "{refused}");
        // What it says can be left away is what it says.
        let hint = refused.lines().find_map(|line| line.trim().strip_prefix("--set ")).unwrap().to_owned();
        let notes = dry(helm, &hint).unwrap();
        assert!(notes.contains("kubectl label namespace"), "{notes}");
        // Of two pods the one that works.
        assert!(notes.contains("$(kubectl get lease other-hookhost "), "{notes}");
        for (wrong, word) in [
            ("replica=2", "replica"),
            ("logLines=many", "logLines"),
            ("image.pullPolicy=Sometimes", "pullPolicy"),
        ] {
            let refused = dry(helm, &format!("{hint},{wrong}")).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
