//! HookPolicies: the stock policies in the controller's sandbox, on Operations of real releases.
//!
//! Each test has hooks of its own in one release, and its policies match those hooks in that namespace only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use e2e::{Host, MODULES, Release, message, ok, says, stock_policies, world};
use serde_json::{Map, Value, json};

/// A gate of its own: the host of these tests has a folder of policies, which the shared one has not.
const GATE: &str = "e2e=policies";

/// The gate of the namespace where nothing runs without a policy.
const GATE_REQUIRED: &str = "e2e=policy-required";

/// The Job's annotation that keeps the decision.
const DECISION: &str = "/metadata/annotations/ops.vworkspace.io~1decision";

/// The hooks of the one release; each test uses its own.
const HOOKS: [&str; 11] = [
    "capped",
    "denied",
    "held",
    "labelled",
    "torn",
    "missing",
    "ignored",
    "audited",
    "pinned",
    "unsettled",
    "cramped",
];

/// What these tests share.
struct Stage {
    release: Release,
    host: Host,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let world = world();
        let host = start(GATE, false);
        for policy in ["deadline-cap", "hook-allowlist", "org-labels"] {
            module(policy, policy);
        }
        let namespace = world.namespace("policies", &[GATE, "vworkspace.io/organisation=acme"]);
        let release = world.release("shop", &namespace, &hooks(&HOOKS));
        Stage { release, host }
    })
}

/// Values that give the chart hooks of these names, each of which does nothing.
fn hooks(names: &[&str]) -> Value {
    let hooks: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"script": "echo done", "events": "pre-upgrade"})))
        .collect();
    // None of it at an upgrade: there is none in these tests.
    json!({"hooks": hooks})
}

fn start(gate: &str, require: bool) -> Host {
    let values = json!({
        "namespaceGate": gate, "clusterId": "cluster-of-policies", "requirePolicy": require,
        "organisationLabel": "vworkspace.io/organisation",
        // Whatever the volume is, the stock policies are in it.
        "policies": {"volume": {"configMap": {"name": "policies"}}},
    });
    world().host(values).mount("/policies", &policies()).start()
}

/// The folder of the stock policies, all of which are there.
fn policies() -> PathBuf {
    let dir = stock_policies();
    let is_built = ["deadline-cap", "hook-allowlist", "maintenance-window", "org-labels"]
        .iter()
        .all(|name| dir.join(format!("{name}.wasm")).is_file());
    assert!(is_built, "the stock policies are not in {}: cargo xtask policies", dir.display());
    dir
}

/// Puts a stock policy into a ConfigMap where all hosts look for policies; gives back `spec.module` of it.
pub(crate) fn module(config_map: &str, policy: &str) -> Value {
    let file = format!("--from-file=policy.wasm={}", policies().join(format!("{policy}.wasm")).display());
    ok(world().cluster.kubectl(&["create", "configmap", config_map, &file, "--namespace", MODULES]));
    module_of(config_map)
}

/// `spec.module` of a ConfigMap, which may not be there.
fn module_of(config_map: &str) -> Value {
    json!({"configMap": {"namespace": MODULES, "name": config_map, "key": "policy.wasm"}})
}

impl Stage {
    fn namespace(&self) -> &str {
        &self.release.namespace
    }

    /// Makes a HookPolicy that is for these hooks of the stage's release only; gives back its name.
    fn policy(&self, name: &str, hooks: &[&str], spec: Value) -> String {
        self.policy_in(self.namespace(), name, hooks, spec)
    }

    fn policy_in(&self, namespace: &str, name: &str, hooks: &[&str], mut spec: Value) -> String {
        let world = world();
        let name = format!("{name}-{}", world.number());
        let hooks: Vec<String> = hooks.iter().map(|hook| format!("shop-{hook}")).collect();
        spec["match"] = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, "hooks": hooks,
        });
        world.apply(
            "",
            &json!({
                "apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy",
                "metadata": {"name": name}, "spec": spec,
            }),
        );
        name
    }

    /// Makes an Operation on a hook, in nobody's way.
    fn operation(&self, hook: &str, parameters: Value) -> String {
        world().operation(&world().apart(&self.release), hook, parameters)
    }

    /// Waits until these tests' own host can ask a policy. Its status does not tell: others know the policy too.
    fn knows(&self, policy: &str) {
        ok(world().cluster.eventually("the policy is ready", e2e::PATIENCE, || {
            let log = self.host.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["msg"] == "a policy is ready" && line["policy"] == json!(policy))
        }));
    }

    /// Waits until an Operation has succeeded; gives back its Job.
    fn job_of(&self, operation: &str) -> Value {
        world().phase(self.namespace(), operation, "Succeeded");
        world().get(self.namespace(), &format!("job/{operation}")).unwrap()
    }
}

/// Waits until a HookPolicy's Ready says this; gives back the whole object. Any host of the cluster may say it.
fn becomes(policy: &str, ready: &str) -> Value {
    world().until_object("", &format!("hookpolicy/{policy}"), ready, |it| says(it, "Ready") == ready)
}

fn deadline(limits: Value) -> Value {
    json!({"rules": [{"limits": limits}]})
}

#[test]
fn a_cap_bounds_the_jobs_deadline_and_the_job_and_the_policy_say_so() {
    let (world, stage) = (world(), stage());
    let settings = deadline(json!({"deadlineSeconds": {"atMost": 900}, "backoffLimit": {"atMost": 3}}));
    let policy =
        stage.policy("cap", &["capped"], json!({"module": module_of("deadline-cap"), "settings": settings}));
    let ready = becomes(&policy, "True/Loaded");
    let status = &ready["status"];
    assert_eq!(status["digest"], json!(format!("sha256:{}", sha256("deadline-cap"))));
    assert_eq!(status["describe"]["name"], "deadline-cap");
    assert_eq!(status["observedGeneration"], ready["metadata"]["generation"]);

    let operation = stage.operation("capped", json!({"activeDeadlineSeconds": 1800, "backoffLimit": 2}));
    let job = stage.job_of(&operation);
    assert_eq!(
        (&job["spec"]["activeDeadlineSeconds"], &job["spec"]["backoffLimit"]),
        (&json!(900), &json!(2))
    );
    let decision: Value = serde_json::from_str(job.pointer(DECISION).unwrap().as_str().unwrap()).unwrap();
    let value = &decision["values"]["activeDeadlineSeconds"];
    assert_eq!(value["source"], json!({"policies": [policy]}), "{decision:#}");
    assert_eq!(value["insteadOf"], json!({"value": 1800, "source": "operation"}), "{decision:#}");
    assert_eq!(decision["values"]["backoffLimit"]["source"], "operation", "within the bound");
    assert_eq!(decision["policies"], json!([{"name": policy, "digest": status["digest"]}]));
    // Other hosts of the cluster may say something else of it meanwhile.
    ok(world.cluster.eventually("the policy's line in a table", e2e::PATIENCE, || {
        let table = world.cluster.kubectl(&["get", "hookpolicy", &policy]).ok()?;
        ["READY", "True", "deadline-cap", "Enforce", &sha256("deadline-cap")[..12]]
            .iter()
            .all(|word| table.contains(word))
            .then_some(())
    }));
}

fn sha256(policy: &str) -> String {
    let file = policies().join(format!("{policy}.wasm"));
    let said = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn what_an_allowlist_does_not_have_is_denied_in_its_words() {
    let (world, stage) = (world(), stage());
    let settings = json!({"allow": [{"match": {"hooks": ["*-migrate"]}}]});
    let policy = stage.policy(
        "allow",
        &["denied"],
        json!({"module": module_of("hook-allowlist"), "settings": settings}),
    );
    becomes(&policy, "True/Loaded");
    let operation = stage.operation("denied", json!({}));
    let said = world.refused(stage.namespace(), &operation, "PolicyDenied");
    assert!(said.contains(&policy) && said.contains("HookNotAllowed"), "{said}");
    assert!(world.get(stage.namespace(), &format!("job/{operation}")).is_none());
}

#[test]
fn a_run_is_held_outside_the_window_and_starts_as_soon_as_the_policy_lets_it() {
    let (world, stage) = (world(), stage());
    // From a file below --policy-dir.
    let closed = json!({"windows": [{"start": "00:00", "hours": 24}], "blackouts": [{"from": "2020-01-01", "to": "2099-12-31"}]});
    let spec = json!({"module": {"file": "maintenance-window.wasm"}, "settings": closed});
    let policy = stage.policy("window", &["held"], spec);
    let operation = stage.operation("held", json!({}));
    let held = world.blocked(stage.namespace(), &operation, "PolicyHeld");
    let said = message(&held, "Blocked");
    assert!(said.contains(&policy) && said.contains("OutsideMaintenanceWindow"), "{said}");
    let open = json!({"spec": {"settings": {"blackouts": null}}});
    world.patch("", &format!("hookpolicy/{policy}"), &open);
    let done = world.phase(stage.namespace(), &operation, "Succeeded");
    assert_ne!(says(&done, "Blocked"), "True/PolicyHeld", "{done:#}");
}

#[test]
fn labels_are_filled_in_and_are_on_the_job_and_its_pod() {
    let (world, stage) = (world(), stage());
    let settings = json!({"rules": [{
        "labels": {"example.com/organisation": "${organisation}", "example.com/chart": "${release.chart}-${release.appVersion}"},
        "annotations": {"example.com/hook": "${hook.name}"},
    }]});
    stage.policy("labels", &["labelled"], json!({"module": module_of("org-labels"), "settings": settings}));
    let operation = stage.operation("labelled", json!({}));
    let job = stage.job_of(&operation);
    let done = world.get(stage.namespace(), &format!("operation/{operation}")).unwrap();
    let pods = world.of_operation(stage.namespace(), "pods", &done);
    for object in [&job, &pods[0]] {
        let labels = &object["metadata"]["labels"];
        assert_eq!(
            (&labels["example.com/organisation"], &labels["example.com/chart"]),
            (&json!("acme"), &json!("shop-1"))
        );
    }
    assert_eq!(job["metadata"]["annotations"]["example.com/hook"], "shop-labelled");
}

#[test]
fn policies_that_contradict_each_other_refuse_the_run_and_both_are_named() {
    let (world, stage) = (world(), stage());
    let cap = |limits: Value| json!({"module": module_of("deadline-cap"), "settings": deadline(limits)});
    let least = stage.policy("at-least", &["torn"], cap(json!({"deadlineSeconds": {"atLeast": 1200}})));
    let most = stage.policy("at-most", &["torn"], cap(json!({"deadlineSeconds": {"atMost": 600}})));
    for policy in [&least, &most] {
        becomes(policy, "True/Loaded");
    }
    let said = world.refused(stage.namespace(), &stage.operation("torn", json!({})), "PolicyConflict");
    for word in [&least, &most, "activeDeadlineSeconds", "1200", "600"] {
        assert!(said.contains(word), "{word} in {said}");
    }
}

#[test]
fn a_broken_policy_stops_what_it_matches_until_it_is_mended_unless_it_may_be_ignored() {
    let (world, stage) = (world(), stage());
    let broken = |more: Value| {
        let mut spec = json!({"module": module_of(&format!("later-{}", world.number()))});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        spec
    };
    let spec = broken(json!({}));
    let policy = stage.policy("broken", &["missing"], spec.clone());
    let ignored = stage.policy("ignored", &["ignored"], broken(json!({"failurePolicy": "Ignore"})));
    let unready = becomes(&policy, "False/PolicyModuleMissing");
    assert!(message(&unready, "Ready").contains("kubectl create configmap"), "{unready:#}");
    becomes(&ignored, "False/PolicyModuleMissing");

    let stopped = stage.operation("missing", json!({}));
    let blocked = world.blocked(stage.namespace(), &stopped, "PolicyUnavailable");
    assert!(message(&blocked, "Blocked").contains(&policy), "{blocked:#}");
    let passed = stage.job_of(&stage.operation("ignored", json!({})));
    let decision = passed.pointer(DECISION).unwrap().as_str().unwrap();
    assert!(!decision.contains(&ignored), "it has said nothing: {decision}");
    stage.job_of(&stage.operation("ok", json!({})));

    module(spec["module"]["configMap"]["name"].as_str().unwrap(), "deadline-cap");
    becomes(&policy, "True/Loaded");
    let job = stage.job_of(&stopped);
    assert_eq!(
        job["spec"]["activeDeadlineSeconds"], 3600,
        "an hour at most is what it says without settings"
    );
}

#[test]
fn in_audit_mode_a_denial_is_written_down_and_the_hook_runs() {
    let (world, stage) = (world(), stage());
    let settings = json!({"allow": [{"match": {"hooks": ["nothing"]}}]});
    let spec = json!({"module": module_of("hook-allowlist"), "settings": settings, "mode": "Audit"});
    let policy = stage.policy("audit", &["audited"], spec);
    stage.knows(&policy);
    let operation = stage.operation("audited", json!({}));
    stage.job_of(&operation);
    let line = ok(world.cluster.eventually("the decision in the log", e2e::PATIENCE, || {
        let log = stage.host.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["msg"] == "decided" && line["operation"] == json!(operation))
    }));
    let said = &line["policies"][0];
    assert_eq!((&said["policy"], &said["effect"]), (&json!(policy), &json!("audited")), "{line:#}");
    assert_eq!(said["decision"]["deny"]["reason"], "HookNotAllowed", "{line:#}");
    assert_eq!(line["verdict"]["outcome"], "allowed", "{line:#}");
}

#[test]
fn a_module_that_is_not_the_pinned_one_is_not_used_until_it_is() {
    let (world, stage) = (world(), stage());
    let mut spec = json!({"module": module_of("deadline-cap")});
    spec["module"]["sha256"] = json!(sha256("org-labels"));
    let policy = stage.policy("pinned", &["pinned"], spec);
    let unready = becomes(&policy, "False/PolicyDigestMismatch");
    let said = message(&unready, "Ready");
    for digest in ["deadline-cap", "org-labels"].map(sha256) {
        assert!(said.contains(&digest), "{digest} in {said}");
    }
    let operation = stage.operation("pinned", json!({}));
    world.blocked(stage.namespace(), &operation, "PolicyUnavailable");
    let pin = json!({"spec": {"module": {"sha256": sha256("deadline-cap")}}});
    world.patch("", &format!("hookpolicy/{policy}"), &pin);
    becomes(&policy, "True/Loaded");
    world.phase(stage.namespace(), &operation, "Succeeded");
}

#[test]
fn settings_that_the_policy_refuses_are_told_by_their_place_before_anything_runs() {
    let (world, stage) = (world(), stage());
    let settings = json!({"rules": [{"limits": {"deadlineSeconds": {"atMost": "long"}}}]});
    let spec = json!({"module": module_of("deadline-cap"), "settings": settings});
    let policy = stage.policy("unsettled", &["unsettled"], spec);
    let unready = becomes(&policy, "False/PolicySettingsInvalid");
    assert!(message(&unready, "Ready").contains("rules[0].limits.deadlineSeconds"), "{unready:#}");
    let operation = stage.operation("unsettled", json!({}));
    world.blocked(stage.namespace(), &operation, "PolicyUnavailable");
    world.delete("", &format!("hookpolicy/{policy}"), None);
    world.phase(stage.namespace(), &operation, "Succeeded");
}

#[test]
fn a_policy_without_room_to_work_says_which_limit_it_met() {
    let stage = stage();
    let spec = json!({"module": module_of("org-labels"), "limits": {"memory": "64Ki"}});
    let policy = stage.policy("cramped", &["cramped"], spec);
    world().until_object("", &format!("hookpolicy/{policy}"), "without memory", |it| {
        message(it, "Ready").contains("the limit is 65536")
            && message(it, "Ready").contains("spec.limits.memory")
    });
}

#[test]
fn where_a_policy_is_required_an_operation_waits_for_one() {
    let (world, stage) = (world(), stage());
    let _host = start(GATE_REQUIRED, true);
    let namespace = world.namespace("required", &[GATE_REQUIRED]);
    let release = world.release("shop", &namespace, &json!({}));
    let operation = world.operation(&release, "ok", json!({}));
    let blocked = world.blocked(&namespace, &operation, "PolicyRequired");
    assert!(message(&blocked, "Blocked").contains("add a HookPolicy that matches"), "{blocked:#}");
    stage.policy_in(&namespace, "required", &["ok"], json!({"module": {"file": "deadline-cap.wasm"}}));
    world.phase(&namespace, &operation, "Succeeded");
}

/// A HookPolicy that is for nobody, with these fields of its spec set to something else.
fn spec_with(path: &str, value: Value) -> Value {
    let mut spec = json!({
        "module": {"file": "deadline-cap.wasm"}, "settings": {}, "limits": {"memory": "16Mi", "timeout": "50ms"},
        "match": {"namespaceSelector": {"matchLabels": {"nobody": "here"}}, "hooks": ["*-migrate"], "events": ["pre-upgrade"]},
    });
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() { &mut spec } else { spec.pointer_mut(parent).unwrap() };
    parent[field] = value;
    json!({"apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy", "metadata": {"name": "e2e-invalid"}, "spec": spec})
}

#[test]
fn the_api_server_refuses_a_hookpolicy_that_cannot_be_and_says_why() {
    let cluster = world().cluster;
    let config_map = json!({"namespace": "hookhost", "name": "policies", "key": "a.wasm"});
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
    let names = |count: usize| (0..count).map(|n| format!("h{n}")).collect::<Vec<_>>();
    let one = "give exactly one of stock, configMap and file";
    let invalid: [(&str, Value, &str); 26] = [
        ("/module/configMap", config_map.clone(), one),
        ("/module/stock", json!("deadline-cap"), one),
        ("/module", json!({"sha256": "0".repeat(64)}), one),
        ("/module", json!({"stock": "deadline-cap.wasm"}), "should match"),
        ("/module/file", json!("/etc/passwd"), "the file must be below --policy-dir: no leading / and no .."),
        (
            "/module/file",
            json!("a/../../b.wasm"),
            "the file must be below --policy-dir: no leading / and no ..",
        ),
        ("/module/file", json!(""), "should be at least 1 chars long"),
        ("/module/sha256", json!("sha256:12"), "should match"),
        ("/module", json!({"configMap": {"namespace": "A", "name": "policies", "key": "a"}}), "should match"),
        ("/module", json!({"configMap": {"namespace": "a", "name": "_", "key": "a"}}), "should match"),
        ("/module", json!({"configMap": {"namespace": "a", "name": "b", "key": "a/b"}}), "should match"),
        ("/module", json!({"configMap": {"namespace": "a", "name": "b"}}), "Required value"),
        ("/limits/memory", json!("lots"), "memory must be a quantity from 64Ki to 64Mi"),
        ("/limits/memory", json!("1Ti"), "memory must be a quantity from 64Ki to 64Mi"),
        ("/limits/memory", json!("1Ki"), "memory must be a quantity from 64Ki to 64Mi"),
        ("/limits/timeout", json!("soon"), "should match"),
        ("/limits/timeout", json!("1ms"), "timeout must be a duration from 10ms to 10s"),
        ("/limits/timeout", json!("1h"), "timeout must be a duration from 10ms to 10s"),
        (
            "/match/namespaceSelector",
            expression("In", json!([])),
            "In and NotIn need values; Exists and DoesNotExist have none",
        ),
        (
            "/match/namespaceSelector",
            expression("Exists", json!(["gold"])),
            "In and NotIn need values; Exists and DoesNotExist have none",
        ),
        ("/match/events", json!(["pre-upgade"]), "Unsupported value: \"pre-upgade\""),
        ("/match/hooks", json!(["a", "a"]), "Duplicate value"),
        ("/match/hooks", json!(names(257)), "must have at most 256 items"),
        ("/failurePolicy", json!("Maybe"), "Unsupported value: \"Maybe\""),
        ("/mode", json!("Dream"), "Unsupported value: \"Dream\""),
        ("/settings", json!("none"), "must be of type object"),
    ];
    for (path, value, expected) in invalid {
        let object = spec_with(path, value);
        let refused = cluster.apply("default", &object.to_string());
        let refused = refused.expect_err(&format!("{path} was taken: {object:#}")).to_string();
        assert!(refused.contains(expected), "{path}: {refused}");
    }
    for (path, value) in [
        ("/module", json!({"configMap": config_map})),
        ("/module/file", json!("team/a..b.wasm")),
        ("/module/sha256", json!(format!("sha256:{}", "0".repeat(64)))),
        ("/limits", json!({"memory": "64Mi", "timeout": "10s"})),
        ("/limits/timeout", json!("1.5s")),
        ("/match/namespaceSelector", expression("NotIn", json!(["gold"]))),
    ] {
        let object = spec_with(path, value);
        ok(cluster.apply("default", &object.to_string()));
        ok(cluster.kubectl(&["delete", "hookpolicy", "e2e-invalid"]));
    }
}

#[test]
fn the_api_server_refuses_an_operation_that_cannot_be_or_changes_what_it_asks_for() {
    let world = world();
    let namespace = world.namespace("operations", &[]);
    let release = Release::new(&namespace, "shop");
    let with = |path: &str, value: Value| {
        let mut operation = world.operation_named("asked", &release, "ok", json!({"backoffLimit": 1}));
        *operation.pointer_mut(path).unwrap() = value;
        operation.to_string()
    };
    let refused = |operation: &str, expected: &[&str]| {
        let refused = world.cluster.apply(&namespace, operation).expect_err(operation).to_string();
        for expected in expected {
            assert!(refused.contains(expected), "{expected} in {refused}");
        }
    };
    refused(
        &with("/spec/type", json!("Sing")),
        &["spec.type", "Unsupported value: \"Sing\"", "\"Migration\""],
    );
    refused(
        &with("/spec/engine", json!("steam")),
        &["spec.engine", "Unsupported value: \"steam\"", "\"helmHookJob\""],
    );
    refused(
        &with("/spec/targetRef", json!({"kind": "ApplicationInstance"})),
        &["spec.targetRef.apiVersion", "spec.targetRef.name"],
    );
    refused(&with("/spec/targetRef/name", json!("")), &["spec.targetRef.name", "at least 1 chars"]);
    refused(&with("/spec/parameters", json!(["hookName"])), &["spec.parameters", "must be of type object"]);

    ok(world.cluster.apply(&namespace, &with("/spec/type", json!("Migration"))));
    let changes: BTreeMap<&str, (Value, &str)> = BTreeMap::from([
        ("/spec/targetRef/name", (json!("other"), "targetRef cannot be changed; make a new Operation")),
        ("/spec/type", (json!("Backup"), "type cannot be changed; make a new Operation")),
        ("/spec/engine", (json!("job"), "engine cannot be changed; make a new Operation")),
        ("/spec/parameters/hookName", (json!("other"), "parameters cannot be changed; make a new Operation")),
        ("/spec/parameters", (json!(null), "parameters cannot be changed; make a new Operation")),
    ]);
    for (path, (value, expected)) in changes {
        refused(&with(path, value), &[expected]);
    }
    let patch = |what: &str| {
        let args = [
            "patch",
            "operation",
            "asked",
            "--namespace",
            &namespace,
            "--type=merge",
            "--subresource=status",
        ];
        world.cluster.kubectl(&[&args[..], &["--patch", what]].concat())
    };
    let refused = patch("{\"status\": {\"phase\": \"Dreaming\"}}").unwrap_err().to_string();
    assert!(refused.contains("Unsupported value: \"Dreaming\""), "{refused}");
    ok(patch("{\"status\": {\"phase\": \"Pending\"}}"));
    let table = ok(world.cluster.kubectl(&["get", "op", "--namespace", &namespace]));
    for word in ["HOOK", "TARGET", "PHASE", "REASON", "AGE", "Pending", "shop-ok"] {
        assert!(table.contains(word), "{word} in\n{table}");
    }
    let table = ok(world.cluster.kubectl(&["get", "op", "--namespace", &namespace, "--output", "wide"]));
    for word in ["TARGET-KIND", "TYPE", "ENGINE", "ApplicationInstance", "Migration", "helmHookJob"] {
        assert!(table.contains(word), "{word} in\n{table}");
    }
}
