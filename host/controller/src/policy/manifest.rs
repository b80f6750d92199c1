//! A *manifest* is a HookPolicy as it stands in a file, for those who ask its policy without a cluster, such as `hookhost plan`. It is
//! read by the code that reads the cluster's HookPolicies, and stricter: what the API server would reject is an error.

use hookhost_core::{Reason, Request};
use hookhost_helm::name;
use hookhost_helm::text::quote;
use hookhost_sandbox::Limits;
use kube::core::DynamicObject;
use kube::{CustomResourceExt, Resource};
use serde_json::Value;

use super::library::check_pin;
use super::module::Source;
use super::problem::Problem;
use super::wanted::{Component, Wanted};
use crate::crd::{Closure, FailurePolicy, HookPolicy, Mode};

/// A HookPolicy from a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    name: String,
    wanted: Wanted,
    component: Component,
}

/// What made a request match a HookPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The entries of `match` that fit, in words; empty where the policy matches all.
    pub by: Vec<String>,
    /// The selector of namespaces, which nobody without the namespace's labels can compare: it is taken to fit.
    pub assumed: Option<String>,
}

impl Manifest {
    /// Whether a document says that it is a HookPolicy.
    pub fn is_one(document: &Value) -> bool {
        document["kind"] == *HookPolicy::kind(&())
    }

    /// Reads a HookPolicy.
    ///
    /// # Errors
    /// What of it the API server or the controller would not take, by its path.
    pub fn read(document: &Value) -> Result<Manifest, Problem> {
        let invalid = |message: String| Problem::new(Reason::ValidationFailed, message);
        let (version, kind) = (HookPolicy::api_version(&()), HookPolicy::kind(&()));
        if document["apiVersion"] != *version || document["kind"] != *kind {
            return Err(invalid(format!(
                "it is no HookPolicy: apiVersion: {version} and kind: {kind} are expected"
            )));
        }
        let object: DynamicObject =
            serde_json::from_value(document.clone()).map_err(|error| invalid(error.to_string()))?;
        let wanted = Wanted::read(&object);
        let component = wanted.component.clone()?;
        if let Some(path) = unknown_field(document) {
            return Err(invalid(format!("HookPolicies have no field {path}")));
        }
        let name = object.metadata.name.unwrap_or_default();
        if !name::is_dns_subdomain(&name) {
            let (found, rule) = (quote(&name), name::DNS_SUBDOMAIN_RULE);
            return Err(invalid(format!("metadata.name: found {found}, expected {rule}")));
        }
        Ok(Manifest { name, wanted, component })
    }

    /// Its metadata.name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its policy's component is.
    pub fn module(&self) -> &Source {
        &self.component.source
    }

    /// The settings, as JSON.
    pub fn settings(&self) -> &str {
        &self.component.settings
    }

    /// What an evaluation may use.
    pub fn limits(&self) -> Limits {
        self.component.limits
    }

    /// Compares the SHA-256 of a component, as 64 hexadecimal digits, with the one that the HookPolicy wants, if it wants one.
    ///
    /// # Errors
    /// If it is another one.
    pub fn check_digest(&self, digest: &str) -> Result<(), Problem> {
        check_pin(digest, self.component.pin.as_deref())
    }

    /// Whether the policy's answer is only recorded.
    pub fn is_audit(&self) -> bool {
        self.wanted.mode == Mode::Audit
    }

    /// Whether a run goes on without the policy where it gives no answer.
    pub fn is_ignored_on_failure(&self) -> bool {
        self.wanted.failure_policy == FailurePolicy::Ignore
    }

    /// What it says of creating, for a run that matches, what Helm has deleted; none if nothing, or if it is only recorded.
    pub fn closure(&self) -> Option<Closure> {
        self.wanted.closure.filter(|_| !self.is_audit())
    }

    /// Whether it is asked about a request; none if not.
    pub fn matches(&self, request: &Request) -> Option<Matched> {
        let (matcher, assumed) = self.wanted.matcher.but_for_namespaces();
        matcher.matches(request, &super::Scope::default()).map(|by| Matched { by, assumed })
    }
}

/// Fields of every object beside those of its kind.
const COMMON: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

/// The path of the first field that a document has and the CRD has not.
fn unknown_field(document: &Value) -> Option<String> {
    let crd = serde_json::to_value(HookPolicy::crd()).unwrap_or_default();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut fields = document.as_object()?.iter().filter(|(key, _)| !COMMON.contains(&key.as_str()));
    fields.find_map(|(key, value)| match key.as_str() {
        "spec" => unknown_below("spec", value, schema),
        _ => Some(key.clone()),
    })
}

/// The same below a path, whose schema is this.
fn unknown_below(path: &str, value: &Value, schema: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match schema["properties"].get(key) {
                Some(schema) => unknown_below(&path, value, schema),
                // What may have any fields lists none.
                None => schema["properties"].is_object().then_some(path),
            }
        }),
        Value::Array(items) => items.iter().find_map(|item| unknown_below(path, item, &schema["items"])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(spec: Value) -> Value {
        json!({"apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy",
            "metadata": {"name": "short-migrations"}, "spec": spec})
    }

    #[track_caller]
    fn problem(document: &Value) -> String {
        let problem = Manifest::read(document).unwrap_err();
        assert_eq!(problem.reason, Reason::ValidationFailed);
        problem.message
    }

    #[test]
    fn a_file_is_read_as_the_controller_reads_the_cluster() {
        let spec = json!({
            "module": {"stock": "deadline-cap"}, "settings": {"otherwise": {"deadlineSeconds": {"atMost": 60}}},
            "match": {"organisations": ["acme"], "namespaceSelector": {"matchLabels": {"tier": "gold"}}},
            "mode": "Audit", "failurePolicy": "Ignore", "closure": "Allow",
        });
        let manifest = Manifest::read(&document(spec)).unwrap();
        assert_eq!(manifest.name(), "short-migrations");
        assert_eq!(manifest.module(), &Source::Stock("deadline-cap".into()));
        assert_eq!(manifest.settings(), r#"{"otherwise":{"deadlineSeconds":{"atMost":60}}}"#);
        assert!(manifest.is_audit() && manifest.is_ignored_on_failure());
        assert_eq!(manifest.closure(), None, "it is only recorded");
        let request =
            |organisation: &str| Request { organisation: organisation.into(), ..Request::default() };
        let matched = manifest.matches(&request("acme")).unwrap();
        assert_eq!(matched.by, ["organisation acme"]);
        assert_eq!(matched.assumed.as_deref(), Some("tier=gold"));
        assert_eq!(manifest.matches(&request("other")), None);
    }

    #[test]
    fn what_the_api_server_would_reject_is_named() {
        assert!(problem(&json!({"kind": "ConfigMap"})).contains("kind: HookPolicy"));
        let stock = json!({"module": {"stock": "deadline-cap"}});
        let mut misspelt = document(stock.clone());
        misspelt["spec"]["setings"] = json!({"a": 1});
        assert_eq!(problem(&misspelt), "HookPolicies have no field spec.setings");
        let mut nested = document(stock.clone());
        nested["spec"]["match"] = json!({"organizations": ["acme"]});
        assert_eq!(problem(&nested), "HookPolicies have no field spec.match.organizations");
        let mut unnamed = document(stock);
        unnamed["metadata"] = json!({});
        assert!(problem(&unnamed).starts_with("metadata.name: found \"\""));
        assert!(
            problem(&document(json!({"module": {}}))).contains("exactly one of stock, configMap and file")
        );
        let wrong = document(json!({"module": {"stock": "a"}, "mode": "Maybe"}));
        assert!(problem(&wrong).starts_with("spec.mode cannot be read: "), "{}", problem(&wrong));
    }

    #[test]
    fn every_example_is_a_manifest() {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");
        let mut read = 0;
        for entry in std::fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for document in hookhost_helm::yaml::read(&text).unwrap_or_default() {
                if Manifest::is_one(&document) {
                    Manifest::read(&document)
                        .unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
                    read += 1;
                }
            }
        }
        assert!(read >= 5, "only {read} examples");
    }

    #[test]
    fn an_empty_part_is_no_unknown_field() {
        let spec = json!({"module": {"stock": "a"}, "settings": {}, "match": {"hooks": []}, "limits": {}});
        let mut document = document(spec);
        document["status"] = json!({"conditions": []});
        assert!(Manifest::read(&document).is_ok());
    }
}
