//! A *key* is where an Operation is.

/// Where an Operation is: its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationKey {
    pub namespace: String,
    pub name: String,
}

impl OperationKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> OperationKey {
        OperationKey { namespace: namespace.into(), name: name.into() }
    }
}
