//! A *plain* release is one that Helm itself made. One of Flux is none, whatever its HelmRelease is called: its digest, and the
//! rules of the ApplicationInstance that it belongs to, hold only where its HelmRelease is asked.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::TargetKind;
use crate::json::each_item;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::{hex, quote};

/// Bytes of a release's name at most; Helm's own bound.
const MAX_RELEASE_NAME: usize = 53;

/// Hexadecimal digits by which Flux tells apart names that it had to shorten.
const HASH_DIGITS: usize = 12;

/// A HelmRelease, as far as it says which release it makes.
#[derive(Deserialize)]
struct Makes<'j> {
    #[serde(borrow)]
    metadata: Metadata<'j>,
    #[serde(borrow, default)]
    spec: Spec<'j>,
    #[serde(borrow, default)]
    status: Status<'j>,
}

#[derive(Deserialize)]
struct Metadata<'j> {
    #[serde(borrow)]
    name: Cow<'j, str>,
    #[serde(borrow)]
    namespace: Cow<'j, str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec<'j> {
    #[serde(borrow)]
    release_name: Option<Cow<'j, str>>,
    #[serde(borrow)]
    target_namespace: Option<Cow<'j, str>>,
    #[serde(borrow)]
    storage_namespace: Option<Cow<'j, str>>,
    /// The release is in another cluster.
    kube_config: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status<'j> {
    #[serde(borrow)]
    storage_namespace: Option<Cow<'j, str>>,
    /// A list of `null`s and [`Entry`]s. Gone through one by one: in memory it may take ten times its text.
    #[serde(borrow)]
    history: Option<&'j RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'j> {
    #[serde(borrow)]
    name: Option<Cow<'j, str>>,
}

impl Status<'_> {
    /// Whether the history has a release of this name; none if the history cannot be read.
    fn has_made(&self, release: &str) -> Option<bool> {
        let Some(history) = self.history else { return Some(false) };
        let (mut is_there, mut is_read) = (false, true);
        let is_list =
            each_item(history, |entry| match serde_json::from_str::<Option<Entry<'_>>>(entry.get()) {
                Ok(entry) => is_there |= entry.is_some_and(|entry| entry.name.as_deref() == Some(release)),
                Err(_) => is_read = false,
            });
        (is_list && is_read).then_some(is_there)
    }
}

/// Refuses a release of this name, whose records are in this namespace, as a target of its own if it is the one that a HelmRelease
/// makes: by its spec, or by its status where it has made it under another name before. `helm_release` is the HelmRelease as the
/// API server has it.
///
/// # Errors
/// It is, with what to write instead; or nobody can tell.
pub fn refuse_plain(helm_release: &str, namespace: &str, release: &str) -> Result<(), Refusal> {
    let makes = serde_json::from_str::<Makes<'_>>(helm_release).ok();
    let Some((makes, is_it)) =
        makes.and_then(|makes| makes.is(namespace, release).map(|is_it| (makes, is_it)))
    else {
        let message = format!(
            "a HelmRelease of the namespace {namespace} cannot be read, so it cannot be told whether the release {} is Flux's",
            quote(release)
        );
        return Err(Refusal::fail(Reason::ValidationFailed, message));
    };
    if !is_it {
        return Ok(());
    }
    let (target, Metadata { name, namespace: its }) = (TargetKind::HelmRelease, &makes.metadata);
    let message = format!(
        "the release {release} is Flux's, by the HelmRelease {its}/{name}, so it is no plain Helm release: name that HelmRelease in \
         spec.targetRef (apiVersion: {}, kind: {}, name: {name}), or the ApplicationInstance that it belongs to",
        target.api_version(),
        target.kind(),
    );
    Err(Refusal::fail(Reason::ValidationFailed, message))
}

impl Makes<'_> {
    /// Whether it makes the release, or has made it; none if that cannot be read.
    fn is(&self, namespace: &str, release: &str) -> Option<bool> {
        let Makes { metadata, spec, status } = self;
        if spec.kube_config.is_some() {
            return Some(false);
        }
        let storage = spec.storage_namespace.as_deref().filter(|name| !name.is_empty());
        let is_wanted = storage.unwrap_or(&metadata.namespace) == namespace && self.release_name() == release;
        let is_stored_here = status.storage_namespace.as_deref() == Some(namespace);
        Some(is_wanted || status.has_made(release)? && is_stored_here)
    }

    /// What Flux calls the release (helm-controller's `GetReleaseName` and `ShortenName`).
    fn release_name(&self) -> String {
        let Makes { metadata, spec, .. } = self;
        let given =
            |text: &Option<Cow<'_, str>>| text.as_deref().filter(|name| !name.is_empty()).map(str::to_owned);
        let name = given(&spec.release_name).unwrap_or_else(|| match given(&spec.target_namespace) {
            Some(namespace) => format!("{namespace}-{}", metadata.name),
            None => metadata.name.clone().into_owned(),
        });
        if name.len() <= MAX_RELEASE_NAME {
            return name;
        }
        let hash = &hex(Sha256::digest(&name))[..HASH_DIGITS];
        // Names are ASCII, so each byte is a place to cut.
        let start = &name[..name.floor_char_boundary(MAX_RELEASE_NAME - 1 - HASH_DIGITS)];
        format!("{start}-{hash}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::refusal::Then;

    fn refused(object: &Value, namespace: &str, release: &str) -> Option<Refusal> {
        refuse_plain(&object.to_string(), namespace, release).err()
    }

    fn helm_release(name: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "acme"}, "spec": spec})
    }

    #[test]
    fn a_release_of_flux_is_no_plain_helm_release_whatever_its_helm_release_is_called() {
        let long = "a-very-lengthy-target-namespace-with-a-nice-object-name";
        let cases = [
            ("shop", json!({}), "acme", "shop"),
            // Flux puts the namespace before the name as soon as spec says it, also where it is its own.
            ("shop", json!({"targetNamespace": "acme"}), "acme", "acme-shop"),
            ("shop", json!({"targetNamespace": "other"}), "acme", "other-shop"),
            ("shop", json!({"releaseName": "site"}), "acme", "site"),
            ("shop", json!({"releaseName": "site", "targetNamespace": "acme"}), "acme", "site"),
            ("shop", json!({"storageNamespace": "records"}), "records", "shop"),
            ("shop", json!({"storageNamespace": "", "releaseName": null}), "acme", "shop"),
            // As helm-controller shortens it: its own test has this pair.
            (long, json!({}), "acme", "a-very-lengthy-target-namespace-with-a-n-97af5d7f41f3"),
        ];
        for (name, spec, namespace, release) in cases {
            let object = helm_release(name, spec);
            let refusal =
                refused(&object, namespace, release).unwrap_or_else(|| panic!("{object} makes {release}"));
            assert_eq!((refusal.reason, refusal.then), (Reason::ValidationFailed, Then::Fail));
            assert!(
                refusal.message.contains(&format!("kind: HelmRelease, name: {name})")),
                "{}",
                refusal.message
            );
            for (namespace, release) in [(namespace, "another"), ("elsewhere", release)] {
                assert_eq!(
                    refused(&object, namespace, release),
                    None,
                    "{object} does not make {namespace}/{release}"
                );
            }
        }
        for spec in [json!({"targetNamespace": "acme"}), json!({"releaseName": "site"})] {
            assert_eq!(refused(&helm_release("shop", spec), "acme", "shop"), None, "that name is free");
        }
    }

    #[test]
    fn what_flux_has_made_is_flux_though_its_spec_names_another_release_by_now() {
        let mut object = helm_release("shop", json!({"releaseName": "new", "storageNamespace": "records"}));
        object["status"] =
            json!({"storageNamespace": "acme", "history": [null, {"name": "old", "version": 1}]});
        assert!(refused(&object, "acme", "old").is_some());
        assert!(refused(&object, "records", "new").is_some());
        assert_eq!(refused(&object, "acme", "new"), None);
        assert_eq!(refused(&object, "records", "old"), None);
    }

    #[test]
    fn a_release_in_another_cluster_takes_no_name_here() {
        let object = helm_release("shop", json!({"kubeConfig": {"secretRef": {"name": "there"}}}));
        assert_eq!(refused(&object, "acme", "shop"), None);
    }

    #[test]
    fn where_a_helm_release_cannot_be_read_nobody_can_tell() {
        let metadata = json!({"name": "x", "namespace": "acme"});
        for (part, value) in [
            ("spec", json!(7)),
            ("status", json!({"history": 7})),
            ("status", json!({"history": [{"name": "old"}, {"name": 7}]})),
        ] {
            let refusal = refused(&json!({"metadata": metadata, part: value}), "acme", "shop").unwrap();
            assert!(
                refusal.message.contains("cannot be told whether the release \"shop\" is Flux's"),
                "{part}"
            );
        }
    }
}
