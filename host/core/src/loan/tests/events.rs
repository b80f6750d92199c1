//! Objects that the chart has for several events, or for another than the run's.

use super::*;

fn with_another(events: &[&str], data: Value) -> Vec<Hook> {
    let mut hooks = hooks();
    let mut other = object("v1", "ConfigMap", json!({"name": "settings"}), json!({"data": data}));
    other.events = events.iter().map(|event| (*event).to_owned()).collect();
    hooks.insert(0, other);
    hooks
}

#[test]
fn of_an_object_that_the_chart_has_for_several_events_the_one_of_the_event_is_made() {
    let made = |hooks: &[Hook], event| {
        let loans = arranged(hooks, &Terms { event, ..TERMS }, |_| Found::Missing)?;
        let mut maps = loans.into_iter().filter(|loan| loan.object.kind == Kind::ConfigMap);
        let map = maps.next().unwrap();
        assert_eq!(maps.next(), None);
        Ok::<_, Refusal>(map.manifest.value()["data"]["a"].as_str().unwrap().to_owned())
    };
    // The hook is of pre-upgrade alone.
    assert_eq!(made(&with_another(&["post-install"], json!({"a": "c"})), None).unwrap(), "b");
    assert_eq!(made(&with_another(&["pre-upgrade"], json!({"a": "b"})), None).unwrap(), "b");
    for (event, advice) in [(None, "parameters.event"), (Some("pre-upgrade"), "once for an event")] {
        let refusal = made(&with_another(&["pre-upgrade"], json!({"a": "c"})), event).unwrap_err();
        assert_eq!((refusal.reason, refusal.then), (Reason::ClosureRefused, Then::Fail));
        assert!(
            refusal.message.contains("ConfigMap \"settings\"") && refusal.message.contains(advice),
            "{refusal}"
        );
    }
    // What the digest does not cover cannot stand in the way of what it does.
    assert_eq!(made(&with_another(&["pre-upgrade", "test"], json!({"a": "c"})), None).unwrap(), "b");

    let mut hooks = with_another(&["post-upgrade"], json!({"a": "c"}));
    for hook in &mut hooks {
        if hook.kind != "ConfigMap" {
            hook.events = vec!["pre-upgrade".to_owned(), "post-upgrade".to_owned()];
        }
    }
    assert_eq!(made(&hooks, Some("pre-upgrade")).unwrap(), "b");
    assert_eq!(made(&hooks, Some("post-upgrade")).unwrap(), "c");
    let refusal = made(&hooks, Some("pre-rollback")).unwrap_err();
    assert!(refusal.message.contains("does not have it for the event \"pre-rollback\""), "{refusal}");
}

#[test]
fn what_the_pod_starts_without_is_not_missed_in_another_event_than_its_own() {
    let lent = |optional: bool, event| {
        let mut hook = job();
        hook.events = vec!["pre-install".to_owned(), "pre-upgrade".to_owned()];
        let mut manifest = Value::clone(&hook.manifest);
        manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["optional"] =
            json!(optional);
        hook.manifest = manifest.into();
        let mut hooks = hooks();
        for other in &mut hooks {
            other.events = hook.events.clone();
        }
        hooks[2].events = vec!["pre-install".to_owned()];
        let closure = closure(Workload::of(&hook.manifest), "shop", &hooks).unwrap();
        let terms = Terms { event, ..TERMS };
        let loans = arrange(&hook, &of_event(&hook, &closure, &terms), &terms, |_| Found::Missing)?;
        Ok::<_, Refusal>(names(&loans).contains(&"ConfigMap/settings".to_owned()))
    };
    assert!(!lent(true, Some("pre-upgrade")).unwrap());
    assert!(lent(true, Some("pre-install")).unwrap() && lent(true, None).unwrap());
    assert_eq!(lent(false, Some("pre-upgrade")).unwrap_err().reason, Reason::ClosureRefused);
}

#[test]
fn a_binding_for_another_event_is_not_missed_nor_the_role_that_only_it_binds() {
    let near = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let mut hooks = hooks();
    let subjects = json!([{"kind": "ServiceAccount", "name": "migrate"}]);
    let role_ref = json!({"kind": "Role", "name": "purge"});
    let mut others = vec![
        object(
            RBAC,
            "RoleBinding",
            json!({"name": "purge"}),
            json!({"subjects": subjects, "roleRef": role_ref}),
        ),
        object(RBAC, "Role", json!({"name": "purge"}), json!({"rules": []})),
    ];
    for other in &mut others {
        other.events = vec!["pre-delete".to_owned()];
    }
    hooks.extend(others);
    assert_eq!(arranged(&hooks, &TERMS, |_| Found::Missing).unwrap(), near);
}
