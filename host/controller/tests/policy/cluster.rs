//! An API server of two kinds, HookPolicies and ConfigMaps, that counts what it is asked and can be made to fail.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use hookhost_cluster::client::Connection;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

const POLICIES: &str = "/apis/policy.vworkspace.io/v1alpha1/hookpolicies";

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// The API server.
pub(crate) struct Cluster {
    state: Mutex<State>,
    /// Grows with each change of a policy, so that tests can wait for one.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    policies: BTreeMap<String, Value>,
    /// binaryData of the ConfigMap "hookhost/policies"; none: there is no such ConfigMap.
    modules: Option<BTreeMap<String, Vec<u8>>>,
    /// What reading a ConfigMap ends with instead.
    failure: Option<StatusCode>,
    watchers: Vec<UnboundedSender<Bytes>>,
    version: u64,
    asked: Vec<String>,
}

impl Cluster {
    /// A cluster with a ConfigMap of these modules.
    pub(crate) fn new<const N: usize>(modules: [(&str, Vec<u8>); N]) -> Arc<Cluster> {
        let cluster = Cluster { state: Mutex::default(), changes: watch::Sender::new(0) };
        for (key, wasm) in modules {
            cluster.put_module(key, wasm);
        }
        Arc::new(cluster)
    }

    /// A client of it.
    pub(crate) fn connection(self: &Arc<Self>) -> Connection {
        let cluster = Arc::clone(self);
        let service = tower::service_fn(move |request| {
            let cluster = Arc::clone(&cluster);
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        });
        Connection::of_client(kube::Client::new(service, "default"), "default")
    }

    pub(crate) fn put_module(&self, key: &str, wasm: Vec<u8>) {
        self.state.lock().unwrap().modules.get_or_insert_default().insert(key.into(), wasm);
    }

    pub(crate) fn fail_modules(&self, failure: Option<StatusCode>) {
        self.state.lock().unwrap().failure = failure;
    }

    /// Creates a HookPolicy, or gives it a new spec.
    pub(crate) fn apply(&self, name: &str, spec: Value) {
        self.change(name, |policy| {
            policy["spec"] = spec;
            let generation = policy["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            policy["metadata"]["generation"] = json!(generation);
        });
    }

    pub(crate) fn annotate(&self, name: &str, value: &str) {
        self.change(name, |policy| policy["metadata"]["annotations"] = json!({"look": value}));
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        let policy = state.policies.remove(name).unwrap();
        state.send("DELETED", &policy);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version.to_string();
        let mut policy = state.policies.get(name).cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy",
                "metadata": {"name": name, "uid": format!("{name}-{version}")},
            })
        });
        change(&mut policy);
        policy["metadata"]["resourceVersion"] = json!(version);
        state.policies.insert(name.into(), policy.clone());
        state.send("MODIFIED", &policy);
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
        policy
    }

    /// Waits until a HookPolicy's status will do.
    pub(crate) async fn until(&self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let status = self.state.lock().unwrap().policies[name]["status"].clone();
            if is_it(&status) {
                return status;
            }
            changes.changed().await.unwrap();
        }
    }

    /// Waits until a condition of a HookPolicy has a reason; gives back the condition.
    pub(crate) async fn condition(&self, name: &str, type_: &str, reason: &str) -> Value {
        let find = |status: &Value| {
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            conditions.into_iter().find(|condition| condition["type"] == type_)
        };
        let fits = |status: &Value| find(status).is_some_and(|condition| condition["reason"] == reason);
        find(&self.until(name, fits).await).unwrap()
    }

    /// How often something was asked whose method and path begin so.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        self.state.lock().unwrap().asked.push(format!("{} {path}", parts.method));
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let policy =
            path.strip_prefix(POLICIES).and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/status"));
        match (&parts.method, policy) {
            (&Method::GET, _) if path == POLICIES && is_watch => self.watch(),
            (&Method::GET, _) if path == POLICIES => self.list(),
            (&Method::PATCH, Some(name)) => {
                let bytes = body.collect().await.unwrap().to_bytes();
                let patch: Value = serde_json::from_slice(&bytes).unwrap();
                json_answer(&self.change(name, |policy| merge(&mut policy["status"], &patch["status"])))
            }
            (&Method::GET, _) if path == "/api/v1/namespaces/hookhost/configmaps/policies" => {
                self.config_map()
            }
            _ => failure(StatusCode::NOT_FOUND, path),
        }
    }

    fn list(&self) -> Response<Answer> {
        let state = self.state.lock().unwrap();
        let items: Vec<&Value> = state.policies.values().collect();
        json_answer(&json!({
            "apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicyList",
            "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
        }))
    }

    fn watch(&self) -> Response<Answer> {
        let (sender, receiver) = unbounded();
        self.state.lock().unwrap().watchers.push(sender);
        let frames = receiver.map(|line| Ok::<_, Infallible>(Frame::data(line)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    fn config_map(&self) -> Response<Answer> {
        let state = self.state.lock().unwrap();
        if let Some(code) = state.failure {
            return failure(code, "policies");
        }
        let Some(modules) = &state.modules else { return failure(StatusCode::NOT_FOUND, "policies") };
        let data: BTreeMap<_, _> =
            modules.iter().map(|(key, wasm)| (key.clone(), k8s_openapi::ByteString(wasm.clone()))).collect();
        json_answer(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "policies", "namespace": "hookhost"},
            "binaryData": data,
        }))
    }
}

impl State {
    fn send(&mut self, kind: &str, policy: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": policy}));
        self.watchers.retain(|watcher| watcher.unbounded_send(line.clone().into()).is_ok());
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *target = patch.clone() };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => _ = target.as_object_mut().unwrap().remove(key),
            value => merge(&mut target[key], value),
        }
    }
}

fn json_answer(value: &Value) -> Response<Answer> {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync())
}

fn failure(code: StatusCode, name: &str) -> Response<Answer> {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "ServiceUnavailable" };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "not now", "reason": reason,
        "code": code.as_u16(), "details": {"name": name},
    });
    let mut answer = json_answer(&status);
    *answer.status_mut() = code;
    answer
}
