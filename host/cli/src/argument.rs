//! An *argument* that means something in Kubernetes is checked when it is typed, so that a wrong one is an error of this
//! command, not of a watch that the API server refuses for ever.
//!
//! Where an option may be left away, an empty text is the same: that is how a Helm chart and an environment have it.

use hookhost_core::keys::OWN_DOMAIN;
use hookhost_helm::name::{
    DNS_LABEL_RULE, DNS_SUBDOMAIN_RULE, LABEL_KEY_RULE, LABEL_SELECTOR_RULE, LABEL_VALUE_RULE, is_dns_label,
    is_dns_subdomain, is_label_key, is_label_selector, is_label_value,
};
use hookhost_helm::text::quote;

/// A label selector.
pub(crate) fn selector(text: &str) -> Result<String, String> {
    checked(text, is_label_selector(text), LABEL_SELECTOR_RULE)
}

/// A label selector, or nothing.
pub(crate) fn optional_selector(text: &str) -> Result<String, String> {
    checked(text, text.is_empty() || is_label_selector(text), LABEL_SELECTOR_RULE)
}

/// A label's key, or nothing.
pub(crate) fn optional_label_key(text: &str) -> Result<String, String> {
    checked(text, text.is_empty() || is_label_key(text), LABEL_KEY_RULE)
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Result<String, String> {
    checked(text, is_label_value(text), LABEL_VALUE_RULE)
}

/// Domains of the labels and annotations by which hookhost and the vWorkspace operator act.
const OWN_DOMAINS: [&str; 3] = [OWN_DOMAIN, "ops.vworkspace.io", "app.vworkspace.io"];

/// A label of an object that is made, as KEY=VALUE.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = entry(text)?;
    checked(&value, is_label_value(&value), LABEL_VALUE_RULE)
        .map_err(|rule| format!("the value {}: {rule}", quote(&value)))?;
    Ok((key, value))
}

/// An annotation of an object that is made, as KEY=VALUE.
pub(crate) fn annotation(text: &str) -> Result<(String, String), String> {
    entry(text)
}

/// Key and value, divided at the first "=", which no key has.
fn entry(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if !is_label_key(key) {
        return Err(format!("the key {}: expected {LABEL_KEY_RULE}", quote(key)));
    }
    if let Some(domain) = key.split_once('/').map(|(domain, _)| domain).filter(|it| OWN_DOMAINS.contains(it))
    {
        return Err(format!("keys of {domain}/ are hookhost's and the vWorkspace operator's own"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// An object's name.
pub(crate) fn object_name(text: &str) -> Result<String, String> {
    checked(text, is_dns_subdomain(text), DNS_SUBDOMAIN_RULE)
}

/// A namespace's name, or nothing.
pub(crate) fn optional_namespace(text: &str) -> Result<String, String> {
    checked(text, text.is_empty() || is_dns_label(text), DNS_LABEL_RULE)
}

fn checked(text: &str, is_good: bool, rule: &str) -> Result<String, String> {
    if is_good { Ok(text.to_owned()) } else { Err(format!("expected {rule}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_or_annotation_is_a_key_and_a_value_that_kubernetes_takes() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(label("team=payments"), pair("team", "payments"));
        assert_eq!(label("example.com/team="), pair("example.com/team", ""));
        assert_eq!(annotation("example.com/why=a=b, c"), pair("example.com/why", "a=b, c"));
        for (text, word) in [
            ("team", "KEY=VALUE"),
            ("=x", "the key \"\""),
            ("a b=x", "the key \"a b\""),
            ("team=a b", "the value \"a b\""),
        ] {
            assert!(label(text).is_err_and(|error| error.contains(word)), "{text}");
        }
        assert!(annotation("a b=x").is_err());
    }

    #[test]
    fn what_hookhost_acts_by_is_nobodys_to_set() {
        for key in [
            "hookhost.vworkspace.io/run-restored",
            "ops.vworkspace.io/cancel",
            "app.vworkspace.io/cluster-id",
        ] {
            for taken in [label, annotation] {
                let error = taken(&format!("{key}=true")).unwrap_err();
                assert!(error.contains("own"), "{error}");
            }
        }
        assert!(annotation("policy.example.com/hookhost.vworkspace.io=x").is_ok());
    }
}
