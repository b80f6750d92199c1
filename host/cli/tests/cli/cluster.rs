//! The commands that talk to a cluster, where there is none to talk to: what they say, and that nothing but a cluster is
//! asked for what is not a file. What they do in a cluster is tested with one, in tests/e2e.

use crate::support::{Dir, job, record};

/// A kubeconfig whose API server nobody is: port 1 on this machine.
const NOBODY: &str = "\
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
contexts: [{name: here, context: {cluster: c, user: u, namespace: acme}}]
";

const RUN: [&str; 4] = ["run", "migrate", "--target", "shop"];

fn dir_with_kubeconfig() -> Dir {
    let dir = Dir::with_release();
    dir.write("config", NOBODY);
    dir
}

#[test]
fn without_a_cluster_the_error_says_what_was_tried_and_what_to_do() {
    let dir = Dir::with_release();
    let run = dir.run(&["hooks", "shop"]).exits(2).prints_nothing();
    run.says(&[
        "there is no file shop here, so it was looked for in the cluster",
        "no cluster to connect to",
        "--kubeconfig",
    ]);
    let run = dir.run(&["plan", "-f", "op.yaml"]).exits(2).prints_nothing();
    run.says(&["no --release is given", "no cluster to connect to"]);
    dir.run(&RUN).exits(2).prints_nothing().says(&["no cluster to connect to"]);
    let json = dir.run(&[&RUN[..], &["-o", "json"]].concat()).exits(2).prints_nothing();
    assert_eq!(json.error()["reason"], "ClusterNotConfigured", "{json:#?}");
}

#[test]
fn an_api_server_that_nobody_is_has_its_address_checked() {
    let dir = dir_with_kubeconfig();
    for args in [
        &["hooks", "shop", "--kubeconfig", "config"][..],
        &["hooks", "shop", "--kubeconfig", "config", "--revision", "3"],
        &["plan", "-f", "op.yaml", "--kubeconfig", "config"],
        &["plan", "-f", "op.yaml", "--release", "shop", "--kubeconfig", "config"],
        &["run", "migrate", "--target", "shop", "--kubeconfig", "config", "--dry-run"],
    ] {
        let run = dir.run(args).exits(1).prints_nothing();
        run.says(&["no answer from the API server", "kubectl version"]);
    }
    let json = dir.run(&["hooks", "shop", "--kubeconfig", "config", "-o", "json"]).exits(1);
    assert_eq!(json.error()["reason"], "ClusterUnreachable", "{json:#?}");
}

#[test]
fn an_operation_that_may_have_been_made_is_named() {
    let dir = dir_with_kubeconfig();
    let run = dir.run(&[&RUN[..], &["--kubeconfig", "config", "--name", "run-1"]].concat()).exits(1);
    run.says(&[
        "it is not known whether the Operation acme/run-1 was made",
        "kubectl get operation -n acme run-1",
    ]);
}

#[test]
fn a_kubeconfig_or_context_that_is_named_must_be_there() {
    let dir = dir_with_kubeconfig();
    dir.run(&["hooks", "shop", "--kubeconfig", "nowhere"])
        .exits(2)
        .says(&["the kubeconfig nowhere cannot be used"]);
    let run = dir.run(&["hooks", "shop", "--kubeconfig", "config", "--context", "there"]).exits(2);
    run.says(&["no context \"there\"", "It has here."]);
    let mut command = dir.command(&["hooks", "shop"]);
    let output = command.env("KUBECONFIG", dir.path("config")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the variable counts: {output:?}");
}

#[test]
fn a_file_is_read_without_a_cluster_and_does_not_go_with_the_clusters_options() {
    let dir = dir_with_kubeconfig();
    dir.write("shop", record(&[job("a")]).to_string());
    dir.run(&["hooks", "shop"]).exits(0).prints(&["a     Job"]);
    for option in [["--revision", "3"], ["-n", "acme"], ["--context", "here"], ["--kubeconfig", "config"]] {
        let run = dir.run(&[&["hooks", "shop"][..], &option].concat()).exits(2).prints_nothing();
        run.says(&["shop is a file, and --", "for a release in the cluster"]);
    }
    let plan = ["plan", "-f", "op.yaml", "--release", "release.json"];
    dir.run(&[&plan[..], &["--revision", "3"]].concat()).exits(2).says(&["release.json is a file"]);
    dir.run(&["plan", "-f", "op.yaml", "--revision", "3"]).exits(2).says(&["--release"]);
    dir.run(&["hooks", "shop.yaml"]).exits(1).says(&["cannot open the release shop.yaml"]);
}

#[test]
fn an_operation_and_a_namespace_that_contradict_each_other_are_refused() {
    let dir = dir_with_kubeconfig();
    let run = dir.run(&["plan", "-f", "op.yaml", "-n", "other", "--kubeconfig", "config"]).exits(2);
    run.says(&["the Operation is in the namespace acme, but --namespace is other"]);
}

#[test]
fn what_can_be_no_operation_is_refused_before_anything_is_sent() {
    let dir = dir_with_kubeconfig();
    let wrong = |more: &[&str]| {
        dir.run(&[&RUN[..], &["--kubeconfig", "config"], more].concat()).exits(2).prints_nothing()
    };
    wrong(&["--deadline", "soon"]).says(&["expected a time such as 30m"]);
    wrong(&["--backoff", "-1"]).says(&["--backoff"]);
    wrong(&["--type", "Migrate"]).says(&["Migration"]);
    wrong(&["--target-kind", "Deployment"]).says(&["ApplicationInstance", "HelmRelease", "Release"]);
    wrong(&["--event", "pre-upgade"]).says(&["did you mean pre-upgrade?"]);
    wrong(&["--name", "Run_1"]).says(&["metadata.name"]);
    wrong(&["--no-follow", "--timeout", "5m"]).says(&["--no-follow", "--timeout"]);
    wrong(&["-n", "Acme"]).says(&["metadata.namespace"]);
}

#[test]
fn commands_for_a_cluster_have_help_with_examples_and_completions() {
    let dir = Dir::new();
    for command in ["run", "controller", "uninstall"] {
        let run = dir.run(&[command, "--help"]).exits(0);
        let examples = run.stdout.split("Examples:").nth(1).unwrap_or_default();
        assert!(examples.contains(&format!("hookhost {command}")), "{run:#?}");
        for shell in ["bash", "zsh", "fish"] {
            dir.run(&["completions", shell]).exits(0).prints(&[command]);
        }
    }
}

#[test]
fn a_controller_that_is_set_up_wrongly_says_so_before_it_begins() {
    let dir = dir_with_kubeconfig();
    let controller =
        |more: &[&str]| dir.run(&[&["controller", "--kubeconfig", "config"], more].concat()).prints_nothing();
    controller(&["--concurrency", "0"]).exits(2).says(&["--concurrency"]);
    controller(&["--log-level", "loud=x"])
        .exits(2)
        .says(&["--log-level cannot be used", "\"loud=x\" is no filter"]);
    controller(&["--admin-address", "8080"]).exits(2).says(&["--admin-address"]);
    controller(&["--approval-key-file", "nowhere"])
        .exits(1)
        .says(&["cannot open the approvals' key nowhere"]);
    dir.write("key", "\n");
    controller(&["--approval-key-file", "key"]).exits(2).says(&["the approvals' key key is empty"]);
    let mut command = dir.command(&["controller", "--kubeconfig", "config"]);
    let output = command.env("HOOKHOST_ADMIN_ADDRESS", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "variables are options: {output:?}");
}

/// What `hooks shop` says with a list of files in KUBECONFIG.
fn with_files(dir: &Dir, list: &str) -> String {
    let mut command = dir.command(&["hooks", "shop"]);
    let output = command.env("KUBECONFIG", list).output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn files_of_kubeconfig_are_merged_as_kubectl_merges_them() {
    let dir = Dir::new();
    // The context of the first file, its cluster of the second and its user of the third; the first to say something wins.
    dir.write(
        "first",
        "apiVersion: v1\nkind: Config\ncurrent-context: ''\nclusters: null\ncontexts: [\
         {name: one, context: {cluster: c, user: u, namespace: from-first}}, {name: unfinished, context: {user: ''}}]\n",
    );
    let pki = "{certificate-authority: pki/ca.pem, server: 'https://127.0.0.1:1'}";
    dir.write("sub/second", format!("current-context: one\nclusters: [{{name: c, cluster: {pki}}}]\n"));
    dir.write(
        "more/third",
        "current-context: two\nclusters: [{name: c, cluster: {server: 'bad address'}}]\nusers: [{name: u, user: {tokenFile: t}}]\n\
         contexts: [{name: one, context: {cluster: d, namespace: from-third}}, {name: two, context: {cluster: d}}]\n",
    );
    let list = "first:missing::sub/second:more/third";
    // The authority is looked for beside the file that names it.
    let said = with_files(&dir, list);
    assert!(said.contains("sub/pki/ca.pem") && said.contains("certificate-authority"), "{said}");
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    dir.write("sub/pki/ca.pem", &ca);
    // So is the token, for which the third file's folder counts.
    let said = with_files(&dir, list);
    assert!(said.contains("more/t") && said.contains("tokenFile of the kubeconfig's user"), "{said}");
    dir.write("more/t", "token");
    let said = with_files(&dir, list);
    assert!(said.contains("in namespace from-first: no answer from the API server"), "{said}");
    // A file that Windows has written counts as any.
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(dir.read("more/third").encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    dir.write("more/third", utf16);
    assert_eq!(with_files(&dir, list), said);
}

#[test]
fn a_kubeconfig_that_cannot_be_used_says_which_what_and_what_to_do() {
    let dir = dir_with_kubeconfig();
    let contexts = "contexts: [{name: a, context: {cluster: c}}, {name: b, context: {cluster: nowhere}}]";
    let cluster = |entries: &str| {
        format!("current-context: a\n{contexts}\nclusters: [{{name: c, cluster: {{{entries}}}}}]\n")
    };
    for (content, words) in [
        (
            "a: [".to_owned(),
            &["the kubeconfig wrong cannot be used: it is not YAML: line ", "kubectl config view"][..],
        ),
        (
            "kind: Secret\napiVersion: v1\n".to_owned(),
            &["it is a \"Secret\", not a kubeconfig", "the file you meant"],
        ),
        ("".to_owned(), &["it has no current-context", "no contexts at all"]),
        (contexts.to_owned(), &["it has no current-context", "a and b", "--context NAME"]),
        (format!("current-context: c\n{contexts}"), &["\"c\" is no context of it", "a and b"]),
        (
            format!("current-context: b\n{contexts}"),
            &["context \"b\" names the cluster \"nowhere\"", "set-cluster"],
        ),
        (cluster(""), &["cluster \"c\" has the server \"\"", "https://HOST:PORT"]),
        (cluster("server: 'https://'"), &["has the server \"https://\""]),
        (
            cluster("server: 'k:1', certificate-authority-data: '%'"),
            &["certificate authority of its cluster \"c\"", "base64 of PEM"],
        ),
        (cluster("server: 'k:1', certificate-authority-data: aGk="), &["no certificate in PEM"]),
        (cluster("server: {s3cret: 1}"), &["clusters[0].cluster.server is wrong: expected a string"]),
        (
            "users: [{name: u, user: {token: {s3cret: 1}}}]".to_owned(),
            &["users[0].user.token is wrong: expected a string"],
        ),
    ] {
        dir.write("wrong", &content);
        // The same where it is one of several.
        for args in [&["hooks", "shop", "--kubeconfig", "wrong"][..], &["hooks", "shop"]] {
            let output = dir.command(args).env("KUBECONFIG", "wrong:missing").output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{content}: {stderr}");
            words.iter().for_each(|word| {
                assert!(
                    stderr.contains(word.trim_start_matches("the kubeconfig wrong ")),
                    "no {word:?} in {stderr}"
                )
            });
            assert!(!stderr.contains("s3cret"), "{stderr}");
        }
    }
    dir.run(&["hooks", "shop", "--kubeconfig", "nowhere"]).exits(2).says(&["There is no such file"]);
    dir.run(&["hooks", "shop", "--kubeconfig", "."]).exits(2).says(&["it cannot be read"]);
    let said = with_files(&dir, "nowhere:neither");
    assert!(said.contains("nowhere:neither") && said.contains("none of these files is there"), "{said}");
    // Credentials that a program should bring, and the program is not there.
    let exec =
        "{apiVersion: client.authentication.k8s.io/v1, command: ./no-such-program, interactiveMode: Never}";
    dir.write("config", NOBODY.replace("user: {}", &format!("user: {{exec: {exec}}}")));
    dir.run(&["hooks", "shop", "--kubeconfig", "config"]).says(&["exec.command"]);
}

#[test]
fn a_proxy_in_the_environment_that_excepts_the_server_changes_nothing() {
    let dir = dir_with_kubeconfig();
    let mut command = dir.command(&["hooks", "shop", "--kubeconfig", "config"]);
    command.env("HTTPS_PROXY", "http://127.0.0.1:3128").env("NO_PROXY", "127.0.0.1,localhost,");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("no answer from the API server") && !stderr.contains("proxy"), "{stderr}");
}
