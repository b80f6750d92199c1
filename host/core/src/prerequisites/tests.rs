use hookhost_helm::hook::Hook;
use serde_json::{Value, json};

use super::*;
use crate::dependency::references;
use crate::loan::Uncovered;
use crate::reason::Reason;
use crate::refusal::Then;
use crate::testing::hook;

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Hook {
    let mut manifest = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "annotations": {
            "helm.sh/hook": "pre-upgrade", "helm.sh/hook-delete-policy": "hook-succeeded",
        }},
    });
    for (key, value) in rest.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    hook(manifest, "shop")
}

/// A migration that has a Secret of the release, with two keys, and a config map that is a hook itself.
fn job() -> Hook {
    let env = |key: &str| json!({"name": key, "valueFrom": {"secretKeyRef": {"name": "db", "key": key}}});
    let container = json!({
        "name": "c", "image": "i", "env": [env("user"), env("password")],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
    });
    let template = json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [container]}});
    object("batch/v1", "Job", "migrate", json!({"spec": {"template": template}}))
}

fn settings() -> Hook {
    object("v1", "ConfigMap", "settings", json!({"data": {"a": "b"}}))
}

fn network_policy() -> Hook {
    let spec = json!({"spec": {"podSelector": {"matchLabels": {"app": "shop"}}}});
    object("networking.k8s.io/v1", "NetworkPolicy", "egress", spec)
}

/// What is there of the Secret "db": its keys; and of each hook by name.
fn settled(
    hooks: &[Hook],
    secret: Option<&[&str]>,
    found: &[(&str, Found)],
    lending: &Lending,
) -> Result<Settled, Refusal> {
    let job = job();
    let mut request = Request::default();
    request.release.namespace = "shop".into();
    let references = references(&job.manifest);
    let of = Hooked {
        hook: &job,
        hooks,
        request: &request,
        event: None,
        references: &references,
        makers: &[],
        step: None,
    };
    let closure = of.closure().unwrap();
    let mut facts = Facts::default();
    for reference in &references {
        let keys = match (reference.name.as_str(), secret) {
            ("db", Some(keys)) => keys.iter().map(|key| (*key).to_owned()).collect(),
            ("db", None) => continue,
            _ => BTreeSet::new(),
        };
        facts.existing.insert(reference, keys);
    }
    for member in &closure.needed {
        let object = ObjectRef::of(member);
        let named = found.iter().find(|(name, _)| *name == object.name);
        facts.found.insert(object, named.map_or(Found::Kept, |(_, found)| found.clone()));
    }
    let terms = Terms {
        namespace: "shop",
        release_namespace: "shop",
        cluster_objects: &[],
        uncovered: Uncovered::All,
        applier: None,
        event: None,
        jobs: &[],
    };
    settle(&of, &closure.needed, &facts, lending, &terms)
}

const BOTH: Option<&[&str]> = Some(&["user", "password"]);

#[test]
fn a_hook_whose_prerequisites_exist_starts_and_nothing_is_created() {
    for lending in [Lending::On, Lending::Off, Lending::NotAsked] {
        let settled = settled(&[settings(), network_policy()], BOTH, &[], &lending).unwrap();
        assert!(settled.loans.is_empty() && settled.not_created == NotCreated::default(), "{settled:?}");
    }
}

#[test]
fn a_missing_object_and_a_missing_key_are_waited_for_by_name() {
    let refused = |secret| settled(&[], secret, &[], &Lending::On).unwrap_err();
    let missing = refused(None);
    assert_eq!((missing.reason, missing.then), (Reason::DependencyMissing, Then::Wait));
    assert!(missing.message.contains("Secret \"db\" (spec.template.spec.containers[0].env[0]"), "{missing}");
    let lacking = refused(Some(&["user"]));
    assert_eq!((lacking.reason, lacking.then), (Reason::DependencyMissing, Then::Wait));
    assert!(lacking.message.contains("key \"password\" in the Secret \"db\""), "{lacking}");
}

#[test]
fn a_hook_that_helm_has_deleted_is_created_where_that_is_asked_for_and_else_waited_for() {
    for gone in [Found::Missing, Found::Leaving { is_created: false }] {
        let found = [("settings", gone.clone())];
        let refused = settled(&[settings()], BOTH, &found, &Lending::NotAsked).unwrap_err();
        assert_eq!(refused.reason, Reason::DependencyMissing);
        assert!(refused.message.contains("parameters.closure: true"), "{refused}");
        let refused = settled(&[settings()], BOTH, &found, &Lending::Off).unwrap_err();
        assert!(refused.message.contains("closure.enabled"), "{refused}");
    }
    let created = settled(&[settings()], BOTH, &[("settings", Found::Missing)], &Lending::On).unwrap();
    let created: Vec<String> = created.loans.iter().map(|loan| loan.object.to_string()).collect();
    assert_eq!(created, ["ConfigMap \"settings\""]);
}

#[test]
fn what_another_run_has_created_for_itself_is_as_good_as_gone() {
    let lent = Found::Lent { content: "sha256:0".into(), owners: vec!["uid".into()], holder: None };
    let refused = settled(&[settings()], BOTH, &[("settings", lent)], &Lending::NotAsked).unwrap_err();
    assert_eq!(refused.reason, Reason::DependencyMissing);
    // What somebody has made their own since stays.
    let taken_over = Found::TakenOver { owners: vec!["uid".into()] };
    assert!(settled(&[settings()], BOTH, &[("settings", taken_over)], &Lending::NotAsked).is_ok());
}

#[test]
fn a_run_starts_without_its_network_policy_and_says_so_unless_it_is_created() {
    let gone = [("egress", Found::Missing)];
    let without = settled(&[network_policy()], BOTH, &gone, &Lending::NotAsked).unwrap();
    let names: Vec<&str> = without.not_created.without.iter().map(|object| object.name.as_str()).collect();
    assert!(names == ["egress"] && without.loans.is_empty());
    let created = settled(&[network_policy()], BOTH, &gone, &Lending::On).unwrap();
    assert!(created.loans.len() == 1 && created.not_created == NotCreated::default());
}
