//! An *organisation* owns namespaces: those that have its name in a label, or the one namespace of its name.

use hookhost_core::clone;

use crate::watch::Namespaces;
use hookhost_cluster::key::OperationKey;

/// The organisations of the managed namespaces; clones share them.
#[derive(Clone)]
pub(crate) struct Organisations {
    pub(crate) namespaces: Namespaces,
    /// The label with an organisation's name; none where each namespace is one.
    pub(crate) label: Option<String>,
}

impl Organisations {
    /// The organisation of a namespace: its label's value, else its name.
    pub(crate) fn of(&self, namespace: &str) -> String {
        let labels = self.namespaces.labels(namespace).unwrap_or_default();
        let label = self.label.as_ref().and_then(|key| labels.get(key));
        label.filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| namespace.to_owned())
    }

    /// Whether two namespaces are of the same organisation. Where a label names it, both must have the label: people who choose the names
    /// of namespaces join no organisation by that.
    pub(crate) fn is_shared(&self, a: &str, b: &str) -> bool {
        let labelled = |namespace: &str| {
            let labels = self.namespaces.labels(namespace)?;
            labels.get(self.label.as_ref()?).filter(|value| !value.is_empty()).cloned()
        };
        a == b || labelled(a).is_some_and(|a| labelled(b) == Some(a))
    }

    /// Whether a Job of this name, which hookhost cannot prove to be its own, may be that of an Operation: whoever may create Jobs in
    /// a namespace of another organisation can give one any name. Of a namespace that is not managed (any more) nobody knows whose it
    /// is.
    pub(crate) fn may_be_job(&self, operation: &OperationKey, uid: &str, namespace: &str, job: &str) -> bool {
        let own = &operation.namespace;
        let is_own = namespace == own;
        let are_known = [namespace, own].iter().all(|one| self.namespaces.labels(one).is_some());
        let is_of_another = !is_own && are_known && !self.is_shared(namespace, own);
        !is_of_another && clone::may_be_job(&operation.name, uid, is_own, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_of_one_organisation_by_its_label_and_by_no_name() {
        let all: [(&str, &[(&str, &str)]); 5] = [
            ("a", &[("org", "acme")]),
            ("b", &[("org", "acme")]),
            ("acme", &[]),
            ("c", &[("org", "")]),
            ("d", &[]),
        ];
        let organisations = |label: Option<&str>| Organisations {
            namespaces: Namespaces::labelled(&all),
            label: label.map(str::to_owned),
        };
        let by_label = organisations(Some("org"));
        assert!(by_label.is_shared("a", "b") && by_label.is_shared("acme", "acme"));
        // A name that is another organisation's joins it as little as no name does.
        for (a, b) in [("a", "acme"), ("acme", "b"), ("c", "d"), ("a", "unknown")] {
            assert!(!by_label.is_shared(a, b) && !by_label.is_shared(b, a), "{a} {b}");
        }
        let by_name = organisations(None);
        assert!(by_name.is_shared("a", "a") && !by_name.is_shared("a", "b"));
    }
}
