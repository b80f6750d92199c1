use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::limits::MAX_HOOKS;
use crate::record::StoredHook;
use crate::testing;

fn stored(name: &str, manifest: &str) -> StoredHook {
    testing::stored_hook(name, "Job", manifest)
}

fn job(name: &str) -> StoredHook {
    let manifest = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {{template: {{spec: {{containers: [{{name: c}}]}}}}}}"
    );
    stored(name, &manifest)
}

fn account(name: &str) -> StoredHook {
    stored(name, &format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}"))
}

fn why(manifest: &str) -> NotRunnable {
    let hooks = list(&[stored("x", manifest)], "shops");
    assert_eq!(hooks.len(), 1);
    hooks[0].runnable.clone().unwrap_err()
}

fn names(hooks: &[Hook]) -> Vec<&str> {
    hooks.iter().map(|hook| hook.name.as_str()).collect()
}

#[test]
fn hooks_are_listed_by_weight_then_name_then_as_stored() {
    let weigh = |hook: StoredHook, weight| StoredHook { weight, ..hook };
    let mut second = weigh(job("b"), 0);
    second.path = "second".into();
    let all = [weigh(job("b"), 0), weigh(job("a"), 1), second, weigh(job("c"), -1), weigh(job("a"), 0)];
    let hooks = list(&all, "shops");
    assert_eq!(names(&hooks), ["c", "a", "b", "b", "a"]);
    assert_eq!(hooks[3].path, "second");
}

#[test]
fn every_object_of_a_hook_is_listed_with_the_hooks_events() {
    let text = format!(
        "{}\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: b}}}}\n\
         - {{apiVersion: v1, kind: ConfigMapList, items: [{{metadata: {{name: c}}}}]}}\n",
        job("a").manifest
    );
    let mut hook = stored("a", &text);
    hook.events = vec!["test-success".into()];
    let hooks = list(&[hook], "shops");
    let kinds: Vec<_> = hooks.iter().map(|hook| (hook.kind.as_str(), hook.name.as_str())).collect();
    assert_eq!(kinds, [("Job", "a"), ("ServiceAccount", "b"), ("ConfigMap", "c")]);
    assert!(hooks.iter().all(|hook| hook.events == ["test"] && hook.path == "shop/templates/a.yaml"));
    assert_eq!(hooks[2].api_version, "v1");
}

#[test]
fn what_follows_three_dots_is_read_by_no_one() {
    let hooks = list(
        &[stored("a", &format!("{}\n...\nb: [broken\n--- # next\n{}", job("a").manifest, job("b").manifest))],
        "s",
    );
    assert_eq!(names(&hooks), ["a", "b"]);
    let hooks = list(&[stored("a", &format!("{}\n---\nx: `y", job("a").manifest))], "s");
    let Err(NotRunnable::Unreadable(error)) = &hooks[0].runnable else { panic!("{hooks:?}") };
    assert_eq!(error.line, 6, "{error}");
}

#[test]
fn a_hook_that_cannot_be_read_is_listed_with_the_reason() {
    let hooks = list(&[stored("x", "a: [")], "shops");
    assert_eq!((hooks[0].name.as_str(), hooks[0].kind.as_str()), ("x", "Job"));
    assert!(matches!(hooks[0].runnable, Err(NotRunnable::Unreadable(_))));
    assert_eq!(why(""), NotRunnable::NotAnObject { missing: "it is empty" });
    assert_eq!(why("just text"), NotRunnable::NotAnObject { missing: "it is not a mapping" });
    assert_eq!(why("a: b"), NotRunnable::NotAnObject { missing: "it has no kind" });
    assert_eq!(why("kind: Job"), NotRunnable::NotAnObject { missing: "it has no apiVersion" });
}

#[test]
fn what_cannot_be_run_says_why_and_what_to_do() {
    let head = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\n";
    let pod = "template: {spec: {containers: [{name: c}]}}";
    for (manifest, message) in [
        (
            "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: x}".to_owned(),
            "it is a Job (batch.volcano.sh/v1alpha1); only a Job (batch/v1) or a Pod (v1) can be run. Name the Job that uses it",
        ),
        (
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: x, namespace: a/b}}\nspec: {{{pod}}}"
            ),
            "its metadata.namespace is \"a/b\", and no namespace can be called that: Helm cannot create it either. Correct the \
             chart's template",
        ),
        (
            format!("{head}spec: {{parallelism: 0, {pod}}}"),
            "its spec.parallelism is 0, so it never starts a pod and never ends: Helm waits for it in vain, too, until its \
             timeout. Set it to 1 or more in the chart",
        ),
        (
            format!("{head}spec: {{managedBy: kueue.x-k8s.io/multikueue, {pod}}}"),
            "its spec.managedBy gives it to \"kueue.x-k8s.io/multikueue\", not to Kubernetes' own Job controller. Remove \
             managedBy from the chart",
        ),
        (
            format!("{head}spec: {{}}"),
            "its spec.template is missing, empty or not a pod template. Correct the chart's template",
        ),
        (
            format!("{head}spec: {{template: {{spec: {{containers: []}}}}}}"),
            "its spec.template.spec.containers is missing, empty or not a list of containers. Correct the chart's template",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [text]}".to_owned(),
            "its spec.containers is missing, empty or not a list of containers. Correct the chart's template",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {generateName: null}".to_owned(),
            "it has no metadata.name. Give it a name in the chart",
        ),
    ] {
        assert_eq!(why(&manifest).to_string(), message);
    }
}

#[test]
fn what_kubernetes_completes_without_a_pod_can_be_run_and_what_never_ends_fails_with_helm_too() {
    let job = |numbers: &str| {
        let manifest = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: x}}\nspec: {{{numbers}, template: {{spec: {{containers: [{{name: \
             c}}]}}}}}}"
        );
        list(&[stored("x", &manifest)], "shops")[0].runnable.clone()
    };
    assert_eq!(job("completions: 0"), Ok(()));
    assert_eq!(job("completions: 0, parallelism: 0"), Ok(()));
    let never = job("completions: 1, parallelism: 0").unwrap_err();
    assert!(never.fails_with_helm(), "{never}");
    assert!(job("parallelism: 0").unwrap_err().fails_with_helm());
    let managed = job("managedBy: kueue.x-k8s.io/multikueue").unwrap_err();
    assert!(!managed.fails_with_helm(), "{managed}");
}

#[test]
fn what_helm_runs_by_default_can_be_run() {
    for manifest in [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: shops}\nspec: {containers: [{name: c}]}",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, namespace: null}\nspec: {managedBy: kubernetes.io/job-controller, \
         parallelism: null, template: {spec: {containers: [{name: c}]}}}",
    ] {
        let hook = &list(&[stored("x", manifest)], "shops")[0];
        assert_eq!((&hook.runnable, hook.namespace.as_str(), hook.is_elsewhere), (&Ok(()), "shops", false));
    }
}

#[test]
fn a_hook_is_in_the_namespace_that_its_manifest_names() {
    let hooks = shop();
    let far = select(&hooks, "elsewhere", |_| ()).unwrap();
    assert_eq!((far.namespace.as_str(), far.is_elsewhere), ("other", true));
    assert!(select(&hooks, "elsewhere", |by| by.namespace = Some("other")).is_ok());
    let error = select(&hooks, "elsewhere", |by| by.namespace = Some("shops")).unwrap_err().to_string();
    assert!(error.ends_with("shop/templates/elsewhere.yaml, namespace other)"), "{error}");
}

#[test]
fn of_hooks_of_one_name_the_one_in_the_releases_namespace_is_meant_and_the_others_by_theirs() {
    let twin = |namespace: &str| {
        let mut twin = job("twin");
        twin.manifest =
            twin.manifest.replace("{name: twin}", &format!("{{name: twin, namespace: '{namespace}'}}"));
        twin
    };
    let hooks = list(&[twin("far"), twin("further"), twin("")], "shops");
    assert_eq!(select(&hooks, "twin", |_| ()).unwrap().namespace, "shops");
    assert_eq!(select(&hooks, "twin", |by| by.namespace = Some("further")).unwrap().namespace, "further");
    let error = select(&hooks[..2], "twin", |_| ()).unwrap_err().to_string();
    assert!(error.contains("namespace far") && error.ends_with("parameters.hookNamespace"), "{error}");
}

#[test]
fn a_hook_that_has_only_a_generate_name_can_be_run_by_its_template() {
    let generated = |path: &str, weight: i32| {
        let manifest = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: shop-migrate-}\nspec: {template: {spec: \
                        {containers: [{name: c}]}}}";
        StoredHook { path: path.to_owned(), weight, name: String::new(), ..stored("", manifest) }
    };
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {generateName: shop-}";
    let hooks = list(
        &[
            StoredHook { weight: 1, ..job("named") },
            generated("shop/templates/b.yaml", 1),
            generated("shop/templates/a.yaml", 2),
            StoredHook { kind: "ServiceAccount".into(), ..stored("", account) },
        ],
        "shop",
    );
    let found = |path| find(&hooks, &Selector { path: Some(path), ..Selector::default() });
    let hook = found("templates/a.yaml").unwrap();
    assert_eq!((hook.name.as_str(), hook.path.as_str()), ("shop-migrate-", "shop/templates/a.yaml"));
    assert_eq!(found("templates/b.yaml").unwrap().weight, 1);
    let by_name = find(&hooks, &Selector { name: "shop-migrate-", ..Selector::default() }).unwrap_err();
    assert!(
        matches!(by_name, FindError::Ambiguous { .. }) && by_name.to_string().contains("hookPath"),
        "{by_name}"
    );
    assert!(
        hooks.iter().any(|hook| hook.kind == "ServiceAccount" && hook.name.is_empty()),
        "nobody can refer to it"
    );
    // Helm sorts those of one weight by the names in its record, and this one has none there.
    let in_order: Vec<i32> =
        of_event(&hooks, "pre-upgrade").unwrap().iter().map(|hook| hook.weight).collect();
    assert_eq!(in_order, [1, 1, 2]);
    assert_eq!(of_event(&hooks, "pre-upgrade").unwrap()[0].name, "shop-migrate-");
}

fn shop() -> Vec<Hook> {
    let mut after = job("migrate");
    after.events = vec!["post-upgrade".into()];
    after.path = "shop/charts/db/templates/migrate.yaml".into();
    let mut foreign = job("elsewhere");
    foreign.manifest = foreign.manifest.replace("{name: elsewhere}", "{name: elsewhere, namespace: other}");
    list(
        &[
            account("reindex"),
            job("reindex"),
            job("migrate"),
            after,
            foreign,
            account("robot"),
            stored("broken", "a: ["),
        ],
        "shops",
    )
}

fn select<'h>(
    hooks: &'h [Hook],
    name: &str,
    narrow: impl FnOnce(&mut Selector<'_>),
) -> Result<&'h Hook, FindError> {
    let mut selector = Selector { name, ..Selector::default() };
    narrow(&mut selector);
    find(hooks, &selector)
}

#[test]
fn a_job_is_found_beside_a_service_account_of_its_name() {
    let hooks = shop();
    assert_eq!(select(&hooks, "reindex", |_| ()).unwrap().kind, "Job");
    assert_eq!(select(&hooks, "reindex", |by| by.kind = Some("job")).unwrap().kind, "Job");
}

#[test]
fn hooks_of_one_name_are_told_apart_by_event_or_path() {
    let hooks = shop();
    let error = select(&hooks, "migrate", |_| ()).unwrap_err();
    assert!(matches!(error, FindError::Ambiguous { .. }));
    assert_eq!(
        error.to_string(),
        "more than one hook is named \"migrate\": Job \"migrate\" (pre-upgrade, shop/templates/migrate.yaml); Job \"migrate\" \
         (post-upgrade, shop/charts/db/templates/migrate.yaml); choose with the Operation's parameters.event"
    );
    assert_eq!(
        select(&hooks, "migrate", |by| by.event = Some("post-upgrade")).unwrap().events,
        ["post-upgrade"]
    );
    let path = Some("db/templates/migrate.yaml");
    assert_eq!(select(&hooks, "migrate", |by| by.path = path).unwrap().events, ["post-upgrade"]);
    assert!(select(&hooks, "migrate", |by| by.path = Some("migrate.yaml")).is_err());
    let twins = list(&[job("twin"), job("twin")], "shops");
    assert!(select(&twins, "twin", |_| ()).unwrap_err().to_string().contains("nothing tells them apart"));
}

#[test]
fn a_name_that_is_not_there_gives_the_nearest_that_can_be_run() {
    let hooks = shop();
    let error = select(&hooks, "reindx", |_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no hook is named \"reindx\"; there is \"reindex\", \"migrate\", \"elsewhere\". Choose by one of these names (parameters.hookName), by the \
         template (parameters.hookPath), or all hooks of an event (parameters.event); `hookhost hooks -o wide` lists all three"
    );
    assert!(matches!(error, FindError::NotFound { .. }));
    let none = select(&[], "x", |_| ()).unwrap_err().to_string();
    assert_eq!(
        none,
        "the release has no hooks, so none is named \"x\"; its chart has no template with helm.sh/hook"
    );
    let accounts = list(&[account("a")], "shops");
    let error = select(&accounts, "x", |_| ()).unwrap_err().to_string();
    assert_eq!(error, "no hook is named \"x\"; none of the release's 1 hooks can be run");
}

#[test]
fn a_name_that_ends_in_another_revision_leads_to_the_hooks_template() {
    let named = |name: &str| list(&[job(name)], "shops");
    for (asked, found) in [
        ("shop-migrate-2", "shop-migrate-3"),
        ("shop-migrate", "shop-migrate-3"),
        ("shop-migrate-7f3c9", "shop-migrate-d41d8"),
        ("migrate2", "migrate3"),
    ] {
        let error = select(&named(found), asked, |_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("The name of \"{found}\" seems to change")), "{error}");
        assert!(error.contains("parameters.hookPath: \"shop/templates/"), "{error}");
    }
    for (asked, other) in
        [("shop-migrate-2", "shop-reindex-2"), ("shop-migrate", "shop-migrate-all"), ("3", "7")]
    {
        let error = select(&named(other), asked, |_| ()).unwrap_err().to_string();
        assert!(!error.contains("seems to change"), "{asked} {other}: {error}");
    }
}

#[test]
fn a_name_that_is_there_under_another_event_is_shown() {
    let hooks = shop();
    let error = select(&hooks, "reindex", |by| by.event = Some("test")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no hook named \"reindex\" has the kind, path, event and namespace asked for; there is ServiceAccount \"reindex\" (pre-upgrade, \
         shop/templates/reindex.yaml); Job \"reindex\" (pre-upgrade, shop/templates/reindex.yaml)"
    );
}

#[test]
fn what_is_found_and_cannot_be_run_says_why() {
    let hooks = shop();
    let why = |name| match select(&hooks, name, |_| ()) {
        Err(FindError::NotRunnable { why, .. }) => why,
        other => panic!("{name}: {other:?}"),
    };
    assert!(matches!(why("robot"), NotRunnable::Kind { .. }));
    assert!(matches!(why("broken"), NotRunnable::Unreadable(_)));
}

#[test]
fn the_event_test_success_is_found_as_test() {
    let mut hook = job("smoke");
    hook.events = vec!["test-success".into()];
    let hooks = list(&[hook], "shops");
    assert!(select(&hooks, "smoke", |by| by.event = Some("test")).is_ok());
    assert!(select(&hooks, "smoke", |by| by.event = Some("test-success")).is_ok());
}

#[test]
fn objects_beyond_what_is_listed_are_told_of() {
    let items: Vec<String> =
        (0..MAX_HOOKS - 1).map(|n| format!("- {{kind: Secret, metadata: {{name: s{n}}}}}\n")).collect();
    let list_of_secrets = stored("a", &format!("apiVersion: v1\nkind: List\nitems:\n{}", items.concat()));
    let two = format!("{}\n---\n{}", job("b1").manifest, job("b2").manifest);
    let hooks = list(&[list_of_secrets, stored("b", &two), job("c")], "shops");
    assert_eq!(hooks.len(), MAX_HOOKS + 2);
    assert!(select(&hooks, "b1", |_| ()).is_ok());
    for name in ["b", "c"] {
        let error = select(&hooks, name, |_| ()).unwrap_err();
        assert!(matches!(error, FindError::NotRunnable { .. }));
        let why = hooks.iter().find(|hook| hook.name == name).map(|hook| hook.runnable.clone());
        assert_eq!(why, Some(Err(NotRunnable::TooMany)));
    }
    let missing = select(&hooks, "b2", |_| ()).unwrap_err().to_string();
    assert!(missing.contains("\"b1\""), "{missing}");
}

#[test]
fn messages_stay_short_whatever_the_names() {
    let hooks: Vec<StoredHook> = (0..2000).map(|i| account(&format!("{i}{}", "x".repeat(4000)))).collect();
    let mut hooks = list(&hooks, "shops");
    hooks.extend(list(&(0..2000).map(|i| job(&format!("job-{i:04}"))).collect::<Vec<_>>(), "shops"));
    let error = select(&hooks, &"y".repeat(100_000), |_| ()).unwrap_err();
    assert!(error.to_string().len() < 1024, "{}", error.to_string().len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// What is found has the name, can be run, and is the only one that does.
    #[test]
    fn what_is_found_is_the_one_that_was_asked_for(
        hooks in prop::collection::vec(("[ab]", 0..3u8, 0..2u8), 0..6),
        name in "[abc]",
        event in prop::option::of("pre-upgrade|test"),
    ) {
        let stored: Vec<StoredHook> = hooks.iter().map(|(name, kind, event)| {
            let mut hook = match kind {
                0 => job(name),
                1 => account(name),
                _ => stored(name, "a: ["),
            };
            hook.events = vec![["pre-upgrade", "test"][usize::from(*event)].into()];
            hook
        }).collect();
        let hooks = list(&stored, "shops");
        let selector = Selector { name: &name, event: event.as_deref(), ..Selector::default() };
        let runnable = hooks.iter().filter(|hook| {
            hook.name == name && hook.runnable.is_ok() && event.as_ref().is_none_or(|event| hook.events.contains(event))
        }).count();
        match find(&hooks, &selector) {
            Ok(hook) => {
                prop_assert_eq!(runnable, 1);
                prop_assert!(hook.name == name && hook.runnable.is_ok());
            }
            Err(FindError::Ambiguous { .. }) => prop_assert!(runnable > 1),
            Err(_) => prop_assert_eq!(runnable, 0),
        }
    }

    /// A listing goes through a document without building it, and says of it what reading it in full says.
    #[test]
    fn what_is_listed_is_what_reading_in_full_gives(text in "(kind: |apiVersion: |metadata:|name: |namespace: |spec:|template:|containers:|parallelism: |items:|\n|\n  |\n    |\n  - |Job|Pod|batch/v1|v1|\\[|\\]|\\{|\\}|, |- |: |a|0|~|\\.inf|<<: |&a |\\*a|!!int |!!str |'|\"|\\||\\? |# |\\.\\.\\.\n){0,24}") {
        prop_assume!(!text.lines().any(|line| line.starts_with("---")));
        let stored = [stored("x", &text)];
        let listing = Listing::of(&stored, "shops");
        let (heads, whole) = (listing.heads(), listing.read_all());
        match crate::yaml::read(&text) {
            Err(error) => prop_assert_eq!(&heads[0].runnable, &Err(NotRunnable::Unreadable(error))),
            Ok(_) => prop_assert!(!heads.iter().any(|head| matches!(head.runnable, Err(NotRunnable::Unreadable(_))))),
        }
        prop_assert_eq!(heads.len(), whole.len());
        for (head, whole) in heads.iter().zip(whole) {
            prop_assert_eq!(&head.runnable, &whole.runnable);
            if whole.manifest.is_object() {
                let text = |path: &str| crate::workload::at(&whole.manifest, path).and_then(serde_json::Value::as_str).unwrap_or_default();
                let told = [&head.name, &head.kind, &head.api_version].map(String::as_str);
                prop_assert_eq!(told, [text("metadata.name"), text("kind"), text("apiVersion")]);
            }
        }
    }

    #[test]
    fn any_object_is_checked(text in "(kind: |Job|Pod|\n|apiVersion: |batch/v1|metadata: |name: |spec: |\\{|\\}|items: |\\[|\\]|- |a|,|  ){0,30}") {
        let _ = list(&[stored("x", &text)], "shops");
        let _ = check(&json!(text));
    }
}

fn of(name: &str, kind: &str, events: &[&str], weight: i32) -> Hook {
    let api_version = if kind == "Job" { "batch/v1" } else { "v1" };
    let containers = json!({"containers": [{"name": "c", "image": "i"}]});
    let spec = if kind == "Job" { json!({"template": {"spec": containers}}) } else { containers };
    let manifest = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    Hook {
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        weight,
        ..crate::testing::hook(manifest, "shop")
    }
}

#[test]
fn the_hooks_of_an_event_come_in_the_order_in_which_helm_runs_them() {
    // As they are listed, those of one weight by Helm's names.
    let hooks = [
        of("a", "Pod", &["post-install", "post-upgrade"], 0),
        of("b", "Job", &["post-upgrade"], 0),
        of("first", "Job", &["post-upgrade"], -5),
        of("other", "Job", &["pre-upgrade"], -10),
        of("account", "ServiceAccount", &["post-upgrade"], -9),
        of("check", "Pod", &["test"], 0),
    ];
    let names = |event: &str| -> Vec<String> {
        of_event(&hooks, event).unwrap().into_iter().map(|hook| hook.name.clone()).collect()
    };
    assert_eq!(names("post-upgrade"), ["first", "a", "b"]);
    assert_eq!(names("test-success"), ["check"], "Helm 2's word for it");
    let error = of_event(&hooks, "pre-delete").unwrap_err();
    assert!(matches!(error, EventError::NoHooks { .. }));
    assert!(
        error.to_string().contains("its hooks are of post-install, post-upgrade, pre-upgrade and test"),
        "{error}"
    );
}

#[test]
fn one_hook_of_an_event_that_cannot_be_run_refuses_them_all() {
    let mut broken = of("broken", "Job", &["post-upgrade"], 0);
    broken.runnable = Err(NotRunnable::ParallelismZero);
    let error = of_event(&[of("fine", "Job", &["post-upgrade"], -1), broken], "post-upgrade").unwrap_err();
    assert!(matches!(error, EventError::NotRunnable { .. }));
    assert!(error.to_string().contains("because \"broken\""), "{error}");
    let many: Vec<Hook> =
        (0..=MAX_OF_EVENT).map(|n| of(&format!("h{n}"), "Job", &["post-upgrade"], 0)).collect();
    assert!(matches!(of_event(&many, "post-upgrade"), Err(EventError::TooMany { found: 33, .. })));
}

#[test]
fn a_hook_whose_name_has_the_revision_in_it_is_found_by_its_template() {
    let from = |name: &str, path: &str| Hook { path: path.into(), ..of(name, "Job", &["post-upgrade"], 0) };
    let hooks = [
        from("migrate-7", "shop/templates/migrate.yaml"),
        from("one", "shop/templates/two.yaml"),
        from("two", "shop/templates/two.yaml"),
    ];
    let by = |path| Selector { path: Some(path), ..Selector::default() };
    assert_eq!(find(&hooks, &by("templates/migrate.yaml")).unwrap().name, "migrate-7");
    let error = find(&hooks, &by("templates/two.yaml")).unwrap_err().to_string();
    assert!(error.contains("comes from the template \"templates/two.yaml\""), "{error}");
    assert!(error.ends_with("choose with the Operation's parameters.hookName"), "{error}");
    let error = find(&hooks, &by("none.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("no hook comes from the template \"none.yaml\"; there is"), "{error}");
    assert!(find(&hooks, &Selector::default()).is_err(), "nothing at all chooses nothing");
}
