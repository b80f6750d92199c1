//! The *applier* of a release is the service account as which Flux applies it, where it does not do so with its own rights
//! (`spec.serviceAccountName` of the HelmRelease, or `--default-service-account` of helm-controller).
//!
//! Whoever writes HelmReleases under such a rule gets from Flux what that account may do, and no more. hookhost has rights of its
//! own, so it asks the API server, by a review for each resource, whether the account could create what it is about to create.
//! Flux stores hooks that it never applied (of `pre-delete`, for example), so that the release is installed proves nothing.

use super::ObjectName;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::quote;

/// What Kubernetes calls a service account as a user.
const USER: &str = "system:serviceaccount:";
/// The group of all service accounts, and, with a namespace after it, of those of that namespace.
const ACCOUNTS: &str = "system:serviceaccounts";
/// The group of everybody who is known.
const AUTHENTICATED: &str = "system:authenticated";

/// The service account as which Flux applies a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applier {
    /// The account; its namespace is the HelmRelease's.
    pub account: ObjectName,
    /// Where Flux has it from, for messages.
    pub from: &'static str,
}

/// Something of which a run would create one: a resource, in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToCreate {
    /// The API group; "" is the core group.
    pub group: String,
    /// The resource, in the plural: "jobs".
    pub resource: String,
    /// The namespace.
    pub namespace: String,
}

impl Applier {
    /// As which user the API server knows the account.
    pub fn user(&self) -> String {
        format!("{USER}{}:{}", self.account.namespace, self.account.name)
    }

    /// The groups that the API server takes the account to be in, as where Flux impersonates it.
    pub fn groups(&self) -> [String; 3] {
        [ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{}", self.account.namespace), AUTHENTICATED.to_owned()]
    }

    /// Why nothing runs where the account may not create these; nothing where that is empty.
    pub fn refuse(&self, forbidden: &[ToCreate]) -> Option<Refusal> {
        let first = forbidden.first()?;
        let all: Vec<String> = forbidden.iter().map(ToString::to_string).collect();
        let resources: Vec<String> = forbidden.iter().map(ToCreate::qualified).collect();
        let message = format!(
            "Flux applies the release as the service account {} ({}), which may not create {}: hookhost creates nothing that \
             this account could not create itself. Whoever administers the namespace can allow it with a Role: kubectl create \
             role hooks --namespace {} --verb=create --resource={}, bound to that account",
            quote(&self.account.to_string()),
            self.from,
            hookhost_helm::text::list(&all),
            first.namespace,
            resources.join(","),
        );
        // Whoever administers the namespace can change it.
        Some(Refusal::wait(Reason::ApplierForbidden, message))
    }
}

impl ToCreate {
    /// As kubectl takes it: "jobs.batch".
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// `jobs.batch in the namespace acme`
impl std::fmt::Display for ToCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in the namespace {}", self.qualified(), self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::HelmRelease;
    use super::*;

    fn applier(account: Value, default: Option<&str>) -> Option<Applier> {
        let object = json!({"metadata": {"name": "shop", "namespace": "acme"}, "spec": {"serviceAccountName": account}});
        HelmRelease::from_json(&object).unwrap().applier(default)
    }

    #[test]
    fn the_applier_is_the_account_of_the_spec_else_fluxs_default_else_nobody() {
        assert_eq!(applier(Value::Null, None), None);
        assert_eq!(applier(json!(""), None), None);
        let of_spec = applier(json!("tenant"), Some("default")).unwrap();
        assert_eq!(of_spec.account.to_string(), "acme/tenant");
        assert_eq!(applier(json!(""), Some("default")).unwrap().account.to_string(), "acme/default");
        let object =
            json!({"metadata": {"name": "shop", "namespace": "acme"}, "spec": {"serviceAccountName": 1}});
        assert!(HelmRelease::from_json(&object).is_err(), "what cannot be read does not count as nobody");
    }

    #[test]
    fn the_account_is_asked_about_as_flux_impersonates_it() {
        let applier = applier(json!("tenant"), None).unwrap();
        assert_eq!(applier.user(), "system:serviceaccount:acme:tenant");
        let groups = ["system:serviceaccounts", "system:serviceaccounts:acme", "system:authenticated"];
        assert_eq!(applier.groups(), groups);
    }

    #[test]
    fn a_refusal_names_the_account_the_verb_and_each_resource() {
        let applier = applier(json!("tenant"), None).unwrap();
        assert_eq!(applier.refuse(&[]), None);
        let one = |group: &str, resource: &str| ToCreate {
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: "acme".to_owned(),
        };
        let refusal = applier.refuse(&[one("batch", "jobs"), one("", "secrets")]).unwrap();
        assert_eq!(refusal.reason, Reason::ApplierForbidden);
        assert!(!refusal.is_final(), "whoever administers the namespace can give the account these rights");
        for word in [
            "\"acme/tenant\" (spec.serviceAccountName",
            "may not create jobs.batch in the namespace acme and secrets in the namespace acme",
            "--verb=create --resource=jobs.batch,secrets",
        ] {
            assert!(refusal.message.contains(word), "{}", refusal.message);
        }
    }
}
