//! What is not made: it would give more than the chart does, or to others, or stay.

use super::*;

#[test]
fn nothing_is_made_that_gives_more_or_to_others_or_stays() {
    let refused = |hooks: &[Hook], terms: &Terms<'_>| {
        let refusal = arranged(hooks, terms, |_| Found::Missing).unwrap_err();
        (refusal.reason, refusal.message)
    };
    let with = |changed: usize, change: &dyn Fn(&mut Hook)| {
        let mut hooks = hooks();
        change(&mut hooks[changed]);
        hooks
    };
    let edit = |hook: &mut Hook, pointer: &str, value: Value| {
        let mut manifest = Value::clone(&hook.manifest);
        *manifest.pointer_mut(pointer).unwrap() = value;
        hook.manifest = manifest.into();
    };
    for (hooks, terms, word) in [
        (hooks(), Terms { applier: Some("tenant"), ..TERMS }, "rights of the service account \"tenant\""),
        (
            with(1, &|role| role.events = vec!["pre-rollback".into()]),
            TERMS,
            "does not have it for the hook's events",
        ),
        (
            with(0, &|binding| {
                let others = json!([{"kind": "ServiceAccount", "name": "migrate", "namespace": "shop"},
                    {"kind": "User", "name": "mallory"}]);
                edit(binding, "/subjects", others);
            }),
            TERMS,
            "User \"mallory\"",
        ),
    ] {
        let (reason, message) = refused(&hooks, &terms);
        assert!(reason == Reason::ClosureRefused && message.contains(word), "{message}");
    }
    // A role of that name which somebody else has made may have any rights.
    let role = |object: &ObjectRef| if object.kind == Kind::Role { Found::Kept } else { Found::Missing };
    let refusal = arranged(&hooks(), &TERMS, role).unwrap_err();
    assert_eq!((refusal.reason, refusal.then), (Reason::DependencyMissing, Then::Wait));

    // Rights are never taken from what no digest covers, unless there is none at all.
    let tests = with(1, &|role| role.events = vec!["pre-upgrade".into(), "test".into()]);
    let terms = Terms { uncovered: Uncovered::WithoutRights, ..TERMS };
    assert_eq!(refused(&tests, &terms).0, Reason::HookNotVerified);
    assert!(arranged(&tests, &Terms { uncovered: Uncovered::All, ..TERMS }, |_| Found::Missing).is_ok());
}

/// The closure of a pod that mounts this.
fn mounting(mut volume: Value, helper: Hook) -> Result<Vec<Loan>, Refusal> {
    volume["name"] = json!("v");
    let container = json!({"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let pod = object(
        "v1",
        "Pod",
        json!({"name": "p"}),
        json!({"spec": {"containers": [container], "volumes": [volume]}}),
    );
    let hooks = [helper];
    let closure = closure(Workload::of(&pod.manifest), "shop", &hooks).unwrap();
    arrange(&pod, &of_event(&pod, &closure, &TERMS), &TERMS, |_| Found::Missing)
}

#[test]
fn a_secret_that_is_more_than_data_and_a_claim_that_helm_keeps_are_not_made() {
    let secret = |secret_type: &str| {
        let helper = object("v1", "Secret", json!({"name": "s"}), json!({"type": secret_type, "data": {}}));
        mounting(json!({"secret": {"secretName": "s"}}), helper)
    };
    assert_eq!(secret("kubernetes.io/service-account-token").unwrap_err().reason, Reason::ClosureRefused);
    assert!(secret("Opaque").is_ok());
    let claim = |policies: &[&str]| {
        let mut helper = object("v1", "PersistentVolumeClaim", json!({"name": "c"}), json!({"spec": {}}));
        helper.delete_policies = policies.iter().map(|policy| (*policy).to_owned()).collect();
        mounting(json!({"persistentVolumeClaim": {"claimName": "c"}}), helper)
    };
    let refusal = claim(&["before-hook-creation"]).unwrap_err();
    assert_eq!((refusal.reason, refusal.then), (Reason::DependencyMissing, Then::Wait));
    assert!(claim(&["before-hook-creation", "hook-succeeded"]).is_ok());
}
