//! `hookhost plan`.

use serde_json::{Value, json};

use crate::support::{Dir, Does, OPERATION, account, binding, job, policy, record};

const PLAN: [&str; 5] = ["plan", "-f", "op.yaml", "--release", "release.json"];

fn plan(dir: &Dir, more: &[&str]) -> crate::support::Run {
    dir.run(&[&PLAN[..], more].concat())
}

#[test]
fn the_yaml_is_the_job_alone() {
    let dir = Dir::with_release();
    let run = plan(&dir, &["--cluster-id", "c1"]).exits(0);
    assert!(run.stdout.starts_with("apiVersion: batch/v1\nkind: Job\n"), "{run:#?}");
    run.prints(&[
        "  name: migrate-now\n",
        "  namespace: acme\n",
        "activeDeadlineSeconds: 1800\n",
        "image: shop:1\n",
        "app.vworkspace.io/cluster-id: c1\n",
    ]);
}

#[test]
fn an_operation_that_is_called_as_a_hook_is_refused_with_another_name() {
    let dir = Dir::with_release();
    let operation = OPERATION.replace("name: migrate-now", "name: shop-migrate");
    dir.write("op.yaml", &operation);
    let run = plan(&dir, &["-o", "json"]).exits(1).prints_nothing();
    let error = run.error();
    assert_eq!(error["reason"], "JobNameTaken", "{run:#?}");
    run.says(&["as a hook of the chart is", "shop-migrate-run"]);
    dir.write(
        "op.yaml",
        operation.replace("name: shop-migrate\n  namespace", "name: shop-migrate-run\n  namespace"),
    );
    plan(&dir, &[]).exits(0).prints(&["  name: shop-migrate-run\n"]);
}

#[test]
fn a_policy_brings_a_number_to_its_bound_and_the_explanation_names_it() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    plan(&dir, &["--policy", "cap.wasm"]).exits(0).prints(&["activeDeadlineSeconds: 600\n"]);
    let run = plan(&dir, &["--policy", "cap.wasm", "-o", "explain"]).exits(0);
    let row = run.stdout.lines().find(|line| line.starts_with("spec.activeDeadlineSeconds")).unwrap();
    assert!(row.contains("600") && row.contains("policy cap"), "{row}");
}

#[test]
fn a_stock_policy_is_named_without_a_file_and_a_file_of_that_name_counts_first() {
    let dir = Dir::with_release();
    dir.write("stock/deadline-cap.wasm", policy(&Does::Cap));
    dir.write("empty.yaml", "{}");
    let planned = |argument: &str| {
        let mut command = dir.command(&[&PLAN[..], &["--policy", argument]].concat());
        let output = command.env("HOOKHOST_STOCK_POLICIES", dir.path("stock")).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for argument in ["deadline-cap", "deadline-cap=empty.yaml"] {
        let (code, stdout, stderr) = planned(argument);
        assert!(code == Some(0) && stdout.contains("activeDeadlineSeconds: 600\n"), "{stdout}{stderr}");
    }
    let (code, _, stderr) = planned("deadline-caps");
    assert_eq!(code, Some(1));
    for words in ["deadline-caps is neither a file here nor a stock policy", "are deadline-cap", "NAME.wasm"]
    {
        assert!(stderr.contains(words), "{stderr}");
    }
    dir.write("deadline-cap", "no policy");
    let (code, _, stderr) = planned("deadline-cap");
    assert!(code == Some(1) && stderr.contains("cannot load the policy deadline-cap"), "{stderr}");
}

/// A HookPolicy with this spec.
fn hook_policy(spec: &str) -> String {
    format!(
        "apiVersion: policy.vworkspace.io/v1alpha1\nkind: HookPolicy\nmetadata: {{name: short}}\nspec: {spec}\n"
    )
}

#[test]
fn a_hook_policy_is_asked_as_in_a_cluster() {
    let dir = Dir::with_release();
    for (file, does) in [("cap.wasm", Does::Cap), ("deny.wasm", Does::Deny), ("trap.wasm", Does::Trap)] {
        dir.write(file, policy(&does));
    }
    let planned = |spec: &str| {
        dir.write("policy.yaml", hook_policy(spec));
        plan(&dir, &["--policy", "policy.yaml"])
    };
    let capped = "activeDeadlineSeconds: 600\n";
    planned("{module: {file: cap.wasm}, match: {organisations: [acme]}}").exits(0).prints(&[capped]);
    planned("{module: {file: deny.wasm}}").exits(3).says(&["short"]);

    let other = planned("{module: {file: deny.wasm}, match: {organisations: [other]}}").exits(0);
    other.says(&["the HookPolicy \"short\" does not match this run"]);
    let selecting = "{module: {file: cap.wasm}, match: {namespaceSelector: {matchLabels: {tier: gold}}}}";
    planned(selecting).exits(0).prints(&[capped]).says(&["tier=gold", "takes it to select this one"]);
    let audited = planned("{module: {file: deny.wasm}, mode: Audit}").exits(0);
    audited.says(&["in Audit, so this is only recorded: {\"deny\""]);
    planned("{module: {file: trap.wasm}}").exits(1);
    planned("{module: {file: trap.wasm}, failurePolicy: Ignore}").exits(0).says(&["goes on without it"]);

    planned("{module: {file: cap.wasm}, setings: {a: 1}}").exits(1).says(&["no field spec.setings"]);
    let pinned = format!("{{module: {{file: cap.wasm, sha256: '{:064}'}}}}", 0);
    planned(&pinned).exits(1).says(&["not the module of the HookPolicy \"short\"", "spec.module.sha256"]);
}

#[test]
fn a_hook_policys_module_that_is_in_a_config_map_is_given_beside_it() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    let module = "{configMap: {namespace: hookhost, name: cap, key: cap.wasm}}";
    dir.write("policy.yaml", hook_policy(&format!("{{module: {module}}}")));
    plan(&dir, &["--policy", "policy.yaml"]).exits(1).says(&[
        "the ConfigMap hookhost/cap, which a plan does not read",
        "--policy cap.wasm=policy.yaml",
        "jsonpath='{.binaryData.cap\\.wasm}'",
    ]);
    let run = plan(&dir, &["--policy", "cap.wasm=policy.yaml", "-o", "explain"]).exits(0);
    let row = run.stdout.lines().find(|line| line.starts_with("spec.activeDeadlineSeconds")).unwrap();
    assert!(row.contains("600") && row.contains("policy short"), "{row}");
}

#[test]
fn a_hook_policy_that_allows_or_forbids_what_helm_deleted_counts_more_than_the_operation() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    let job = job("shop-migrate")
        .replace("      containers:\n", "      serviceAccountName: shop\n      containers:\n");
    dir.write("release.json", deleted_by_helm(record(&[job, account()])).to_string());
    dir.write("policy.yaml", hook_policy("{module: {file: cap.wasm}, closure: Allow}"));
    let made = plan(&dir, &["--policy", "policy.yaml", "-o", "json"]).exits(0).json();
    assert!(made["temporaryObjects"].as_array().is_some_and(|made| !made.is_empty()), "{made:#}");
    dir.write("policy.yaml", hook_policy("{module: {file: cap.wasm}, closure: Forbid}"));
    dir.write("op.yaml", OPERATION.replace("parameters:\n", "parameters:\n    closure: true\n"));
    let forbidden = plan(&dir, &["--policy", "policy.yaml", "-o", "json"]).exits(0).json();
    assert!(forbidden["temporaryObjects"].as_array().is_none_or(Vec::is_empty), "{forbidden:#}");
    assert!(forbidden["warnings"].to_string().contains("ClosureForbidden"), "{forbidden:#}");
}

#[test]
fn json_has_the_job_the_verdict_and_every_source() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    let plan = plan(&dir, &["--policy", "cap.wasm", "-o", "json"]).exits(0).json();
    assert_eq!(plan["outcome"], "allowed");
    assert_eq!(plan["job"]["spec"]["activeDeadlineSeconds"], 600);
    assert!(plan["policies"][0]["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(plan["closure"][0]["kind"], "ServiceAccount");
    let rows = plan["explain"].as_array().unwrap();
    assert!(
        rows.iter().any(|row| row["field"] == "spec.backoffLimit" && row["source"] == "chart"),
        "{rows:#?}"
    );
}

#[test]
fn the_explanation_says_which_role_a_binding_grants_to_whom() {
    let dir = Dir::with_release();
    let hooks = [job("shop-migrate"), account(), binding("cluster-admin")];
    dir.write("release.json", record(&hooks).to_string());
    plan(&dir, &["-o", "explain"]).exits(0).prints(&[
        "NEEDS           NAME          NAMESPACE  GRANTS\n",
        "ServiceAccount  shop          acme\n",
        "RoleBinding     shop-binding  acme       ClusterRole \"cluster-admin\" to ServiceAccount \"acme/shop\", User \"mallory\"\n",
    ]);
}

#[test]
fn a_denial_exits_with_3_and_beats_a_hold() {
    let dir = Dir::with_release();
    dir.write("deny.wasm", policy(&Does::Deny));
    dir.write("hold.wasm", policy(&Does::Hold));
    plan(&dir, &["--policy", "hold.wasm", "--policy", "deny.wasm"])
        .exits(3)
        .prints_nothing()
        .says(&["denied by policy \"deny\": NotHere: maybe two"]);
    let json = plan(&dir, &["--policy", "deny.wasm", "-o", "json"]).exits(3).json();
    assert_eq!(json["denials"][0]["reason"], "NotHere");
    assert_eq!(json["reason"], "PolicyDenied");
}

#[test]
fn a_hold_exits_with_4_and_says_for_how_long() {
    let dir = Dir::with_release();
    dir.write("hold.wasm", policy(&Does::Hold));
    plan(&dir, &["--policy", "hold.wasm"])
        .exits(4)
        .prints_nothing()
        .says(&["held for 1m 30s by policy \"hold\""]);
    let json = plan(&dir, &["--policy", "hold.wasm", "-o", "json"]).exits(4).json();
    assert_eq!(json["retryAfterSeconds"], 90);
}

#[test]
fn policies_that_contradict_each_other_exit_with_3_and_are_both_named() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    dir.write("floor.wasm", policy(&Does::Floor));
    plan(&dir, &["--policy", "cap.wasm", "--policy", "floor.wasm"])
        .exits(3)
        .prints_nothing()
        .says(&["cap", "rise", "1000", "600"]);
}

#[test]
fn a_hook_that_is_not_there_exits_with_5_and_the_nearest_name() {
    let dir = Dir::with_release();
    dir.write("op.yaml", OPERATION.replace("shop-migrate", "shop-migrat"));
    plan(&dir, &[]).exits(5).prints_nothing().says(&["no hook is named \"shop-migrat\"", "shop-migrate"]);
    assert_eq!(plan(&dir, &["-o", "json"]).exits(5).error()["reason"], "HookNotFound");
}

#[test]
fn a_release_that_helm_works_on_blocks_and_an_uninstalled_one_is_none() {
    let dir = Dir::with_release();
    for (status, code, reason) in [
        ("pending-upgrade", 4, "ReleaseBusy"),
        ("uninstalling", 4, "ReleaseBusy"),
        ("uninstalled", 5, "HookRequiresRelease"),
    ] {
        let mut record = record(&[job("shop-migrate")]);
        record["info"]["status"] = status.into();
        dir.write("release.json", record.to_string());
        assert_eq!(plan(&dir, &["-o", "json"]).exits(code).error()["reason"], reason);
    }
}

#[test]
fn what_is_odd_about_release_and_approval_is_a_warning_of_the_plan() {
    let dir = Dir::with_release();
    dir.write("op.yaml", format!("{OPERATION}  approvals: {{ approvedBy: ann }}\n"));
    for status in ["failed", "superseded"] {
        let mut record = record(&[job("shop-migrate")]);
        record["info"]["status"] = status.into();
        dir.write("release.json", record.to_string());
        let run = plan(&dir, &["-o", "json"]).exits(0);
        assert_eq!(run.stderr, "");
        let json = run.json();
        let warnings = json["warnings"].as_array().unwrap();
        let codes: Vec<_> = warnings.iter().filter_map(|warning| warning["code"].as_str()).collect();
        assert!(codes.ends_with(&["ReleaseNotDeployed", "ApprovalNotVerified"]), "{json:#}");
        let message = format!("the release acme/shop, revision 3, is {status}; in a cluster the deployed");
        plan(&dir, &[])
            .exits(0)
            .says(&[&format!("warning: {message}"), "the approval by \"ann\" is taken as given"]);
        plan(&dir, &["-o", "explain"]).exits(0).prints(&[&message]);
    }
}

#[test]
fn the_target_gives_its_labels_if_it_is_the_operations_own() {
    let dir = Dir::with_release();
    let target = "kind: ApplicationInstance\nmetadata: {name: shop, labels: {tier: gold}}\n";
    dir.write("target.yaml", target);
    plan(&dir, &["--target", "target.yaml"]).exits(0);
    dir.write("target.yaml", target.replace("shop", "blog"));
    plan(&dir, &["--target", "target.yaml"])
        .exits(1)
        .says(&["ApplicationInstance blog", "ApplicationInstance shop"]);
}

#[test]
fn the_operation_may_come_from_stdin_but_not_together_with_the_release() {
    let dir = Dir::with_release();
    let args = ["plan", "-f", "-", "--release", "release.json"];
    dir.run_with(&args, OPERATION.as_bytes()).exits(0).prints(&["kind: Job"]);
    dir.run_with(&["plan", "-f", "-", "--release", "-"], OPERATION.as_bytes())
        .exits(2)
        .says(&["the Operation and the release cannot both be stdin"]);
}

#[test]
fn the_explanation_says_what_roles_grant_as_people_read_it() {
    let dir = Dir::with_release();
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: shop-role}\nrules:\n\
                - {apiGroups: ['', apps], resources: [pods], verbs: [get, list]}\n\
                - {apiGroups: ['*'], resources: ['*'], verbs: ['*']}\n";
    let binding = binding("shop-role").replace("kind: ClusterRole,", "kind: Role,");
    let hooks = [job("shop-migrate"), account(), role.to_owned(), binding];
    dir.write("release.json", record(&hooks).to_string());
    plan(&dir, &["-o", "explain"]).exits(0).prints(&[
        "Role            shop-role     acme       get, list pods and pods.apps\n",
        "                                         do anything to everything\n",
    ]);
}

#[test]
fn values_of_secrets_are_printed_only_where_they_are_asked_for() {
    let dir = Dir::with_release();
    let job = job("shop-migrate").replace(
        "          image: shop:1\n",
        "          image: shop:1\n          envFrom: [{secretRef: {name: shop-db}}, {configMapRef: {name: shop-conf}}]\n",
    );
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: shop-db}\ndata: {password: czNjcmV0}\nstringData: {url: s3cret}\n";
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop-conf}\ndata: {open: seen}\n";
    let hooks = [job, account(), secret.to_owned(), config.to_owned()];
    dir.write("release.json", deleted_by_helm(record(&hooks)).to_string());
    dir.write("op.yaml", OPERATION.replace("  parameters:\n", "  parameters:\n    closure: true\n"));
    for format in ["yaml", "json"] {
        let run = plan(&dir, &["-o", format]).exits(0);
        assert!(!run.stdout.contains("s3cret") && !run.stdout.contains("czNj"), "{run:#?}");
        let run = run.prints(&["shop-db", "password", "<hidden; see --show-secrets>", "seen"]);
        if format == "yaml" {
            run.says(&["--show-secrets prints them"]);
        }
        let run = plan(&dir, &["-o", format, "--show-secrets"]).exits(0).prints(&["czNjcmV0", "s3cret"]);
        assert!(!run.stderr.contains("hidden"), "{run:#?}");
    }
}

/// The same release, of which Helm deletes all hooks once they have succeeded.
fn deleted_by_helm(mut record: Value) -> Value {
    for hook in record["hooks"].as_array_mut().unwrap() {
        hook["delete_policies"] = json!(["hook-succeeded"]);
    }
    record
}

#[test]
fn what_helm_deletes_is_told_from_what_it_leaves_with_the_chart_value_that_is_needed() {
    let dir = Dir::with_release();
    let job = job("shop-migrate")
        .replace("      containers:\n", "      serviceAccountName: shop\n      containers:\n");
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: shop-nodes}\n\
                rules: [{apiGroups: [''], resources: [nodes], verbs: [get]}]\n";
    let given = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: shop-nodes}\n\
                 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shop-nodes}\n\
                 subjects: [{kind: ServiceAccount, name: shop, namespace: acme}]\n";
    let hooks = [job, account(), role.to_owned(), given.to_owned()];
    let warnings = |record: Value| {
        dir.write("release.json", record.to_string());
        let plan = plan(&dir, &["-o", "json"]).exits(0).json();
        let warnings = plan["warnings"].as_array().unwrap().iter();
        warnings.map(|one| format!("{}: {}", one["code"], one["message"])).collect::<Vec<_>>().join("\n")
    };
    let left = warnings(record(&hooks));
    assert!(left.contains("LeftByHelm") && left.contains("ServiceAccount shop"), "{left}");
    assert!(!left.contains("DeletedByHelm") && !left.contains("closure.clusterObjects"), "{left}");
    let mut some = deleted_by_helm(record(&hooks));
    some["hooks"][1]["delete_policies"] = json!([]);
    let deleted = warnings(some);
    assert!(deleted.contains("LeftByHelm") && deleted.contains("DeletedByHelm"), "{deleted}");
    assert!(deleted.contains("hookhost run --closure"), "{deleted}");
    let value = r#"--set-json 'closure.clusterObjects=[\"acme/ClusterRole/shop-nodes\",\"acme/ClusterRoleBinding/shop-nodes\"]'"#;
    assert!(deleted.contains(value), "{deleted}");
}

#[test]
fn what_a_run_misses_of_the_charts_hooks_is_a_warning() {
    let dir = Dir::with_release();
    let job = job("shop-migrate").replace(
        "      containers:\n",
        "      volumes: [{name: store, csi: {driver: secrets-store.csi.k8s.io, volumeAttributes: {secretProviderClass: shop-db}}}]\n      \
         containers:\n",
    );
    let job = job.replace(
        "          image: shop:1\n",
        "          image: shop:1\n          volumeMounts: [{name: store, mountPath: /mnt}]\n",
    );
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shop-egress}\n\
                  spec: {podSelector: {matchLabels: {job-name: shop-migrate}}}\n";
    let class = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: shop-db}\nspec: {}\n";
    let mut release = deleted_by_helm(record(&[job, policy.to_owned(), class.to_owned()]));
    for (n, (kind, name)) in
        [("Job", "shop-migrate"), ("NetworkPolicy", "shop-egress"), ("SecretProviderClass", "shop-db")]
            .into_iter()
            .enumerate()
    {
        release["hooks"][n]["kind"] = json!(kind);
        release["hooks"][n]["name"] = json!(name);
    }
    dir.write("release.json", release.to_string());
    plan(&dir, &[]).exits(0).says(&[
        "The run's pods are not selected by NetworkPolicy \"shop-egress\", though those of Helm's own run are",
        "the hook's pod may not start: it mounts a volume by SecretProviderClass \"shop-db\"",
    ]);
}

#[test]
fn a_hook_that_names_a_namespace_is_planned_there_with_what_the_installation_needs_for_it() {
    let dir = Dir::new();
    let far = |manifest: String| manifest.replacen("metadata:\n", "metadata:\n  namespace: abroad\n", 1);
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: shop-wide\n\
                roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }\nsubjects:\n  \
                - { kind: ServiceAccount, name: shop, namespace: abroad }\n";
    let mut release = record(&[far(job("shop-migrate")), far(account()), account(), role.to_owned()]);
    for hook in release["hooks"].as_array_mut().unwrap() {
        hook["delete_policies"] = json!(["hook-succeeded"]);
    }
    dir.write("release.json", release.to_string());
    dir.write("op.yaml", OPERATION.replace("parameters:\n", "parameters:\n    closure: true\n"));
    let run = plan(&dir, &["-o", "json"]).exits(0);
    let planned: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(planned["job"]["metadata"]["namespace"], "abroad", "{planned:#}");
    assert_eq!(planned["release"]["namespace"], "acme");
    let made: Vec<(&Value, &Value)> = planned["temporaryObjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (&object["kind"], &object["metadata"]["namespace"]))
        .collect();
    assert!(made.contains(&(&json!("ServiceAccount"), &json!("abroad"))), "{made:?}");
    assert!(!made.iter().any(|(_, namespace)| **namespace == "acme"), "{made:?}");
    run.prints(&[
        "OtherNamespace",
        "allowUnverifiedNamespaces",
        "abroad/ClusterRoleBinding/shop-wide",
        "acme/ClusterRoleBinding/shop-wide",
    ]);
    dir.run(&["hooks", "release.json"]).exits(0).prints(&["yes, in the namespace abroad"]);
}
