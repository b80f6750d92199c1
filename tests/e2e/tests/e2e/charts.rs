//! What charts ask of a Job beside the Job itself: its metadata, no name, a network policy, Secrets that come with the pod. Each
//! chart is a record that the test writes, of a plain Helm release, so that it can say just what it means.

use std::io::Write;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Host, Release, World, message, ok, world};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// A gate of its own: the host of these tests serves plain releases, and creates what Helm has deleted.
const GATE: &str = "e2e=charts";

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let values = json!({"namespaceGate": GATE, "helmReleases": {"enabled": true},
            "closure": {"enabled": true, "grantAnyRole": true}});
        world().host(values).start()
    })
}

/// A namespace that the host of these tests serves.
pub(crate) fn namespace(prefix: &str) -> String {
    host();
    world().namespace(prefix, &[GATE])
}

/// Stores the record of a plain release with these hooks of pre-upgrade, each with its weight and whether Helm deletes it.
pub(crate) fn store(namespace: &str, release: &str, hooks: &[(Value, i32, bool)]) -> Release {
    let hooks = hooks
        .iter()
        .map(|(manifest, weight, is_deleted)| (manifest, manifest.to_string(), *weight, *is_deleted));
    store_texts(namespace, release, hooks)
}

/// The same with the text of each manifest.
fn store_texts<'m>(
    namespace: &str,
    release: &str,
    hooks: impl Iterator<Item = (&'m Value, String, i32, bool)>,
) -> Release {
    let hooks: Vec<Value> = hooks
        .enumerate()
        .map(|(n, (manifest, text, weight, is_deleted))| {
            let policies: &[&str] =
                if is_deleted { &["before-hook-creation", "hook-succeeded"] } else { &[] };
            let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
            json!({"name": name, "kind": manifest["kind"], "path": format!("shop/templates/{n}.yaml"),
                "manifest": text, "events": ["pre-upgrade"], "weight": weight, "delete_policies": policies})
        })
        .collect();
    let time = "2026-05-28T14:00:00Z";
    let record = json!({
        "name": release, "namespace": namespace, "version": 1, "manifest": "", "hooks": hooks,
        "info": {"status": "deployed", "first_deployed": time, "last_deployed": time},
        "chart": {"metadata": {"name": "shop", "version": "1.0.0", "apiVersion": "v2"}},
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(record.to_string().as_bytes()).unwrap();
    let stored = STANDARD.encode(gzip.finish().unwrap());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": format!("sh.helm.release.v1.{release}.v1"),
            "labels": {"owner": "helm", "name": release, "version": "1", "status": "deployed"}},
        "data": {"release": STANDARD.encode(&stored)},
    });
    world().apply(namespace, &secret);
    Release::new(namespace, release)
}

/// A Job hook whose pod has these labels and this spec beside its container, which runs a script.
pub(crate) fn job(name: &str, script: &str, pod: Value) -> Value {
    let mut spec = json!({"restartPolicy": "Never",
        "containers": [{"name": "main", "image": "localhost/busybox:1", "command": ["sh", "-c", script]}]});
    for (key, value) in pod.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "annotations": {"helm.sh/hook": "pre-upgrade"}},
        "spec": {"template": {"metadata": {"labels": {"app": name}}, "spec": spec}}})
}

/// Makes an Operation with these parameters on a plain release; gives back its name.
pub(crate) fn operation(world: &World, release: &Release, parameters: Value) -> String {
    let name = format!("{}-run-{}", release.name, world.number());
    let object = json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "metadata": {"name": name},
        "spec": {"targetRef": {"apiVersion": "helm.sh/v3", "kind": "Release", "name": release.name},
            "type": "Migration", "engine": "helmHookJob", "parameters": parameters},
    });
    world.apply(&release.namespace, &object);
    name
}

#[test]
fn the_jobs_labels_are_the_charts_where_the_cluster_asks_for_them() {
    let world = world();
    let namespace = namespace("labels");
    let has_team = "has(object.metadata.labels) && 'team' in object.metadata.labels";
    let policy = format!("jobs-have-team-{}", world.number());
    let resources = json!([{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}]);
    let rules = json!({"failurePolicy": "Fail", "matchConstraints": {"resourceRules": resources},
        "validations": [{"expression": has_team, "message": "every Job needs the label team"}]});
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    for (kind, spec) in [
        ("ValidatingAdmissionPolicy", rules),
        (
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": policy, "validationActions": ["Deny"], "matchResources": here}),
        ),
    ] {
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": policy}, "spec": spec});
        ok(world.cluster.apply("default", &object.to_string()));
    }
    // On the Job; on its pods alone, from where the API server takes them; on a Pod.
    let mut own = job("own", "true", json!({}));
    own["metadata"]["labels"] = json!({"team": "payments", "kueue.x-k8s.io/queue-name": "batch",
        "app.kubernetes.io/managed-by": "Helm", "app.vworkspace.io/cluster-id": "forged"});
    own["metadata"]["annotations"]["example.com/note"] = json!("kept");
    let mut pods = job("pods", "true", json!({}));
    pods["spec"]["template"]["metadata"]["labels"]["team"] = json!("payments");
    let template = job("x", "true", json!({}))["spec"]["template"]["spec"].clone();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template,
        "metadata": {"name": "pod", "labels": {"team": "payments"}, "annotations": {"helm.sh/hook": "pre-upgrade"}}});
    // What Helm would create, as the API server makes it: the policy takes a while to be known to it.
    let charts = |manifest: &Value| {
        let file = world.cluster.logs().join(format!("chart-{}.json", world.number()));
        std::fs::write(&file, manifest.to_string()).unwrap();
        let file = file.display().to_string();
        let args =
            ["create", "--filename", &file, "--namespace", &namespace, "--dry-run=server", "--output=json"];
        world.cluster.kubectl(&args).ok().map(|made| serde_json::from_str::<Value>(&made).unwrap())
    };
    let is_enforced = || charts(&job("without", "true", json!({}))).is_none().then_some(());
    ok(world.cluster.eventually("Jobs without the label are refused", e2e::PATIENCE, is_enforced));
    for manifest in [own, pods, pod] {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let release = store(&namespace, &name, &[(manifest.clone(), 0, false)]);
        let operation = operation(world, &release, json!({"hookName": name}));
        world.phase(&namespace, &operation, "Succeeded");
        let run = world.get(&namespace, &format!("job/{operation}")).unwrap();
        let labels = run["metadata"]["labels"].as_object().unwrap();
        assert!(
            !labels.contains_key("app.kubernetes.io/managed-by")
                && !labels.contains_key("app.vworkspace.io/cluster-id")
        );
        let made = charts(&manifest).unwrap();
        for (key, value) in made["metadata"]["labels"].as_object().unwrap() {
            let is_left_out =
                key.starts_with("app.") || key.contains("job-name") || key.contains("controller-uid");
            assert!(is_left_out || labels.get(key) == Some(value), "{name}: {key} {labels:?}");
        }
        let note = run["metadata"]["annotations"].get("example.com/note");
        assert_eq!(note, manifest["metadata"]["annotations"].get("example.com/note"), "{name}");
    }
}

#[test]
fn a_hook_that_has_only_a_generate_name_runs_by_its_template() {
    let world = world();
    let namespace = namespace("generated");
    let mut manifest = job("x", "echo generated", json!({}));
    manifest["metadata"] =
        json!({"generateName": "gen-migrate-", "annotations": {"helm.sh/hook": "pre-upgrade"}});
    let release = store(&namespace, "gen", &[(manifest, 0, false)]);
    for parameters in [json!({"hookPath": "templates/0.yaml"}), json!({"event": "pre-upgrade"})] {
        let name = operation(world, &release, parameters);
        let operation = world.phase(&namespace, &name, "Succeeded");
        let accepted = message(&operation, "Accepted");
        assert!(accepted.contains("gen-migrate-"), "{accepted}");
        assert_eq!(operation["status"]["outputs"]["hook"], json!("gen-migrate-"));
    }
}

#[test]
fn a_secret_that_comes_with_the_pods_volumes_is_not_waited_for() {
    let world = world();
    let namespace = namespace("csi");
    let mut manifest = job("csi-migrate", "true", json!({}));
    manifest["spec"]["activeDeadlineSeconds"] = json!(120);
    let pod = &mut manifest["spec"]["template"]["spec"];
    pod["volumes"] = json!([{"name": "store", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": true,
        "volumeAttributes": {"secretProviderClass": "csi-db"}}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "store", "mountPath": "/mnt/store"}]);
    pod["containers"][0]["env"] =
        json!([{"name": "URL", "valueFrom": {"secretKeyRef": {"name": "csi-db", "key": "url"}}}]);
    let release = store(&namespace, "csi", &[(manifest, 0, false)]);
    let name = operation(world, &release, json!({"hookName": "csi-migrate"}));
    // There is no such driver here, so the pod stays where Helm's own would: what counts is that it is made.
    world.until_object(&namespace, &format!("job/{name}"), "with a pod", |job| job["status"]["active"] == 1);
    world.cancel(&namespace, &name);
    world.phase(&namespace, &name, "Cancelled");
}

/// The hooks of a chart whose migration has a service account and a network policy of its own, as Helm has deleted them.
fn isolated(script: &str) -> Vec<(Value, i32, bool)> {
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "np-migrate", "annotations": {"helm.sh/hook": "pre-upgrade"}},
        "spec": {"podSelector": {"matchLabels": {"app": "np-migrate"}}, "policyTypes": ["Egress"], "egress": [{}]}});
    vec![(policy, -5, true), (job("np-migrate", script, json!({})), 0, false)]
}

#[test]
fn a_network_policy_of_the_hooks_is_there_while_it_runs() {
    let world = world();
    let namespace = namespace("isolated");
    let object = "networkpolicy/np-migrate";
    let release = store(&namespace, "np", &isolated(e2e::WAITS));
    let name = operation(world, &release, json!({"hookName": "np-migrate", "closure": true}));
    let pod = world.started(&namespace, &name);
    let policy = world.get(&namespace, object).unwrap();
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"]["app"], json!("np-migrate"));
    let (owner, job) = (&policy["metadata"]["ownerReferences"][0], format!("job/{name}"));
    assert_eq!(owner["uid"], world.get(&namespace, &job).unwrap()["metadata"]["uid"]);
    world.go(&namespace, &pod);
    let ended = world.phase(&namespace, &name, "Succeeded");
    assert_eq!(ended["status"]["outputs"]["closure"], json!(["NetworkPolicy/np-migrate"]));
    world.until_gone(&namespace, object);
}

#[test]
fn without_its_network_policy_a_hook_runs_and_the_operation_says_so() {
    let world = world();
    let namespace = namespace("open");
    let release = store(&namespace, "np", &isolated("true"));
    let name = operation(world, &release, json!({"hookName": "np-migrate"}));
    let told = message(&world.phase(&namespace, &name, "Succeeded"), "Accepted");
    for word in ["without NetworkPolicy/np-migrate", "parameters.closure: true"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(world.get(&namespace, "networkpolicy/np-migrate").is_none());
}

#[test]
fn a_network_policy_that_selects_the_charts_own_job_is_reported_to_miss_the_run() {
    let world = world();
    let namespace = namespace("by-name");
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "np-by-name", "annotations": {"helm.sh/hook": "pre-upgrade"}},
        "spec": {"podSelector": {"matchLabels": {"job-name": "np-named"}}, "policyTypes": ["Egress"], "egress": [{}]}});
    let release =
        store(&namespace, "np-named", &[(policy, -5, true), (job("np-named", "true", json!({})), 0, false)]);
    let name = operation(world, &release, json!({"hookName": "np-named", "closure": true}));
    let told = message(&world.phase(&namespace, &name, "Succeeded"), "Accepted");
    for word in ["not selected by NetworkPolicy/np-by-name", "label of the pod template"] {
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn a_hook_of_an_event_is_in_no_queue_and_the_operation_says_why() {
    let world = world();
    let namespace = namespace("queued");
    let mut manifest = job("queued", "true", json!({}));
    manifest["metadata"]["labels"] = json!({"kueue.x-k8s.io/queue-name": "batch"});
    let release = store(&namespace, "queued", &[(manifest, 0, false)]);
    let name = operation(world, &release, json!({"event": "pre-upgrade"}));
    let told = message(&world.phase(&namespace, &name, "Succeeded"), "Accepted");
    assert!(told.contains("not in the queue batch") && told.contains("before that"), "{told}");
    // Alone its Job is not created suspended, so the queue may have it.
    let name = operation(world, &release, json!({"hookName": "queued"}));
    let told = message(&world.phase(&namespace, &name, "Succeeded"), "Accepted");
    assert!(!told.contains("queue batch"), "{told}");
    let job = world.get(&namespace, &format!("job/{name}")).unwrap();
    assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "batch");
}

#[test]
fn a_provider_class_that_helm_has_deleted_is_named_instead_of_a_pod_that_hangs() {
    let world = world();
    let namespace = namespace("class");
    let class = json!({"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": {"name": "class-db", "annotations": {"helm.sh/hook": "pre-upgrade"}}, "spec": {"provider": "vault"}});
    let mut manifest = job("class-migrate", "true", json!({}));
    let pod = &mut manifest["spec"]["template"]["spec"];
    pod["volumes"] = json!([{"name": "store", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": true,
        "volumeAttributes": {"secretProviderClass": "class-db"}}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "store", "mountPath": "/mnt/store"}]);
    let release = store(&namespace, "class", &[(class, -5, true), (manifest, 0, false)]);
    let name = operation(world, &release, json!({"hookName": "class-migrate"}));
    let told = message(&world.blocked(&namespace, &name, "DependencyMissing"), "Blocked");
    for word in ["SecretProviderClass \"class-db\" (shop/templates/0.yaml)", "before-hook-creation alone"] {
        assert!(told.contains(word), "{told}");
    }
    world.cancel(&namespace, &name);
    world.phase(&namespace, &name, "Cancelled");
}

#[test]
fn a_secret_that_another_hooks_controller_makes_is_waited_for_by_the_name_of_that_hook() {
    let world = world();
    let namespace = namespace("external");
    let external = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": "es", "annotations": {"helm.sh/hook": "pre-upgrade"}},
        "spec": {"secretStoreRef": {"name": "vault"}, "target": {"name": "es-db", "creationPolicy": "Owner"}}});
    let mut manifest = job("es-migrate", "true", json!({}));
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"secretRef": {"name": "es-db"}}]);
    let release = store(&namespace, "es", &[(external, -10, true), (manifest, 0, false)]);
    let name = operation(world, &release, json!({"hookName": "es-migrate"}));
    let told = message(&world.blocked(&namespace, &name, "DependencyMissing"), "Blocked");
    for word in
        ["Secret \"es-db\"", "ExternalSecret \"es\" (shop/templates/0.yaml)", "before-hook-creation alone"]
    {
        assert!(told.contains(word), "{told}");
    }
    world.apply(&namespace, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es-db"}}));
    world.phase(&namespace, &name, "Succeeded");
}

#[test]
fn the_last_statement_of_a_manifest_that_ends_in_a_block_of_text_is_run() {
    let world = world();
    let namespace = namespace("last-line");
    // As Helm stores it: without the end of its last line.
    let text = r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: sql-migrate
  annotations: {"helm.sh/hook": pre-upgrade}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: localhost/busybox:1
          command: [sh, -c, 'printf %s "$0" | while read -r line; do echo "got: $line"; done']
          args:
            - |
              select 1;
              select 2;"#;
    let of = json!({"kind": "Job", "metadata": {"name": "sql-migrate"}});
    let release = store_texts(&namespace, "sql", [(&of, text.trim_start().to_owned(), 0, false)].into_iter());
    let name = operation(world, &release, json!({"hookName": "sql-migrate"}));
    let done = world.phase(&namespace, &name, "Succeeded");
    let log = world.pod_log(&namespace, done["status"]["logsRef"]["name"].as_str().unwrap());
    assert_eq!(log, "got: select 1;\ngot: select 2;\n");
}

#[test]
fn of_pods_that_run_in_parallel_none_is_called_anothers_successor() {
    let world = world();
    let namespace = namespace("parallel");
    for (name, more) in [
        ("beside", json!({"completions": 2, "parallelism": 2})),
        ("indexed", json!({"completions": 2, "completionMode": "Indexed"})),
    ] {
        let mut manifest = job(name, "echo shard", json!({}));
        for (field, value) in more.as_object().unwrap() {
            manifest["spec"][field] = value.clone();
        }
        let release = store(&namespace, name, &[(manifest, 0, false)]);
        let operation = operation(world, &release, json!({"hookName": name}));
        let done = world.phase(&namespace, &operation, "Succeeded");
        let told = message(&done, "Running");
        assert!(!told.contains("came after"), "{told}");
        assert_eq!(world.list(&namespace, "pods", &format!("job-name={operation}")).len(), 2);
    }
}
