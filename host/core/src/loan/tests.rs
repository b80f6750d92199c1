mod events;
mod refused;

use super::*;
use crate::claim::Key;
use crate::closure::closure;
use crate::dependency::references;
use crate::keys;
use crate::plan::Staging;
use crate::reason::Reason;
use crate::refusal::{Refusal, Then};
use crate::step::Step;
use crate::testing::{self, keys};
use hookhost_helm::hook::Hook;
use hookhost_helm::workload::Workload;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn object(api_version: &str, kind: &str, metadata: Value, rest: Value) -> Hook {
    let mut manifest = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    for (key, value) in rest.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    testing::hook(manifest, "shop")
}

fn job() -> Hook {
    object(
        "batch/v1",
        "Job",
        json!({"name": "migrate"}),
        json!({"spec": {"template": {"spec": {"serviceAccountName": "migrate", "containers": [
            {"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}}}}),
    )
}

/// The hooks of a chart whose migration has everything of its own.
fn hooks() -> Vec<Hook> {
    let subjects = json!([{"kind": "ServiceAccount", "name": "migrate", "namespace": "shop"}]);
    let bound = |role: &str| json!({"subjects": subjects, "roleRef": {"kind": role, "name": "migrate"}});
    vec![
        object(RBAC, "RoleBinding", json!({"name": "migrate"}), bound("Role")),
        object(RBAC, "Role", json!({"name": "migrate"}), json!({"rules": []})),
        object("v1", "ConfigMap", json!({"name": "settings"}), json!({"data": {"a": "b"}})),
        object(
            "v1",
            "ServiceAccount",
            json!({
                "name": "migrate", "uid": "x", "resourceVersion": "7", "finalizers": ["f"], "generateName": "g",
                "ownerReferences": [{"kind": "Node"}], "creationTimestamp": null,
                "labels": {"app": "shop", "helm.toolkit.fluxcd.io/name": "shop"},
                "annotations": {
                    "helm.sh/hook": "pre-upgrade", "meta.helm.sh/release-name": "shop",
                    "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/migrate",
                },
            }),
            json!({"status": {"x": 1}}),
        ),
    ]
}

const TERMS: Terms<'static> = Terms {
    namespace: "shop",
    release_namespace: "shop",
    cluster_objects: &[],
    uncovered: Uncovered::None,
    applier: None,
    event: None,
    jobs: &[],
};

fn of_event<'a>(hook: &Hook, closure: &[Member<'a>], terms: &Terms<'_>) -> Vec<Member<'a>> {
    needed(hook, closure, &references(&hook.manifest), terms.event)
}

fn arranged(
    hooks: &[Hook],
    terms: &Terms<'_>,
    found: impl Fn(&ObjectRef) -> Found,
) -> Result<Vec<Loan>, Refusal> {
    let job = job();
    let closure = closure(Workload::of(&job.manifest), "shop", hooks).unwrap();
    arrange(&job, &of_event(&job, &closure, terms), terms, found)
}

fn names(loans: &[Loan]) -> Vec<String> {
    loans.iter().map(|loan| loan.object.kind_and_name()).collect()
}

#[test]
fn what_is_missing_is_made_in_the_order_in_which_helm_makes_kinds() {
    let loans = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    assert_eq!(
        names(&loans),
        ["ServiceAccount/migrate", "ConfigMap/settings", "Role/migrate", "RoleBinding/migrate"]
    );
    let kept = |object: &ObjectRef| {
        if object.kind == Kind::ServiceAccount { Found::Kept } else { Found::Missing }
    };
    assert_eq!(names(&arranged(&hooks(), &TERMS, kept).unwrap())[0], "ConfigMap/settings");
    assert_eq!(arranged(&hooks(), &TERMS, |_| Found::Kept).unwrap(), []);
}

#[test]
fn a_loan_is_the_charts_object_with_nothing_by_which_others_would_take_it_for_theirs() {
    let loans = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let job = JobId { namespace: "shop", name: "run", uid: "u" };
    assert_eq!(
        loans[0].made_for(&job, &keys()),
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": "migrate",
                "namespace": "shop",
                "labels": {"app": "shop", "app.vworkspace.io/managed-by": "vworkspace-operator"},
                "annotations": {
                    "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/migrate",
                    "hookhost.vworkspace.io/claim": keys().claim_loan(&loans[0].object, &loans[0].content, None),
                    "hookhost.vworkspace.io/content": loans[0].content,
                },
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "run", "uid": "u"}],
            },
        })
    );
    assert_eq!(loans[1].manifest.value()["data"], json!({"a": "b"}));
}

#[test]
fn what_is_made_is_found_again_as_lent_to_its_job() {
    let loans = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let job = JobId { namespace: "shop", name: "run", uid: "u" };
    let found = Found::of(&loans[0].object, Some(&loans[0].made_for(&job, &keys())["metadata"]), &keys());
    assert!(
        found.is_lent_to(Kind::ServiceAccount, &job)
            && !found.is_lent_to(Kind::ServiceAccount, &JobId { uid: "v", ..job })
    );
    let of = |metadata: Option<&Value>| Found::of(&loans[0].object, metadata, &keys());
    assert_eq!(of(None), Found::Missing);
    assert_eq!(of(Some(&json!({"name": "migrate"}))), Found::Kept);
    let leaving = json!({"deletionTimestamp": "2026-05-28T00:00:00Z", "annotations": {CONTENT: "sha256:0"}});
    assert_eq!(of(Some(&leaving)), Found::Leaving { is_created: false });
    for odd in
        [json!(7), json!({"annotations": 7}), json!({"annotations": {CONTENT: 7}, "ownerReferences": {}})]
    {
        assert_eq!(of(Some(&odd)), Found::Kept, "{odd}");
    }
}

fn lent(content: &str) -> Found {
    Found::Lent { content: content.to_owned(), owners: vec!["other".into()], holder: None }
}

#[test]
fn two_runs_share_what_is_the_same_and_wait_for_what_is_not() {
    let made = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let same = |object: &ObjectRef| lent(&made.iter().find(|loan| loan.object == *object).unwrap().content);
    assert_eq!(arranged(&hooks(), &TERMS, same).unwrap(), made, "borrowed by both");
    let refusal = arranged(&hooks(), &TERMS, |_| lent("sha256:other")).unwrap_err();
    assert_eq!((refusal.reason, refusal.then), (Reason::ConflictingOperation, Then::RetryAfter(5)));
    let waits_for = |refusal: Refusal| refusal.object.map(|object| object.to_string());
    assert_eq!(waits_for(refusal), Some(made[0].object.to_string()), "it is woken when that is removed");
    let refusal = arranged(&hooks(), &TERMS, |_| Found::Leaving { is_created: false }).unwrap_err();
    assert_eq!((refusal.reason, refusal.then), (Reason::DependencyMissing, Then::RetryAfter(5)));
    assert_eq!(waits_for(refusal), Some(made[0].object.to_string()));
}

/// The hooks, and a binding that acts on the whole cluster; charts give those a namespace, too.
fn with_cluster_binding() -> Vec<Hook> {
    let binding = object(
        RBAC,
        "ClusterRoleBinding",
        json!({"name": "migrate", "namespace": "shop"}),
        json!({
            "subjects": [{"kind": "ServiceAccount", "name": "migrate", "namespace": "shop"}],
            "roleRef": {"kind": "ClusterRole", "name": "view"},
        }),
    );
    hooks().into_iter().chain([binding]).collect()
}

#[test]
fn what_acts_on_the_whole_cluster_is_made_only_where_it_is_named_and_for_one_run_at_a_time() {
    let hooks = with_cluster_binding();
    let refusal = arranged(&hooks, &TERMS, |_| Found::Missing).unwrap_err();
    assert_eq!((refusal.reason, refusal.then), (Reason::ClosureRefused, Then::Wait));
    assert!(refusal.message.contains("ClusterRoleBinding \"migrate\""), "{refusal}");

    let allowed = ["ClusterRoleBinding/migrate".parse().unwrap()];
    let terms = Terms { cluster_objects: &allowed, ..TERMS };
    let loans = arranged(&hooks, &terms, |_| Found::Missing).unwrap();
    assert_eq!(names(&loans)[2], "ClusterRoleBinding/migrate");
    let job = JobId { namespace: "shop", name: "run", uid: "u" };
    let made = loans[2].made_for(&job, &keys());
    assert_eq!(made["metadata"].get("namespace"), None);
    assert_eq!(made["metadata"].get("ownerReferences"), None);

    let found = |object: &ObjectRef| {
        let made = loans.iter().find(|loan| loan.object == *object).unwrap().made_for(&job, &keys());
        Found::of(object, Some(&made["metadata"]), &keys())
    };
    let refusal = arranged(&hooks, &terms, found).unwrap_err();
    assert_eq!(refusal.reason, Reason::ConflictingOperation);
    assert!(refusal.message.contains("shop/run/u"), "{refusal}");
    let later = JobId { name: "run-2", uid: "v", ..job };
    let jobs = [job, later];
    assert_eq!(
        arranged(&hooks, &Terms { jobs: &jobs, ..terms }, found).unwrap(),
        loans,
        "its own, for any step"
    );
    assert!(arranged(&hooks, &Terms { jobs: &jobs[1..], ..terms }, found).is_err());
}

#[test]
fn of_an_events_jobs_the_first_alone_borrows_what_has_no_namespace() {
    let hooks = with_cluster_binding();
    let terms = Terms { cluster_objects: &["ClusterRoleBinding/migrate".parse().unwrap()], ..TERMS };
    let loans = arranged(&hooks, &terms, |_| Found::Missing).unwrap();
    let step = |number| Some(Step { number, of: 2 });
    let first = Staging::after([].iter(), loans.clone(), step(1));
    assert_eq!(first.loans, loans);
    let second = Staging::after([&first].into_iter(), loans, step(2));
    assert_eq!(second.step, step(2));
    assert_eq!(
        names(&second.loans),
        ["ServiceAccount/migrate", "ConfigMap/settings", "Role/migrate", "RoleBinding/migrate"],
        "what has a namespace is each Job's own"
    );
}

#[test]
fn a_cluster_object_is_allowed_to_releases_of_one_namespace_or_of_any() {
    let hooks = with_cluster_binding();
    for (text, is_allowed) in [
        ("ClusterRoleBinding/migrate", true),
        ("shop/ClusterRoleBinding/migrate", true),
        ("other/ClusterRoleBinding/migrate", false),
        ("ClusterRole/migrate", false),
        ("ClusterRoleBinding/migrate2", false),
    ] {
        let allowed: ClusterObject = text.parse().unwrap();
        assert_eq!(allowed.to_string(), text);
        let terms = Terms { cluster_objects: &[allowed], ..TERMS };
        assert_eq!(arranged(&hooks, &terms, |_| Found::Missing).is_ok(), is_allowed, "{text}");
    }
    // Of a release elsewhere: what is given to the one namespace is not had from the other.
    for (texts, is_allowed) in [
        (&["shop/ClusterRoleBinding/migrate"][..], false),
        (&["home/ClusterRoleBinding/migrate"], false),
        (&["home/ClusterRoleBinding/migrate", "shop/ClusterRoleBinding/migrate"], true),
        (&["ClusterRoleBinding/migrate"], true),
    ] {
        let allowed: Vec<ClusterObject> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let terms = Terms { release_namespace: "home", cluster_objects: &allowed, ..TERMS };
        match arranged(&hooks, &terms, |_| Found::Missing) {
            Ok(_) => assert!(is_allowed, "{texts:?}"),
            Err(refusal) => {
                assert!(!is_allowed && refusal.message.contains("\"home\", of the release"), "{refusal}");
            }
        }
    }
    let long = format!("ClusterRole/{}", "a".repeat(254));
    for text in [
        "",
        "a",
        "Role/a",
        "ClusterRole/",
        "ClusterRole/..",
        "a/b/ClusterRole/c",
        "Shop/ClusterRole/a",
        &long,
    ] {
        assert!(text.parse::<ClusterObject>().is_err(), "{text}");
    }
}

#[test]
fn other_namespaces_test_hooks_and_too_many_objects_are_refused() {
    let refusal = |hooks: &[Hook], terms: &Terms<'_>| arranged(hooks, terms, |_| Found::Missing).unwrap_err();
    let mut far = hooks();
    let subjects = json!([{"kind": "ServiceAccount", "name": "migrate", "namespace": "shop"}]);
    far.push(object(
        RBAC,
        "RoleBinding",
        json!({"name": "far", "namespace": "kube-system"}),
        json!({"subjects": subjects, "roleRef": {"kind": "Role", "name": "far"}}),
    ));
    let near = arranged(&hooks(), &TERMS, |_| Found::Missing);
    assert_eq!(arranged(&far, &TERMS, |_| Found::Missing), near, "Helm leaves it");
    if let Some(far) = far.last_mut() {
        far.delete_policies = vec!["hook-succeeded".to_owned()];
    }
    assert_eq!(arranged(&far, &TERMS, |_| Found::Missing), near, "nothing is created in another namespace");

    let mut tests = hooks();
    tests[2].events = vec!["pre-upgrade".to_owned(), "test".to_owned()];
    assert_eq!(refusal(&tests, &TERMS).reason, Reason::HookNotVerified);
    assert!(arranged(&tests, &Terms { uncovered: Uncovered::All, ..TERMS }, |_| Found::Missing).is_ok());

    let mut many = hooks();
    let bindings = |n: usize| {
        let role_ref = json!({"kind": "Role", "name": "migrate"});
        let rest = json!({"subjects": subjects, "roleRef": role_ref});
        object(RBAC, "RoleBinding", json!({"name": format!("b{n}")}), rest)
    };
    many.extend((0..MAX_LOANS).map(bindings));
    assert!(refusal(&many, &TERMS).message.contains("more than the 64"));
}

/// The hooks, of a chart that has the config map once more: of these events, with this in it.

#[test]
fn labels_are_lent_as_kubernetes_reads_them_but_give_nobody_else_a_roles_rights() {
    let role = |labels: Value, rule: Value| {
        let metadata = json!({"name": "wide", "labels": labels, "annotations": {"owner": null}});
        let subjects = json!([{"kind": "ServiceAccount", "name": "migrate", "namespace": "shop"}]);
        let role_ref = json!({"kind": "ClusterRole", "name": "wide"});
        let binding = json!({"subjects": subjects, "roleRef": role_ref});
        let hooks = [
            object(RBAC, "RoleBinding", metadata.clone(), binding),
            object(RBAC, "ClusterRole", metadata, json!({"rules": [], "aggregationRule": rule})),
        ];
        let allowed = ["ClusterRole/wide".parse().unwrap()];
        arranged(&hooks, &Terms { cluster_objects: &allowed, ..TERMS }, |_| Found::Missing)
    };
    let loans = role(json!({"tier": null, "weight": 3}), json!(null)).unwrap();
    let metadata = |kind: Kind| {
        let loan = loans.iter().find(|loan| loan.object.kind == kind).unwrap();
        loan.manifest.value()["metadata"].clone()
    };
    let labels = &metadata(Kind::RoleBinding)["labels"];
    assert_eq!((&labels["tier"], &labels["weight"]), (&json!(""), &json!("3")));
    assert_eq!(metadata(Kind::ClusterRole)["annotations"]["owner"], "");
    // Another role could collect it by any label.
    assert_eq!(metadata(Kind::ClusterRole)["labels"], json!({keys::MANAGED_BY: keys::MANAGER}));
    let refusal = role(json!({}), json!({"clusterRoleSelectors": []})).unwrap_err();
    assert_eq!((refusal.reason, refusal.then), (Reason::ClosureRefused, Then::Fail));
    assert!(refusal.message.contains("collects the rules of other roles"), "{refusal}");
}

#[test]
fn a_job_says_what_it_borrows_and_nothing_else_is_believed() {
    let loans = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let borrowed = Borrowed::of(&loans).unwrap();
    let job = |text: &str| json!({"metadata": {"namespace": "shop", "annotations": {CLOSURE: text}}});
    assert_eq!(Borrowed::from_job(&job(&borrowed.to_text())), Some(borrowed.clone()));
    assert_eq!(Borrowed::of(&[]), None);
    for odd in ["", "7", "{}", r#"{"objects":[{"kind":"Node","name":"n"}]}"#] {
        assert_eq!(Borrowed::from_job(&job(odd)), None, "{odd}");
    }
    let elsewhere = r#"{"objects":[{"kind":"Secret","namespace":"kube-system","name":"root"},{"kind":"Role","namespace":"shop","name":"a/b"},
        {"kind":"ClusterRole","namespace":"shop","name":"admin"}]}"#;
    assert_eq!(Borrowed::from_job(&job(elsewhere)).unwrap().objects, []);
}

#[test]
fn a_loan_that_somebody_has_made_their_own_is_no_loan_any_more() {
    let loans = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let job = JobId { namespace: "shop", name: "run", uid: "u" };
    let mut made = loans[0].made_for(&job, &keys());
    made["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("shop");
    let found = Found::of(&loans[0].object, Some(&made["metadata"]), &keys());
    assert_eq!(found, Found::TakenOver { owners: vec!["u".into()] });
    assert!(!found.is_lent_to(Kind::ServiceAccount, &job));
    // What only says that it is one is none either.
    let claims = json!({"annotations": {CONTENT: "sha256:0"}});
    assert_eq!(Found::of(&loans[0].object, Some(&claims), &keys()), Found::Kept);
}

#[test]
fn an_object_that_only_says_that_it_was_lent_is_somebodys() {
    let loans = arranged(&hooks(), &TERMS, |_| Found::Missing).unwrap();
    let job = JobId { namespace: "shop", name: "run", uid: "u" };
    let made = loans[1].made_for(&job, &keys());
    let of = |object: &ObjectRef, metadata: &Value, keys: &Keys| Found::of(object, Some(metadata), keys);
    assert!(matches!(of(&loans[1].object, &made["metadata"], &keys()), Found::Lent { .. }));
    // Without a claim, with that of another object, or of another content, or of another key.
    let with = |key: &str, value: Value| {
        let mut forged = made["metadata"].clone();
        forged["annotations"][key] = value;
        forged
    };
    let others = loans[0].made_for(&job, &keys())["metadata"]["annotations"][CLAIM].clone();
    for forged in [with(CLAIM, json!("")), with(CLAIM, others), with(CONTENT, json!("sha256:0"))] {
        assert_eq!(of(&loans[1].object, &forged, &keys()), Found::Kept, "{forged}");
    }
    let others = Keys { current: Key::new(&[2; 32]).unwrap(), previous: None };
    assert_eq!(of(&loans[1].object, &made["metadata"], &others), Found::Kept);
    // While keys are changed, the one before counts.
    let rotated = Keys { previous: Some(keys().current), ..others };
    assert!(of(&loans[1].object, &made["metadata"], &rotated).is_lent_to(Kind::ConfigMap, &job));
    // What has no namespace is one Job's.
    let wide = ObjectRef { kind: Kind::ClusterRole, namespace: String::new(), name: "wide".into() };
    let claim = keys().claim_loan(&wide, "sha256:1", Some("shop/run/u"));
    let of_holder = |holder: &str| {
        of(&wide, &json!({"annotations": {CONTENT: "sha256:1", CLAIM: claim, HOLDER: holder}}), &keys())
    };
    assert!(of_holder("shop/run/u").is_lent_to(Kind::ClusterRole, &job));
    assert_eq!(of_holder("shop/run/v"), Found::Kept);
}

#[test]
fn a_network_policy_is_made_before_all_else_and_as_what_opens_the_network() {
    let selecting = |events: &[&str]| {
        let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]});
        let mut policy = object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"name": "migrate"}),
            json!({"spec": spec}),
        );
        policy.events = events.iter().map(|event| (*event).to_owned()).collect();
        policy
    };
    let with = |events: &[&str], terms: &Terms<'_>| {
        arranged(&[hooks(), vec![selecting(events)]].concat(), terms, |_| Found::Missing)
    };
    let loans = with(&["pre-upgrade"], &TERMS).unwrap();
    assert_eq!(names(&loans)[0], "NetworkPolicy/migrate");
    let made = loans[0].made_for(&JobId { namespace: "shop", name: "j", uid: "u" }, &keys());
    assert_eq!(made["spec"]["egress"], json!([{}]));
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], json!("u"));
    assert!(super::grants(&[loans[0].object.clone()]), "only what is the chart's may go through it");
    // One for another event is not missed, as Helm does not make it then either.
    assert!(!names(&with(&["post-install"], &TERMS).unwrap()).contains(&"NetworkPolicy/migrate".to_owned()));
    // As with rights: what Flux's digest does not cover may have been written by anybody.
    let terms = Terms { uncovered: Uncovered::WithoutRights, ..TERMS };
    let refusal = with(&["pre-upgrade", "test"], &terms).unwrap_err();
    assert!(
        refusal.reason == Reason::HookNotVerified && refusal.message.contains("NetworkPolicy"),
        "{refusal}"
    );
}
