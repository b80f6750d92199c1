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

    /// Whether a Job of this name, which hookhost cannot prove to be its own, may be that of an Operation: whoever may create Jobs in
    /// a namespace of another organisation can give one any name. Of a namespace that is not managed (any more) nobody knows whose it
    /// is.
    pub(crate) fn may_be_job(&self, operation: &OperationKey, uid: &str, namespace: &str, job: &str) -> bool {
        let own = &operation.namespace;
        let is_own = namespace == own;
        let are_known = [namespace, own].iter().all(|one| self.namespaces.labels(one).is_some());
        let is_of_another = !is_own && are_known && self.of(namespace) != self.of(own);
        !is_of_another && clone::may_be_job(&operation.name, uid, is_own, job)
    }
}
