use serde_json::{Value, json};

use super::*;
use crate::reason::Reason;
use crate::testing::{self, record, stored_hook as stored};
use hookhost_helm::limits::MAX_DOCUMENTS;
use hookhost_helm::record::StoredHook;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn object(manifest: &Value) -> StoredHook {
    let text = |path: &str| manifest.pointer(path).and_then(Value::as_str).unwrap_or_default();
    stored(text("/metadata/name"), text("/kind"), manifest.to_string())
}

/// A Job that runs as the service account "migrate".
fn job(name: &str) -> StoredHook {
    let pod = json!({"serviceAccountName": "migrate", "containers": [{"name": "c", "image": "i"}]});
    object(
        &json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": pod}}}),
    )
}

fn role(name: &str, rules: &Value) -> StoredHook {
    object(&json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": rules}))
}

fn binding(name: &str, account: &str) -> StoredHook {
    object(&json!({"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"kind": "Role", "name": name}, "subjects": [{"kind": "ServiceAccount", "name": account}]}))
}

fn operation(parameters: Value) -> Operation {
    let mut operation = testing::spec_operation();
    operation["spec"]["parameters"] = parameters;
    Operation::from_json(operation).unwrap()
}

fn selected(hooks: Vec<StoredHook>, name: &str) -> Result<Selection, Refusal> {
    select(&record(hooks), &operation(json!({"hookName": name})))
}

fn names(hooks: &[Hook]) -> Vec<&str> {
    hooks.iter().map(|hook| hook.name.as_str()).collect()
}

/// What no hook is and no document of less than its size holds.
fn large() -> String {
    format!("x: [{}a]\n", "a,".repeat(950_000))
}

/// Deeper than hookhost reads, not deeper than Go does.
fn deep() -> String {
    format!("x: {}{}\n", "[".repeat(200), "]".repeat(200))
}

#[test]
fn the_hook_and_what_it_needs_are_read_and_nothing_else() {
    let hooks = vec![
        job("migrate"),
        job("other"),
        role("r", &json!([])),
        role("unused", &json!([])),
        binding("r", "migrate"),
        binding("unused", "other"),
    ];
    let selection = selected(hooks, "migrate").unwrap();
    let [Selected { hook, others, .. }] = &selection.hooks[..] else { panic!("{selection:?}") };
    assert_eq!((hook.name.as_str(), names(others)), ("migrate", vec!["r", "r"]));
    assert_eq!(others[1].manifest["subjects"][0]["name"], "migrate");
    assert_eq!((selection.release.name.as_str(), selection.release.revision), ("shop", 1));
}

#[test]
fn all_hooks_of_an_event_are_selected_in_order() {
    let hooks = vec![job("b"), binding("r", "migrate"), job("a"), role("r", &json!([]))];
    let selection = select(&record(hooks), &operation(json!({"event": "pre-upgrade"}))).unwrap();
    let found: Vec<_> =
        selection.hooks.iter().map(|one| (one.hook.name.as_str(), names(&one.others))).collect();
    assert_eq!(found, [("a", vec!["r", "r"]), ("b", vec!["r", "r"])]);
}

#[test]
fn a_list_of_a_million_values_beside_a_hook_costs_the_hook_nothing() {
    let config_map = format!("{}kind: ConfigMap\napiVersion: v1\nmetadata: {{name: huge}}\n", large());
    let mut hooks: Vec<StoredHook> = (0..16).map(|n| job(&format!("small-{n}"))).collect();
    let alone = selected(hooks.clone(), "small-3").unwrap();
    hooks.push(stored("huge", "ConfigMap", config_map));
    let beside = selected(hooks, "small-3").unwrap();
    assert_eq!(beside.hooks, alone.hooks);
    // The huge one is one more that may be needed, of which is known what it is called.
    assert!(beside.bytes() < alone.bytes() + 32 * 1024, "{} bytes, {} alone", beside.bytes(), alone.bytes());
    assert!(beside.bytes() < 128 * 1024, "{} bytes", beside.bytes());
}

#[test]
fn a_hook_that_is_larger_than_is_read_is_refused_with_the_bound() {
    let huge = format!(
        "{}{}",
        large(),
        hookhost_helm::yaml::write(&serde_json::from_str(&job("huge").manifest).unwrap())
    );
    let refusal = selected(vec![stored("huge", "Job", huge)], "huge").unwrap_err();
    assert_eq!(refusal.reason, Reason::HookManifestTooLarge);
    assert!(refusal.message.contains("more than the 8388608 bytes of memory allowed"), "{refusal}");
    assert!(refusal.message.contains("\"huge\""), "{refusal}");
}

#[test]
fn a_manifest_that_cannot_be_read_refuses_the_run_if_it_may_give_rights() {
    let rights = [
        ("kind: RoleBinding\napiVersion: rbac.authorization.k8s.io/v1\n".to_owned(), true),
        ("kind: ServiceAccount\napiVersion: v1\n".to_owned(), true),
        // Written so that the words are not there as they stand.
        ("kind: Role\napiVersion: \"rbac.authorization.k8s\\x2eio/v1\"\n".to_owned(), true),
        ("kind: Role\napiVersion: !!binary cmJhYy5hdXRob3JpemF0aW9uLms4cy5pby92MQ==\n".to_owned(), true),
        ("kind: ConfigMap\napiVersion: v1\ndata: {run.sh: '#!/bin/sh'}\n".to_owned(), false),
    ];
    for (head, may) in rights {
        let refused =
            selected(vec![job("migrate"), stored("odd", "ConfigMap", head.clone() + &deep())], "migrate");
        if !may {
            assert!(refused.is_ok(), "{head}");
            continue;
        }
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.reason, Reason::ClosureUnreadable, "{head}");
        for said in ["ConfigMap \"odd\" (shop/templates/odd.yaml)", "more than 100 levels deep"] {
            assert!(refusal.message.contains(said), "{refusal}");
        }
    }
}

#[test]
fn a_role_that_is_too_large_refuses_the_hooks_that_it_is_bound_to_and_no_others() {
    let rules = json!(vec![json!({"apiGroups": [""], "resources": ["a"], "verbs": ["get"]}); 8000]);
    let hooks = |account: &str| vec![job("migrate"), role("r", &rules), binding("r", account)];
    let refusal = selected(hooks("migrate"), "migrate").unwrap_err();
    assert_eq!(refusal.reason, Reason::ClosureUnreadable);
    assert!(refusal.message.contains("Role \"r\" (shop/templates/r.yaml)"), "{refusal}");
    assert!(refusal.message.contains("more than the 8388608 bytes of memory allowed"), "{refusal}");
    assert!(selected(hooks("other"), "migrate").is_ok());
}

#[test]
fn a_binding_that_is_too_large_refuses_all_hooks_since_nobody_knows_whom_it_binds() {
    let subjects = json!(vec![json!({"kind": "ServiceAccount", "name": "other"}); 12_000]);
    let huge = json!({"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "b"},
        "roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects});
    let refusal = selected(vec![job("migrate"), object(&huge)], "migrate").unwrap_err();
    assert_eq!(refusal.reason, Reason::ClosureUnreadable);
    assert!(refusal.message.contains("RoleBinding \"b\""), "{refusal}");
}

#[test]
fn objects_that_are_not_listed_refuse_the_run_if_they_may_give_rights() {
    let list = |kind: &str| {
        let items =
            format!("- {{kind: {kind}, metadata: {{name: s}}}}\n").repeat(hookhost_helm::limits::MAX_HOOKS);
        stored("list", "List", format!("apiVersion: v1\nkind: List\nitems:\n{items}"))
    };
    assert!(selected(vec![job("a-job"), list("ConfigMap")], "a-job").is_ok());
    let refusal = selected(vec![job("a-job"), list("ServiceAccount")], "a-job").unwrap_err();
    assert_eq!(refusal.reason, Reason::ClosureUnreadable, "{refusal}");
}

#[test]
fn millions_of_documents_take_as_many_parsers_as_are_allowed() {
    // Blank lines and comments are no documents at all.
    let nothing = "#\n---\n".repeat(1_000_000);
    let hooks = vec![stored("a", "Job", nothing + &job("migrate").manifest)];
    assert_eq!(selected(hooks, "migrate").unwrap().hooks[0].hook.name, "migrate");
    let nulls = "~\n---\n".repeat(MAX_DOCUMENTS + 1);
    let refusal =
        selected(vec![stored("a", "Job", nulls + &job("migrate").manifest)], "migrate").unwrap_err();
    assert_eq!(refusal.reason, Reason::HookNotFound, "what is beyond is not looked for: {refusal}");
}

#[test]
fn copies_of_a_lists_own_texts_are_bounded() {
    let items = "- {kind: ConfigMap, metadata: {name: s}}\n".repeat(4000);
    let mut list = stored("list", "List", format!("apiVersion: v1\nkind: List\nitems:\n{items}"));
    list.events =
        vec!["x".repeat(hookhost_helm::limits::MAX_HOOK_TEXT_BYTES); hookhost_helm::limits::MAX_HOOK_WORDS];
    let record = record(vec![list]);
    let listing = record.listing();
    let taken: usize = listing.heads().iter().map(Hook::text_bytes).sum();
    assert!(taken <= hookhost_helm::limits::MAX_LISTED_BYTES + 128 * 1024, "{taken} bytes");
    assert_eq!(listing.heads().last().map(|head| head.runnable.clone()), Some(Err(NotRunnable::TooMany)));
}

#[test]
fn hooks_of_which_controllers_make_something_are_known_and_cost_little() {
    let secret = |n: usize, api_version: &str| {
        object(
            &json!({"apiVersion": api_version, "kind": "ExternalSecret", "metadata": {"name": format!("es-{n}")},
            "spec": {"target": {"name": "db"}, "data": vec!["x"; 100]}}),
        )
    };
    let mut hooks = vec![job("migrate"), secret(0, "external-secrets.io/v1"), secret(1, "v1")];
    let makers = |hooks: &[StoredHook]| selected(hooks.to_vec(), "migrate").unwrap().makers;
    let found = makers(&hooks);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().starts_with("ExternalSecret \"es-0\""), "{}", found[0]);
    hooks.extend((2..100).map(|n| secret(n, "external-secrets.io/v1")));
    assert_eq!(makers(&hooks).len(), crate::maker::MAX_MAKERS);
}
