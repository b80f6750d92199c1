//! *Testing* a policy natively: requests to test with, settings as JSON, the checked-in schema.
//!
//! ```
//! use hook_policy::testing::{self, request};
//! # use hook_policy::{Decision, NoSettings, Policy, Request};
//! # struct OneHour;
//! # impl Policy for OneHour {
//! #     type Settings = NoSettings;
//! #     fn evaluate(_: &Request, _: &NoSettings) -> Decision { Decision::allow().deadline_at_most(3600) }
//! # }
//! let request = request().organisation("acme").hook("db-migrate").events(["pre-upgrade"]).build();
//! let decision = testing::evaluate::<OneHour>(&request, serde_json::json!({}));
//! assert_eq!(decision, Decision::allow().deadline_at_most(3600));
//! ```

mod contract;

pub use contract::check;
use serde_json::{Value, json};

use crate::bindings::vworkspace::hook_policy::types::{
    ClosureObject, Container, Decision, Entry, Hook, Numbers, Operation, RbacRule, Release, Request, RoleRef,
    SettingsError, Subject, Target,
};
use crate::guest;
use crate::policy::Policy;

/// A builder of a request: a migration of a chart "shop", from which a test changes what it is about.
pub fn request() -> RequestBuilder {
    // 2026-03-01T12:00:00Z, a Sunday: a fixed time, since tests must not depend on the day they run.
    const NOW: i64 = 1_772_366_400;
    RequestBuilder(Request {
        operation: Operation {
            name: "migrate-shop".into(),
            namespace: "acme-shop".into(),
            uid: "4f6a0c1e-0000-4000-8000-000000000001".into(),
            type_of: "Migration".into(),
            created: NOW,
            parameters: "{}".into(),
            ..Operation::default()
        },
        target: Target { kind: "ApplicationInstance".into(), name: "shop".into(), ..Target::default() },
        organisation: "acme".into(),
        cluster_id: "cluster-1".into(),
        release: Release {
            name: "shop".into(),
            namespace: "acme-shop".into(),
            revision: 3,
            chart: "shop".into(),
            chart_version: "1.4.0".into(),
            app_version: Some("2.0.1".into()),
            first_deployed: Some(NOW - 86_400),
            last_deployed: Some(NOW - 3600),
        },
        hook: Hook {
            name: "shop-migrate".into(),
            kind: "Job".into(),
            events: vec!["pre-upgrade".into()],
            service_account: "default".into(),
            manifest: "{}".into(),
            ..Hook::default()
        },
        requested: Numbers::default(),
        now: NOW,
    })
}

/// Builds a request. What has no method is a field of the [`Request`] that [`RequestBuilder::build`] gives.
#[derive(Clone, Debug)]
#[must_use]
pub struct RequestBuilder(Request);

impl RequestBuilder {
    /// The request.
    pub fn build(self) -> Request {
        self.0
    }

    /// The organisation.
    pub fn organisation(mut self, name: &str) -> Self {
        self.0.organisation = name.into();
        self
    }

    /// The Operation's type, for example "Backup".
    pub fn operation_type(mut self, name: &str) -> Self {
        self.0.operation.type_of = name.into();
        self
    }

    /// Adds a label to the Operation.
    pub fn operation_label(mut self, key: &str, value: &str) -> Self {
        insert(&mut self.0.operation.labels, key, value);
        self
    }

    /// Adds an annotation to the Operation.
    pub fn operation_annotation(mut self, key: &str, value: &str) -> Self {
        insert(&mut self.0.operation.annotations, key, value);
        self
    }

    /// Adds a label to the target.
    pub fn target_label(mut self, key: &str, value: &str) -> Self {
        insert(&mut self.0.target.labels, key, value);
        self
    }

    /// The Operation's parameters, a JSON object.
    pub fn parameters(mut self, parameters: Value) -> Self {
        self.0.operation.parameters = parameters.to_string();
        self
    }

    /// The chart's name.
    pub fn chart(mut self, name: &str) -> Self {
        self.0.release.chart = name.into();
        self
    }

    /// The hook's name.
    pub fn hook(mut self, name: &str) -> Self {
        self.0.hook.name = name.into();
        self
    }

    /// The hook's events.
    pub fn events<const N: usize>(mut self, events: [&str; N]) -> Self {
        self.0.hook.events = events.map(String::from).into();
        self
    }

    /// Adds a container to the hook's pod.
    pub fn container(mut self, name: &str, image: &str) -> Self {
        self.0.hook.containers.push(Container { name: name.into(), image: image.into(), init: false });
        self
    }

    /// Adds an init container to the hook's pod.
    pub fn init_container(mut self, name: &str, image: &str) -> Self {
        let at = self.0.hook.containers.iter().take_while(|container| container.init).count();
        self.0.hook.containers.insert(at, Container { name: name.into(), image: image.into(), init: true });
        self
    }

    /// Adds an object to the hook's closure; rules are for a Role or ClusterRole. It is in the release's namespace,
    /// unless its kind has none.
    pub fn needs(mut self, kind: &str, name: &str, rules: Vec<RbacRule>) -> Self {
        let object = ClosureObject { rules, ..self.object(kind, name) };
        self.0.hook.closure.push(object);
        self
    }

    /// Adds a RoleBinding or ClusterRoleBinding to the hook's closure, with the kind and name of the role that it
    /// refers to.
    ///
    /// ```
    /// # use hook_policy::testing::{request, subject};
    /// let own = subject("ServiceAccount", "shop", "acme-shop");
    /// let request = request().binds("RoleBinding", "shop", ("ClusterRole", "view"), [own]).build();
    /// assert_eq!(request.hook.closure[0].namespace, "acme-shop");
    /// ```
    pub fn binds<const N: usize>(
        mut self,
        kind: &str,
        name: &str,
        role: (&str, &str),
        subjects: [Subject; N],
    ) -> Self {
        let role_ref = Some(RoleRef { kind: role.0.into(), name: role.1.into() });
        let object = ClosureObject { role_ref, subjects: subjects.into(), ..self.object(kind, name) };
        self.0.hook.closure.push(object);
        self
    }

    fn object(&self, kind: &str, name: &str) -> ClosureObject {
        let (api_version, namespaced) = match kind {
            "ClusterRole" | "ClusterRoleBinding" => ("rbac.authorization.k8s.io/v1", false),
            "Role" | "RoleBinding" => ("rbac.authorization.k8s.io/v1", true),
            "NetworkPolicy" => ("networking.k8s.io/v1", true),
            _ => ("v1", true),
        };
        ClosureObject {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.into(),
            namespace: if namespaced { self.0.release.namespace.clone() } else { String::new() },
            ..ClosureObject::default()
        }
    }

    /// The hook's whole manifest.
    pub fn manifest(mut self, manifest: Value) -> Self {
        self.0.hook.manifest = manifest.to_string();
        self
    }

    /// When the decision is asked for: seconds since 1970-01-01T00:00:00Z.
    pub fn now(mut self, seconds: i64) -> Self {
        self.0.now = seconds;
        self
    }
}

fn insert(entries: &mut Vec<Entry>, key: &str, value: &str) {
    entries.push(Entry { key: key.into(), value: value.into() });
    entries.sort_by(|a, b| a.key.cmp(&b.key));
}

/// A rule of a Role, for [`RequestBuilder::needs`].
pub fn rbac_rule<const G: usize, const R: usize, const V: usize>(
    api_groups: [&str; G],
    resources: [&str; R],
    verbs: [&str; V],
) -> RbacRule {
    RbacRule {
        api_groups: api_groups.map(String::from).into(),
        resources: resources.map(String::from).into(),
        verbs: verbs.map(String::from).into(),
        ..RbacRule::default()
    }
}

/// One of those to whom a binding gives its role, for [`RequestBuilder::binds`]; the namespace is for a service account.
pub fn subject(kind: &str, name: &str, namespace: &str) -> Subject {
    Subject { kind: kind.into(), name: name.into(), namespace: namespace.into() }
}

/// What the policy says to settings, as the host would ask.
///
/// # Errors
/// Those the policy finds.
pub fn validate<P: Policy>(settings: Value) -> Result<(), Vec<SettingsError>> {
    guest::settings::<P>(&settings.to_string()).map(drop)
}

/// What the policy decides, as the host would ask: settings are validated first, and the answer is held to the contract's limits
/// ([`check`]).
///
/// # Panics
/// If the policy refuses the settings, or answers what a host rejects; the message is the host's.
#[expect(clippy::panic, reason = "an assertion")]
pub fn evaluate<P: Policy>(request: &Request, settings: Value) -> Decision {
    let decision = match guest::settings::<P>(&settings.to_string()) {
        Ok(settings) => P::evaluate(request, &settings),
        Err(errors) => panic!("the policy refuses these settings: {errors:#?}"),
    };
    if let Err(problem) = check(&decision) {
        panic!("{problem}");
    }
    decision
}

/// Asserts that a checked-in schema is the one that the policy's types give, so that a change of settings shows in
/// review. `file` is its whole path. To write it anew, run the test with `UPDATE_SCHEMA=1`.
///
/// # Panics
/// If it is not.
#[expect(clippy::panic, reason = "an assertion")]
pub fn assert_settings_schema<P: Policy>(file: &str) {
    let schema = guest::settings_schema::<P>();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        if let Err(error) = std::fs::write(file, format!("{schema:#}\n")) {
            panic!("cannot write {file}: {error}");
        }
        return;
    }
    let found = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    if found != Some(schema) {
        panic!("{file} is not the schema of the settings; to write it anew: UPDATE_SCHEMA=1 cargo test");
    }
}

/// The smallest manifest of a Job with this pod specification.
pub fn job(pod_spec: Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": {"spec": pod_spec}}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::NoSettings;

    /// Labels a run with what somebody wrote into an annotation.
    struct Unchecked;

    impl Policy for Unchecked {
        type Settings = NoSettings;

        fn evaluate(request: &Request, _: &NoSettings) -> Decision {
            Decision::allow().label("owner", request.operation.annotation("owner").unwrap_or_default())
        }
    }

    #[test]
    #[should_panic(
        expected = "the policy's answer breaks the contract: at allow.labels[\"owner\"]: found \"Ada Lovelace\", expected a label value"
    )]
    fn an_answer_that_a_host_rejects_fails_the_test_in_the_hosts_words() {
        let request = request().operation_annotation("owner", "Ada Lovelace").build();
        evaluate::<Unchecked>(&request, json!({}));
    }

    #[test]
    fn an_answer_within_the_contract_is_returned() {
        let request = request().operation_annotation("owner", "ada").build();
        assert_eq!(evaluate::<Unchecked>(&request, json!({})), Decision::allow().label("owner", "ada"));
    }
}
