//! A *call* is what is asked of the API server, in RBAC's words: a verb, a resource, where.

use std::fmt;
use std::sync::Arc;

use hookhost_helm::name::is_path_segment;
use hookhost_helm::text::printable;
use kube::Resource;
use kube::core::ApiResource;
use strum::IntoStaticStr;

/// RBAC's verbs, as far as hookhost uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// The word, as RBAC rules and metrics have it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One request, described: for errors, RBAC advice and metrics. Cheap to clone, and small enough for any error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call(Arc<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    verb: Verb,
    group: String,
    plural: String,
    /// "status", "log", or empty.
    part: &'static str,
    namespace: Option<String>,
    name: String,
}

impl Call {
    /// A call for one object, or with an empty name for a list or watch. No namespace: of the cluster, or of all
    /// namespaces.
    pub fn new<K>(verb: Verb, namespace: Option<&str>, name: &str) -> Call
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let kind = K::DynamicType::default();
        Call(Arc::new(Parts {
            verb,
            group: K::group(&kind).into_owned(),
            plural: K::plural(&kind).into_owned(),
            part: "",
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }))
    }

    /// The same for a kind that is known only by its words.
    pub fn of_resource(verb: Verb, resource: &ApiResource, namespace: Option<&str>, name: &str) -> Call {
        Call(Arc::new(Parts {
            verb,
            group: resource.group.clone(),
            plural: resource.plural.clone(),
            part: "",
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }))
    }

    /// The same for a part of the object: "status", "log".
    pub fn subresource(mut self, part: &'static str) -> Call {
        Arc::make_mut(&mut self.0).part = part;
        self
    }

    /// The verb.
    pub fn verb(&self) -> Verb {
        self.0.verb
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// The resource, with its subresource: "jobs", "operations/status".
    pub fn resource(&self) -> String {
        self.with_part(self.0.plural.clone())
    }

    /// The namespace, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.0.namespace.as_deref()
    }

    /// The resource with its group: "jobs.batch", as kubectl takes it.
    pub fn qualified(&self) -> String {
        let plural = &self.0.plural;
        self.with_part(if self.0.group.is_empty() {
            plural.clone()
        } else {
            format!("{plural}.{}", self.0.group)
        })
    }

    fn with_part(&self, mut resource: String) -> String {
        if !self.0.part.is_empty() {
            resource.push('/');
            resource.push_str(self.0.part);
        }
        resource
    }

    /// Whether an object of this name, in a namespace of this name, can exist at all.
    ///
    /// kube puts both into the request's path as they are. A name from a chart or an Operation that has a `/` or `?` in it
    /// would make it another request than the one that was meant.
    pub fn is_askable(&self) -> bool {
        (self.0.name.is_empty() || is_path_segment(&self.0.name))
            && self.0.namespace.as_deref().is_none_or(is_path_segment)
    }

    /// A rule that would allow the call, in the words of a Role.
    pub fn rule(&self) -> String {
        format!(
            "apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"{}\"]",
            self.0.group,
            self.resource(),
            self.0.verb.as_str()
        )
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.verb.as_str(), self.qualified())?;
        match (&self.0.namespace, self.0.name.is_empty()) {
            (Some(namespace), false) => write!(f, " {}/{}", printable(namespace), printable(&self.0.name)),
            (Some(namespace), true) => write!(f, " in namespace {}", printable(namespace)),
            (None, false) => write!(f, " {}", printable(&self.0.name)),
            (None, true) => Ok(()),
        }
    }
}
