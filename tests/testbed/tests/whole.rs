//! The whole cluster runs pods from images made here, and Flux installs charts in it.
// A test ends by panicking; clippy knows that of test functions only, not of their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testbed::{Cgroup, Cluster, Error, Helm, Image, Options};

fn cluster() -> &'static Cluster {
    let options = Options::pods().with_registry().with_flux().with_audit();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("whole");
    testbed::shared(options, &dir).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a container to its end in a Job of its own, and gives back its logs.
fn logs_of(cluster: &Cluster, namespace: &str, container: &str) -> String {
    let job = format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: once}}
spec:
  backoffLimit: 0
  template: {{spec: {{restartPolicy: Never, containers: [{{name: main, {container}}}]}}}}
"
    );
    cluster.apply(namespace, &job).unwrap();
    let wait = ["wait", "--for=condition=Complete", "job/once", "--timeout=60s", "--namespace", namespace];
    cluster.kubectl(&wait).unwrap();
    cluster.kubectl(&["logs", "job/once", "--namespace", namespace]).unwrap()
}

#[test]
fn a_job_runs_to_completion_and_its_logs_can_be_read() {
    let cluster = cluster();
    let namespace = cluster.namespace("job").unwrap();
    let logs =
        logs_of(cluster, &namespace, "image: localhost/busybox:1, command: [sh, -c, echo one; echo two]");
    assert_eq!(logs, "one\ntwo");
    // On a busy machine the kubelet may look for the API server's certificate before that is in the new namespace, and looks again.
    let events = [
        "get",
        "events",
        "--namespace",
        &namespace,
        "--field-selector=type=Warning,reason!=FailedMount",
        "--output=custom-columns=REASON:.reason,MESSAGE:.message",
        "--no-headers",
    ];
    let warnings = cluster.kubectl(&events).unwrap();
    assert_eq!(
        warnings.lines().filter(|line| !line.starts_with("No resources")).collect::<Vec<_>>(),
        [""; 0]
    );
}

#[test]
fn a_pod_reaches_the_api_server_with_its_own_token_and_a_name_is_unknown_at_once() {
    let cluster = cluster();
    let namespace = cluster.namespace("token").unwrap();
    // The name first, which must not take a minute. The second request is one that its service account may not make.
    let script = "#!/bin/sh
token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
ask() { wget -q -O - --header \"Authorization: Bearer $token\" https://10.96.0.1:443$1 2>&1; }
wget -q http://example.org 2>&1
ask /version
ask /api/v1/secrets
true
";
    let image =
        Image::busybox("localhost/asker:1").unwrap().script("/bin/ask", script).entrypoint(&["/bin/ask"]);
    cluster.load(&image).unwrap();
    let logs = logs_of(cluster, &namespace, "image: localhost/asker:1");
    for expected in ["bad address 'example.org'", "\"gitVersion\": \"v1.34.4\"", "403 Forbidden"] {
        assert!(logs.contains(expected), "{expected} in {logs}");
    }
}

#[test]
fn an_image_of_a_program_with_shared_libraries_runs_as_its_own_user() {
    let cluster = cluster();
    let namespace = cluster.namespace("image").unwrap();
    let image = Image::new("localhost/id:1").program(Path::new("/usr/bin/id"), "/usr/bin/id").unwrap();
    cluster.load(&image.entrypoint(&["/usr/bin/id", "-u"]).user("65532:65532")).unwrap();
    let container = "image: localhost/id:1, \
         securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, \
                           seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}}";
    assert_eq!(logs_of(cluster, &namespace, container), "65532");
}

#[test]
fn flux_installs_a_chart_from_the_registry_and_its_hook_runs() {
    let cluster = cluster();
    let namespace = cluster.namespace("flux").unwrap();
    cluster.push_chart(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart")).unwrap();
    let release = format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: greeter}}
spec:
  interval: 1m
  url: oci://{}/charts/greeter
  insecure: true
  ref: {{tag: 0.1.0}}
  layerSelector: {{mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: greeter}}
spec:
  interval: 1m
  chartRef: {{kind: OCIRepository, name: greeter}}
  values: {{greeting: from Flux}}
",
        Cluster::REGISTRY
    );
    cluster.apply(&namespace, &release).unwrap();
    let in_namespace = |args: &[&str]| cluster.kubectl(&[args, &["--namespace", &namespace]].concat());
    in_namespace(&["wait", "--for=condition=Ready", "helmrelease/greeter", "--timeout=60s"]).unwrap();
    assert_eq!(in_namespace(&["logs", "job/greeter-greet"]).unwrap(), "from Flux");
    let greeting =
        in_namespace(&["get", "configmap", "greeter-greeting", "--output=jsonpath={.data.greeting}"]);
    assert_eq!(greeting.unwrap(), "from Flux");
    for helm in Helm::ALL {
        assert_eq!(cluster.helm(helm, &["list", "--short", "--namespace", &namespace]).unwrap(), "greeter");
    }
}

#[test]
fn the_audit_log_has_each_write_with_who_made_it() {
    let cluster = cluster();
    let namespace = cluster.namespace("audit").unwrap();
    cluster.kubectl(&["create", "configmap", "written", "--namespace", &namespace]).unwrap();
    let log = cluster.audit_log().unwrap();
    let line = cluster
        .eventually("the request in the audit log", Duration::from_secs(10), || {
            let text = fs::read_to_string(&log).ok()?;
            let mut lines =
                text.lines().filter(|line| line.contains(&namespace) && line.contains("\"written\""));
            lines.find(|line| line.contains("\"verb\":\"create\"")).map(str::to_owned)
        })
        .unwrap();
    assert!(line.contains("\"username\":\"admin\"") && line.contains("\"code\":201"), "{line}");
}

#[test]
fn what_fails_is_said_with_the_programs_own_words_and_where_the_logs_are() {
    let cluster = cluster();
    let missing = cluster.kubectl(&["get", "configmap", "missing"]).unwrap_err().to_string();
    assert!(missing.starts_with("kubectl get configmap missing failed"), "{missing}");
    assert!(missing.contains("configmaps \"missing\" not found"), "{missing}");
    let refused = cluster.apply("default", "{kind: Nothing, apiVersion: v9}").unwrap_err().to_string();
    assert!(refused.contains("no matches for kind \"Nothing\""), "{refused}");

    let never = cluster.eventually("the end of days", Duration::from_millis(10), || None::<()>).unwrap_err();
    let said = never.to_string();
    assert!(said.starts_with("the end of days: not within 0.01 s"), "{said}");
    assert!(said.contains(&*cluster.logs().to_string_lossy()), "{said}");
    assert!(matches!(never, Error::NotInTime { .. }));
}

#[test]
fn containers_see_only_the_clusters_own_network() {
    let cluster = cluster();
    let namespace = cluster.namespace("network").unwrap();
    let command = "image: localhost/busybox:1, command: [sh, -c, hostname -i; route -n | wc -l]";
    let logs = logs_of(cluster, &namespace, command);
    assert!(logs.starts_with("10.78."), "{logs}");
    let outside = Command::new("ip").args(["-brief", "link"]).output().unwrap();
    let links = String::from_utf8(outside.stdout).unwrap();
    assert!(
        links.lines().all(|link| ["lo", "testbed0", "veth"].iter().any(|own| link.starts_with(own))),
        "{links}"
    );
}

#[test]
fn a_process_in_a_cgroup_has_no_more_memory_and_processor_time_than_its_limits() {
    cluster();
    let mib = 1 << 20;
    let small = Cgroup::new("small", 32 * mib, 1).unwrap();
    let eater = small.command("busybox").args(["tail", "/dev/zero"]).status().unwrap();
    assert!(!eater.success(), "{eater}");
    assert_eq!(small.out_of_memory().unwrap(), 1);
    assert!((24 * mib..=32 * mib).contains(&small.peak().unwrap()), "{}", small.peak().unwrap());
    let enough = Cgroup::new("enough", 64 * mib, 1).unwrap();
    let said = enough.command("sh").args(["-c", "echo as \"$1\"", "sh", "it is"]).output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "as it is\n");
    assert_eq!(enough.out_of_memory().unwrap(), 0);
}

#[test]
fn whoever_has_a_token_may_do_what_its_account_may_and_no_more() {
    let cluster = cluster();
    let namespace = cluster.namespace("account").unwrap();
    let token = cluster.kubectl(&["create", "token", "default", "--namespace", &namespace]).unwrap();
    let kubeconfig = cluster.kubeconfig_of(&token, None).unwrap();
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let who =
        cluster.kubectl(&[&kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"]);
    assert_eq!(who.unwrap(), format!("system:serviceaccount:{namespace}:default"));
    let refused = cluster.kubectl(&[&kubeconfig, "get", "secrets"]).unwrap_err().to_string();
    assert!(refused.contains("forbidden"), "{refused}");
}
