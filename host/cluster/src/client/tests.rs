//! Errors as a user sees them, and what the writer sends.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::Status;
use kube::core::response::StatusDetails;
use tokio::time::Instant;

use super::*;
use crate::lease::Claim;
use crate::observe::{Observe, WriteOutcome};
use crate::writer::Writer;

fn create_job() -> Call {
    Call::new::<Job>(Verb::Create, Some("apps"), "migrate")
}

fn refused(code: u16, reason: &str, message: &str, name: &str) -> Error {
    let mut status = Status::failure(message, reason).with_code(code);
    if !name.is_empty() {
        let details: StatusDetails = serde_json::from_value(serde_json::json!({ "name": name })).unwrap();
        status = status.with_details(details);
    }
    Error::explain(&create_job(), kube::Error::Api(status.boxed()))
}

#[test]
fn what_rbac_forbids_names_the_rule_that_is_missing() {
    let error = refused(403, "Forbidden", "jobs.batch is forbidden: User \"x\" cannot create", "migrate");
    assert_eq!(
        error.to_string(),
        "may not create jobs.batch apps/migrate: jobs.batch is forbidden: User \"x\" cannot create"
    );
    assert_eq!(error.reason().as_str(), "AccessForbidden");
    assert!(error.advice().contains(
        r#"a Role in namespace apps: apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"]"#
    ));
    let status = Call::new::<Namespace>(Verb::Patch, None, "a").subresource("status");
    assert_eq!(status.rule(), r#"apiGroups: [""], resources: ["namespaces/status"], verbs: ["patch"]"#);
}

#[test]
fn what_admission_denies_is_reported_as_such_whatever_code_it_chose() {
    for (code, reason, message) in [
        (403, "Forbidden", "admission webhook \"a.example.com\" denied the request: not on Fridays"),
        (400, "", "admission webhook \"a.example.com\" denied the request without explanation"),
        (409, "Conflict", "admission webhook \"a.example.com\" denied the request: not on Fridays"),
        (
            500,
            "InternalError",
            "Internal error occurred: admission webhook \"a.example.com\" denied the request: no",
        ),
        (
            403,
            "Forbidden",
            "jobs.batch \"migrate\" is forbidden: admission webhook \"a.example.com\" denied the request: no",
        ),
        (
            422,
            "Invalid",
            "jobs.batch \"migrate\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        ),
        (
            401,
            "Unauthorized",
            "jobs.batch \"migrate\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no",
        ),
        (
            403,
            "Forbidden",
            "jobs.batch \"migrate\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1",
        ),
    ] {
        let error = refused(code, reason, message, "migrate");
        assert_eq!(error.reason().as_str(), "AdmissionDenied", "{code} {message}");
        assert_eq!(
            error.to_string(),
            format!("cannot create jobs.batch apps/migrate: admission denies it: {message}")
        );
        assert!(!error.advice().contains("RBAC") && !error.advice().contains("verbs"), "{}", error.advice());
        assert!(!error.is_transient(), "it is not asked again at once");
    }
}

#[test]
fn what_an_object_quotes_or_an_authorizer_says_is_no_denial_of_admission() {
    let quoted = "admission webhook \"w\" denied the request: x is forbidden: ValidatingAdmissionPolicy 'p'";
    for (code, reason, message, expected) in [
        (
            422,
            "Invalid",
            format!("Job.batch \"migrate\" is invalid: metadata.labels: Invalid value: \"{quoted}\""),
            "ApiRejected",
        ),
        (403, "Forbidden", "jobs.batch \"a\" is forbidden: User \"x\" cannot patch".into(), "AccessForbidden"),
        (403, "Forbidden", "forbidden: User \"system:anonymous\" cannot get path \"/\"".into(), "AccessForbidden"),
        (
            403,
            "Forbidden",
            "roles.rbac.authorization.k8s.io \"a\" is forbidden: user \"x\" (groups=[\"y\"]) is attempting to grant RBAC \
             permissions not currently held"
                .into(),
            "AccessForbidden",
        ),
        (
            403,
            "Forbidden",
            "jobs.batch \"a\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't \
             set finalizers on"
                .into(),
            "AccessForbidden",
        ),
        (
            500,
            "InternalError",
            "Internal error occurred: failed calling webhook \"w\": denied the request".into(),
            "ClusterUnreachable",
        ),
    ] {
        let error = refused(code, reason, &message, "migrate");
        assert_eq!(error.reason().as_str(), expected, "{message}");
    }
}

#[test]
fn a_kind_without_its_crd_is_told_from_an_object_that_is_not_there() {
    for (reason, message) in [
        ("NotFound", "the server could not find the requested resource"),
        ("Failed to parse error data", "404 page not found"),
    ] {
        let error = refused(404, reason, message, "");
        assert_eq!(
            error.to_string(),
            "cannot create jobs.batch apps/migrate: the cluster has no jobs.batch",
            "{error:?}"
        );
        assert_eq!(error.reason().as_str(), "CrdMissing");
    }
    let error = refused(404, "NotFound", "namespaces \"apps\" not found", "apps");
    assert_eq!(error.to_string(), "cannot create jobs.batch apps/migrate: namespaces \"apps\" not found");
    assert!(matches!(error, Error::NotFound { .. }));
}

#[test]
fn each_group_says_how_its_kinds_are_installed() {
    assert!(error::install("ops.vworkspace.io").contains("hookhost crds | kubectl apply"));
    assert!(error::install("helm.toolkit.fluxcd.io").contains("Flux"));
    assert!(error::install("batch").contains("1.33"));
}

#[test]
fn a_name_that_is_taken_is_not_a_conflict_of_versions() {
    assert!(matches!(refused(409, "AlreadyExists", "taken", "migrate"), Error::AlreadyExists { .. }));
    let conflict = refused(409, "Conflict", "changed", "migrate");
    assert!(matches!(conflict, Error::Conflict { .. }) && conflict.is_transient());
}

#[test]
fn a_patch_of_another_object_than_there_is_by_now_is_a_conflict() {
    // As the API server answers where metadata.uid is another: see claims.rs of the end-to-end tests.
    let invalid = |fields: &[&str]| {
        let causes: Vec<_> = fields
            .iter()
            .map(|field| serde_json::json!({"reason": "FieldValueInvalid", "field": field}))
            .collect();
        let details =
            serde_json::from_value(serde_json::json!({"name": "hookhost", "causes": causes})).unwrap();
        let status = Status::failure("it is invalid", "Invalid").with_code(422).with_details(details);
        Error::explain(&create_job(), kube::Error::Api(status.boxed()))
    };
    assert!(matches!(invalid(&["metadata.uid"]), Error::Conflict { .. }));
    for fields in [&[][..], &["spec.template"], &["metadata.uid", "spec.template"]] {
        assert!(matches!(invalid(fields), Error::Rejected { code: 422, .. }), "{fields:?}");
    }
}

#[test]
fn a_busy_server_says_when_to_ask_again() {
    let details: StatusDetails =
        serde_json::from_value(serde_json::json!({ "retryAfterSeconds": 3 })).unwrap();
    let status = Status::failure("slow down", "TooManyRequests").with_code(429).with_details(details);
    match Error::explain(&create_job(), kube::Error::Api(status.boxed())) {
        Error::Busy { retry_after, .. } => assert_eq!(retry_after, Some(Duration::from_secs(3))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_webhooks_words_are_cut_and_cannot_steer_a_terminal() {
    let error = refused(422, "Invalid", &format!("\u{1b}[31m{}", "é".repeat(4000)), "migrate");
    let shown = error.to_string();
    assert!(shown.len() < 2200 && shown.ends_with('…') && !shown.contains('\u{1b}'), "{shown}");
    assert!(!error.is_transient());
}

#[test]
fn calls_read_like_kubectl() {
    let list = Call::new::<ConfigMap>(Verb::List, Some("apps"), "");
    assert_eq!(list.to_string(), "list configmaps in namespace apps");
    assert_eq!(Call::new::<Job>(Verb::Watch, None, "").to_string(), "watch jobs.batch");
    let status = Call::new::<Job>(Verb::Patch, Some("apps"), "a").subresource("status");
    assert_eq!(status.to_string(), "patch jobs.batch/status apps/a");
    assert_eq!(Call::new::<Namespace>(Verb::Get, None, "a\nb").to_string(), "get namespaces a b");
}

#[tokio::test]
async fn a_name_that_would_make_it_another_request_is_not_sent() {
    let never = || async { panic!("must not be sent") };
    for (namespace, name) in [
        ("apps", "../secrets/x"),
        ("apps", "x?watch=1"),
        ("apps", "x/log"),
        ("apps", "x%2f"),
        ("apps", "x\n"),
        ("apps", ".."),
        ("kube-system/secrets/x?", "y"),
        ("", "y"),
    ] {
        let call = Call::new::<ConfigMap>(Verb::Get, Some(namespace), name);
        let error = read::<()>(&call, never()).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{namespace} {name}: {error}");
    }
    for name in ["migrate-1.b", "system:node", "", "UPPER_case"] {
        let call = Call::new::<ConfigMap>(Verb::Get, Some("apps"), name);
        assert!(read(&call, async { Ok(()) }).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn an_address_that_nobody_listens_at_is_named_with_its_cause() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connection = Connection::new(Config::new(format!("http://{nobody}").parse().unwrap())).unwrap();
    let jobs = kube::Api::<Job>::namespaced(connection.requests, "apps");
    let call = Call::new::<Job>(Verb::Get, Some("apps"), "migrate");
    let error = read(&call, jobs.get("migrate")).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get jobs.batch apps/migrate: no answer from the API server");
    let mut chain = String::new();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        chain.push_str(&format!("{error}: "));
        cause = error.source();
    }
    assert!(chain.contains("refused"), "{chain}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_kubeconfig_that_is_named_is_used_or_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let options = ConnectionOptions { kubeconfig: Some(file.clone()), ..Default::default() };
    let missing = options.connect().await.unwrap_err();
    assert_eq!(missing.to_string(), format!("the kubeconfig {} cannot be used", file.display()));

    std::fs::write(
        &file,
        "{apiVersion: v1, kind: Config, current-context: one,
          clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}],
          contexts: [{name: one, context: {cluster: c, user: u, namespace: apps}},
                     {name: two, context: {cluster: c, user: u}}]}",
    )
    .unwrap();
    assert_eq!(options.connect().await.unwrap().namespace, "apps");
    let two = ConnectionOptions { context: Some("two".into()), ..options.clone() };
    assert_eq!(two.connect().await.unwrap().namespace, "default");
    let own = ConnectionOptions { namespace: Some("mine".into()), ..options.clone() };
    assert_eq!(own.connect().await.unwrap().namespace, "mine");

    let three = ConnectionOptions { context: Some("three".into()), ..options };
    let error = three.connect().await.unwrap_err();
    assert_eq!(
        (error.to_string(), error.advice()),
        (format!("the kubeconfig {} has no context \"three\"", file.display()), "It has one and two.".into())
    );
}

/// What an observer sees.
#[derive(Clone, Debug, Default)]
struct Seen(std::sync::Arc<std::sync::Mutex<Vec<(String, WriteOutcome)>>>);

impl Observe for Seen {
    fn write(&self, call: &Call, outcome: WriteOutcome) {
        let what = format!("{} {}", call.verb().as_str(), call.resource());
        self.0.lock().unwrap().push((what, outcome));
    }

    fn leads(&self, _: bool) {}
}

#[tokio::test(start_paused = true)]
async fn a_write_is_sent_only_while_leading_and_given_up_when_the_lease_lapses() {
    let (state, claim) = Claim::scripted();
    let seen = Seen::default();
    let writer = Writer::new(claim, seen.clone());
    let call = create_job();
    let never = async { panic!("must not be sent") };
    assert!(matches!(writer.send::<()>(&call, never).await, Err(Error::NotLeader(_))));

    state.lead(Instant::now() + Duration::from_secs(5));
    assert!(writer.send(&call, async { Ok(7) }).await.is_ok_and(|answer| answer == 7));

    let started = Instant::now();
    let stuck = writer.send::<()>(&call, std::future::pending());
    assert!(matches!(stuck.await, Err(Error::NotLeader(_))));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(writer.guard(), Err(NotLeader));

    // Renewed in time, a slow write goes on until its own limit.
    state.lead(Instant::now() + Duration::from_secs(60));
    assert!(matches!(writer.send::<()>(&call, std::future::pending()).await, Err(Error::TimedOut { .. })));

    let expected = [WriteOutcome::Ok, WriteOutcome::Unanswered, WriteOutcome::Unanswered];
    assert_eq!(*seen.0.lock().unwrap(), expected.map(|outcome| ("create jobs".to_owned(), outcome)));
}
