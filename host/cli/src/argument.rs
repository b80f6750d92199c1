//! An *argument* that means something in Kubernetes is checked when it is typed, so that a wrong one is an error of this
//! command, not of a watch that the API server refuses for ever.
//!
//! Where an option may be left away, an empty text is the same: that is how a Helm chart and an environment have it.

use hookhost_core::name::{
    DNS_LABEL_RULE, DNS_SUBDOMAIN_RULE, LABEL_KEY_RULE, LABEL_SELECTOR_RULE, LABEL_VALUE_RULE, is_dns_label,
    is_dns_subdomain, is_label_key, is_label_selector, is_label_value,
};

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
