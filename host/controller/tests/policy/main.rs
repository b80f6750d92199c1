//! HookPolicies as their owners see them: real components in the real sandbox, on an API server that can be made to fail.

// Helpers of tests are tests: clippy's own exception is for functions marked #[test] only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod deciding;
mod following;
#[allow(dead_code)] // the sandbox's tests use more of it
#[path = "../../../sandbox/tests/sandbox/guest.rs"]
mod guest;

use std::collections::BTreeMap;
use std::sync::Arc;

use hookhost_cluster::lease::Claim;
use hookhost_cluster::writer::Writer;
use hookhost_controller::metrics::Metrics;
use hookhost_controller::policy::{Decided, Options, Policies, Scope, Undecided};
use hookhost_core::Request;
use hookhost_sandbox::{Compiler, Sandbox};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use cluster::Cluster;
use guest::Guest;

/// hookhost's policies, followed from a cluster.
struct Host {
    policies: Arc<Policies>,
    _running: AbortOnDropHandle<()>,
}

impl Host {
    /// Follows the cluster, and waits until all its policies are known.
    async fn start(cluster: Arc<Cluster>) -> Host {
        Host::start_with(cluster, Options::default()).await
    }

    async fn start_with(cluster: Arc<Cluster>, options: Options) -> Host {
        let compiler = Compiler::new(env!("CARGO_BIN_EXE_hookhost-controller-compile-policy"), [""; 0]);
        let host = Host::start_compiling(cluster, options, compiler);
        host.policies.ready().await;
        host
    }

    fn start_compiling(cluster: Arc<Cluster>, options: Options, compiler: Compiler) -> Host {
        let sandbox = Sandbox::unpooled(compiler).unwrap();
        let policies = Arc::new(Policies::new(Arc::new(sandbox), options));
        let (connection, metrics) = (cluster.connection(), Metrics::new());
        let writer = Writer::new(Claim::without_lease(), metrics.clone());
        let run = Arc::clone(&policies).run(connection, writer, metrics, CancellationToken::new());
        Host { policies, _running: AbortOnDropHandle::new(tokio::spawn(run)) }
    }

    fn decide(&self) -> Result<Decided, Undecided> {
        self.decide_for(&request("migrate"))
    }

    fn decide_for(&self, request: &Request) -> Result<Decided, Undecided> {
        let namespace_labels = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
        self.policies.decide(request, &Scope { namespace_labels, ..Scope::default() })
    }

    /// Waits until the policies say something that will do.
    async fn until(&self, is_it: impl Fn(&Result<Decided, Undecided>) -> bool) -> Result<Decided, Undecided> {
        let mut changed = self.policies.changed();
        loop {
            changed.borrow_and_update();
            let decided = self.decide();
            if is_it(&decided) {
                return decided;
            }
            changed.changed().await.unwrap();
        }
    }
}

fn request(hook: &str) -> Request {
    let mut request = Request { organisation: "acme".into(), ..Request::default() };
    (request.operation.namespace, request.operation.name) = ("org-acme".into(), "run-1".into());
    (request.hook.name, request.hook.events) = (hook.into(), vec!["pre-upgrade".into()]);
    request.release.chart = "nextcloud".into();
    request
}

/// A component that allows everything.
fn allowing() -> Vec<u8> {
    Guest::new().build()
}

/// A component that denies everything, because it is too late.
fn denying() -> Vec<u8> {
    let words = guest::strings(&[(5000, 7), (5007, 3)], 8);
    Guest::new()
        .with(r#"(data (i32.const 5000) "TooLateno!")"#)
        .evaluate(&(guest::number(0, 8, 1) + &words))
        .build()
}

/// A component that fails whenever it is asked for a decision.
fn trapping() -> Vec<u8> {
    Guest::new().evaluate("unreachable").build()
}

/// A spec whose component is a key of the ConfigMap "hookhost/policies".
fn spec(key: &str) -> Value {
    json!({"module": {"configMap": {"namespace": "hookhost", "name": "policies", "key": key}}})
}

/// The same with more fields.
fn spec_with(key: &str, fields: Value) -> Value {
    let mut spec = spec(key);
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}
