//! A *maker* is a hook of a release that is no workload: an object by which some controller of the cluster makes another one, as
//! external-secrets makes a Secret of an ExternalSecret. hookhost creates no such objects, but it knows that the chart has one
//! where what it makes is missing.

use serde_json::Value;

use crate::dependency::{Reference, provider_classes};
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::hook::{Hook, cut};
use hookhost_helm::text::{quote, shortlist};
use hookhost_helm::workload::at;
use hookhost_helm::yaml::Keep;

/// Makers of one release that are known. A chart has some three; their names only make a message better.
pub const MAX_MAKERS: usize = 64;

/// Bytes of a name that is kept: as many as an object's has.
const NAME_BYTES: usize = 253;

/// Makers, and objects, that a message names.
const MAX_NAMED: usize = 4;

/// Where a maker says what the object is called that is made of it, if not as itself.
const NAMES: [&str; 10] = [
    // ExternalSecret (external-secrets.io)
    "spec.target.name",
    // Certificate (cert-manager.io)
    "spec.secretName",
    // VaultStaticSecret, VaultDynamicSecret, VaultPKISecret (secrets.hashicorp.com)
    "spec.destination.name",
    // SealedSecret (bitnami.com)
    "spec.template.metadata.name",
    // InfisicalSecret (secrets.infisical.com)
    "spec.managedSecretReference.secretName",
    // DopplerSecret (secrets.doppler.com)
    "spec.managedSecret.name",
    // AzureKeyVaultSecret (spv.no)
    "spec.output.secret.name",
    "spec.output.configMap.name",
    // Managed resources of Crossplane
    "spec.writeConnectionSecretToRef.name",
    // ClusterExternalSecret (external-secrets.io)
    "spec.externalSecretName",
];

const NAME: Keep = Keep::Entries(&[("name", Keep::Scalar)]);

/// What is read of a maker: [`NAMES`].
pub(crate) const MAKER: Keep = Keep::Entries(&[
    (
        "spec",
        Keep::Entries(&[
            ("target", NAME),
            ("secretName", Keep::Scalar),
            ("destination", NAME),
            ("template", Keep::Entries(&[("metadata", NAME)])),
            ("managedSecretReference", Keep::Entries(&[("secretName", Keep::Scalar)])),
            ("managedSecret", NAME),
            ("output", Keep::Entries(&[("secret", NAME), ("configMap", NAME)])),
            ("writeConnectionSecretToRef", NAME),
            ("externalSecretName", Keep::Scalar),
        ]),
    ),
    ("items", Keep::Objects),
]);

/// A hook of which a controller may make another object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    kind: String,
    name: String,
    path: String,
    /// What the objects that may be made of it are called.
    makes: Vec<String>,
    is_deleted: bool,
}

impl Maker {
    /// Whether a hook may be one: its kind is none of Kubernetes' own.
    pub(crate) fn may_be(head: &Hook) -> bool {
        let group = head.api_version.split_once('/').map_or("", |(group, _)| group);
        group.contains('.') && !group.ends_with(".k8s.io")
    }

    /// The maker that a hook is, of which this was read.
    pub(crate) fn of(head: &Hook, manifest: &Value) -> Maker {
        let short = |name: &str| name.get(..NAME_BYTES).unwrap_or(name).to_owned();
        let named =
            NAMES.iter().filter_map(|path| at(manifest, path)?.as_str()).filter(|name| !name.is_empty());
        let mut makes: Vec<String> = named.map(short).collect();
        // Of a SealedSecret the template may have another name than the Secret that is made.
        if makes.is_empty() || head.kind == "SealedSecret" {
            makes.push(short(&head.name));
        }
        Maker {
            kind: cut(&head.kind),
            name: short(&head.name),
            path: cut(&head.path),
            makes,
            is_deleted: head.delete_policies.iter().any(|policy| policy == "hook-succeeded"),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.makes.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>();
        size_of::<Maker>() + self.kind.len() + self.name.len() + self.path.len() + names
    }
}

/// `ExternalSecret "db" (shop/templates/db.yaml)`
impl std::fmt::Display for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.kind, quote(&self.name), self.path)
    }
}

/// The same refusal, which also names the hooks by which what is missing may come to be, and what would help.
#[must_use]
pub fn tell(refusal: Refusal, missing: &[&Reference], makers: &[Maker]) -> Refusal {
    let makes = |maker: &&Maker| missing.iter().any(|one| maker.makes.contains(&one.name));
    let (deleted, kept): (Vec<&Maker>, Vec<&Maker>) =
        makers.iter().filter(makes).partition(|maker| maker.is_deleted);
    let named = |makers: &[&Maker]| shortlist(makers.iter().map(ToString::to_string), MAX_NAMED);
    let mut message = refusal.message.clone();
    if !deleted.is_empty() {
        message.push_str(&format!(
            ". The chart has as a hook {}, of which a controller of the cluster may make it; Helm deletes that when its event is \
             over, often with what was made of it, and hookhost does not create objects of that kind. Let the chart keep it \
             (delete policy before-hook-creation alone), or make it part of the release proper",
            named(&deleted)
        ));
    }
    if !kept.is_empty() {
        message.push_str(&format!(
            ". The chart has as a hook {}, of which a controller of the cluster may make it, and which Helm keeps once its event has \
             been: its status tells why it has not (kubectl describe)",
            named(&kept)
        ));
    }
    if message == refusal.message { refusal } else { refusal.saying(message) }
}

/// The kind of the objects that tell a Secrets Store CSI driver what to mount (secrets-store.csi.x-k8s.io).
const PROVIDER_CLASS: &str = "SecretProviderClass";

/// The SecretProviderClasses by which volumes of a hook's pod are mounted and that are hooks which Helm deletes when their event is over.
pub fn deleted_classes<'m>(manifest: &Value, makers: &'m [Maker]) -> Vec<&'m Maker> {
    let is_class = |maker: &&Maker| maker.kind == PROVIDER_CLASS && maker.is_deleted;
    let mut classes = makers.iter().filter(is_class).peekable();
    if classes.peek().is_none() {
        return Vec::new();
    }
    let named = provider_classes(manifest);
    classes.filter(|maker| named.contains(maker.name.as_str())).collect()
}

/// Lets the Operation wait if SecretProviderClasses that its pod mounts volumes by do not exist.
pub fn refuse_classes(missing: &[&Maker]) -> Option<Refusal> {
    if missing.is_empty() {
        return None;
    }
    let message = format!("the hook's pod could not start: {}", lost_classes(missing));
    Some(Refusal::wait(Reason::DependencyMissing, message))
}

/// What has become of SecretProviderClasses that Helm deletes, and what helps.
pub fn lost_classes(classes: &[&Maker]) -> String {
    format!(
        "it mounts a volume by {}, which the chart has as a hook and Helm has deleted when its event was over, by the release's \
         record. hookhost does not create objects of that kind. Let the chart keep it (delete policy before-hook-creation alone), or \
         make it part of the release proper",
        shortlist(classes.iter().map(ToString::to_string), MAX_NAMED)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dependency::{Lending, references, refuse};
    use crate::testing;

    fn told(api_version: &str, kind: &str, name: &str, spec: Value, is_deleted: bool) -> String {
        let manifest =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        let mut hook = testing::hook(manifest, "shop");
        hook.delete_policies = if is_deleted { vec!["hook-succeeded".to_owned()] } else { Vec::new() };
        let makers: Vec<Maker> = Some(&hook)
            .filter(|hook| Maker::may_be(hook))
            .map(|hook| Maker::of(hook, &hook.manifest))
            .into_iter()
            .collect();
        let pod =
            json!({"kind": "Pod", "spec": {"containers": [{"envFrom": [{"secretRef": {"name": "db"}}]}]}});
        let references = references(&pod);
        let missing: Vec<&Reference> = references.iter().filter(|one| one.name == "db").collect();
        tell(refuse("shop", &missing, &[], &Lending::Off, None).unwrap(), &missing, &makers).message
    }

    #[test]
    fn the_hook_of_which_a_controller_makes_what_is_missing_is_named() {
        for (api_version, kind, name, spec) in [
            ("external-secrets.io/v1", "ExternalSecret", "es", json!({"target": {"name": "db"}})),
            ("external-secrets.io/v1", "ExternalSecret", "db", json!({"target": {}})),
            ("bitnami.com/v1alpha1", "SealedSecret", "db", json!({"encryptedData": {}})),
            ("cert-manager.io/v1", "Certificate", "cert", json!({"secretName": "db"})),
            (
                "secrets.hashicorp.com/v1beta1",
                "VaultStaticSecret",
                "v",
                json!({"destination": {"name": "db", "create": true}}),
            ),
            ("example.com/v1", "Whatever", "db", json!({"secretName": 7})),
        ] {
            let deleted = told(api_version, kind, name, spec.clone(), true);
            for word in
                [kind, &quote(name), "shop/templates/hooks.yaml", "before-hook-creation", "release proper"]
            {
                assert!(deleted.contains(word), "{word}: {deleted}");
            }
            let kept = told(api_version, kind, name, spec, false);
            assert!(kept.contains("Helm keeps") && kept.contains("kubectl describe"), "{kept}");
        }
        for (api_version, kind, name, spec) in [
            // It makes another one; it is Kubernetes' own, of which nothing is made.
            ("external-secrets.io/v1", "ExternalSecret", "db", json!({"target": {"name": "other"}})),
            ("apps/v1", "Deployment", "db", json!({})),
            ("networking.k8s.io/v1", "Ingress", "db", json!({})),
        ] {
            let silent = told(api_version, kind, name, spec, true);
            assert!(!silent.contains("as a hook"), "{silent}");
        }
    }

    #[test]
    fn a_provider_class_that_helm_deletes_is_missed_where_a_container_mounts_its_volume() {
        let class = |name: &str, is_deleted: bool| {
            let manifest = json!({"apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
                "metadata": {"name": name}, "spec": {"provider": "vault"}});
            let mut hook = testing::hook(manifest, "shop");
            hook.delete_policies = if is_deleted { vec!["hook-succeeded".to_owned()] } else { Vec::new() };
            assert!(Maker::may_be(&hook));
            Maker::of(&hook, &hook.manifest)
        };
        let makers = [class("db", true), class("kept", false), class("unused", true)];
        let volume = |name: &str| {
            json!({"name": name, "csi": {"driver": "secrets-store.csi.k8s.io",
                "volumeAttributes": {"secretProviderClass": name}}})
        };
        let pod = json!({"kind": "Pod", "spec": {
            "volumes": [volume("db"), volume("kept"), volume("unused"), volume("absent")],
            "containers": [{"volumeMounts": [{"name": "db"}, {"name": "kept"}, {"name": "absent"}]}]}});
        let deleted = deleted_classes(&pod, &makers);
        assert_eq!(deleted.iter().map(|class| class.name()).collect::<Vec<_>>(), ["db"]);
        let refusal = refuse_classes(&deleted).unwrap();
        assert_eq!(refusal.reason, Reason::DependencyMissing);
        for word in
            ["SecretProviderClass \"db\" (shop/templates/hooks.yaml)", "Helm has deleted", "release proper"]
        {
            assert!(refusal.message.contains(word), "{word}: {}", refusal.message);
        }
        assert_eq!(refuse_classes(&[]), None);
    }
}
