//! The *closure* of a hook is what its pod needs and what is itself a hook of the same release: a service account and
//! what it may do, secrets, config maps, claims, and the network policies that select the pod.
//!
//! Helm commonly deletes such objects when the event is over, so a run outside of that event may not find them, and a
//! policy may want to know what they allow. Objects of the release proper are not listed: they are in the cluster.

mod described;
mod network;
mod object;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use described::{ClosureObject, RbacRule, RoleRef, Subject};
pub use object::MAX_ITEMS;
use serde_json::Value;

use crate::dependency;
use crate::kind::Kind;
use crate::object::ObjectRef;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::hook::{Hook, NotRunnable};
use hookhost_helm::workload::{Workload, at, entries};

/// Objects of one closure. The largest charts have some ten hooks beside their Jobs; more than this is no longer
/// something a policy could judge.
pub const MAX_OBJECTS: usize = 256;

/// A closure that policies cannot be shown. It is refused, not cut: what is cut off is what they should judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosureError {
    /// More than [`MAX_OBJECTS`] objects.
    #[error(
        "the hook needs {found} other hooks of the release, more than the 256 that policies are shown. Move what the \
         hook needs into the release proper"
    )]
    Objects {
        /// How many there are.
        found: usize,
    },
    /// More than [`MAX_ITEMS`] rules, words of rules and subjects, or more text in them than a whole request may have.
    #[error(
        "the roles and bindings that the hook needs, and that are hooks themselves, are larger than what policies are \
         shown: 16,384 rules, words of rules and subjects, 1 MiB of text. Move them into the release proper"
    )]
    Rbac,
    /// An object of it, or one that may be of it, cannot be read.
    #[error(
        "another hook of the release may give this one rights, and hookhost cannot read it, so no policy could judge them: \
         {document}"
    )]
    Unreadable {
        /// Its kind, name and template.
        document: String,
        /// Why it cannot be read.
        #[source]
        why: Box<NotRunnable>,
    },
}

impl ClosureError {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            ClosureError::Objects { .. } | ClosureError::Rbac => Reason::RequestTooLarge,
            ClosureError::Unreadable { .. } => Reason::ClosureUnreadable,
        }
    }
}

/// An object by what it is called: kind, namespace ("" for kinds that have none), name.
type Key<'a> = (Kind, &'a str, &'a str);

/// The hooks, of all `hooks` of a release in `release_namespace`, that the pod of `workload` reaches, in the order in which
/// Helm would create them: by weight, then name, then kind. The pod is in the namespace that the workload names, else in the
/// release's.
pub fn closure<'a>(
    workload: Workload<'_>,
    release_namespace: &'a str,
    hooks: &'a [Hook],
) -> Result<Vec<Member<'a>>, ClosureError> {
    let found = positions(workload, release_namespace, hooks)?;
    let found = found.into_iter().filter_map(|position| Member::of(&hooks[position], release_namespace));
    let mut found: Vec<Member<'_>> = found.collect();
    found.sort_by(|a, b| a.rank().cmp(&b.rank()));
    Ok(found)
}

/// Which of the hooks that are.
pub(crate) fn positions(
    workload: Workload<'_>,
    release_namespace: &str,
    hooks: &[Hook],
) -> Result<BTreeSet<usize>, ClosureError> {
    let index = Index::of(hooks, release_namespace);
    if index.by_key.is_empty() {
        // As in most charts.
        return Ok(BTreeSet::new());
    }
    let namespace = workload.namespace().unwrap_or(release_namespace);
    let account = (Kind::ServiceAccount, namespace, workload.service_account());
    let mut wanted: Vec<Key<'_>> = vec![account];
    if let Some(spec) = workload.pod_spec() {
        dependency::each(spec, |named| {
            if named.is_used {
                wanted.push((named.kind, namespace, named.name));
            }
        });
    }
    for hook in index.get(account) {
        let names =
            ["imagePullSecrets", "secrets"].into_iter().flat_map(|field| names_in(&hook.manifest, field));
        wanted.extend(names.map(|name| (Kind::Secret, namespace, name)));
    }

    let mut found: BTreeSet<usize> = wanted.iter().flat_map(|key| index.positions(*key)).collect();
    let mut roles = Vec::new();
    for (position, binding_namespace) in index.bindings_of(namespace, workload.service_account()) {
        found.insert(position);
        roles.extend(role_of(&hooks[position].manifest, binding_namespace));
    }
    index.add_roles(roles, &mut found);
    found.extend(index.network_policies_of(namespace, workload));

    if found.len() > MAX_OBJECTS {
        return Err(ClosureError::Objects { found: found.len() });
    }
    Ok(found)
}

/// Network policies that a message names of those that [`missed`] finds.
const MAX_MISSED: usize = 8;

/// Network policies among the `hooks` that select the pods of Helm's own run of `hook`, by its Job's name or another label that it alone
/// has, and not those of hookhost's: they do not apply to the run, whether they exist or not. At most so many.
pub(crate) fn missed(hook: &Hook, namespace: &str, hooks: &[Hook]) -> Vec<ObjectRef> {
    let index = Index::of(hooks, namespace);
    let workload = Workload::of(&hook.manifest);
    let name = if text(&hook.manifest, "metadata.name").is_some() { hook.name.as_str() } else { "" };
    let run_in = workload.namespace().unwrap_or(namespace);
    let policies =
        index.by_key.iter().filter(|((kind, of, _), _)| *kind == Kind::NetworkPolicy && *of == run_in);
    let mut policies = policies.peekable();
    if policies.peek().is_none() {
        return Vec::new();
    }
    let (ours, helms) = (network::labels(workload), network::helms_labels(workload, name));
    let is_missed = |position: &usize| {
        let policy = &hooks[*position].manifest;
        network::selects(policy, &helms) && !network::selects(policy, &ours)
    };
    let missed = policies.filter(|(_, positions)| positions.iter().any(is_missed));
    let named = missed.map(|((kind, namespace, name), _)| ObjectRef {
        kind: *kind,
        namespace: (*namespace).to_owned(),
        name: (*name).to_owned(),
    });
    named.take(MAX_MISSED).collect()
}

/// What policies are told of a closure.
pub fn describe(closure: &[Member<'_>]) -> Result<Vec<ClosureObject>, ClosureError> {
    let mut room = object::Room::new();
    closure.iter().map(|member| room.object(member)).collect()
}

/// One object of a closure.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What it is.
    pub kind: Kind,
    /// The namespace that it is in: the release's where its manifest has none, "" for kinds that have none.
    pub namespace: &'a str,
    /// The hook that it is.
    pub hook: &'a Hook,
}

impl ObjectRef {
    /// A member of a closure.
    pub fn of(member: &Member<'_>) -> ObjectRef {
        ObjectRef {
            kind: member.kind,
            namespace: member.namespace.to_owned(),
            name: member.hook.name.clone(),
        }
    }
}

impl<'a> Member<'a> {
    /// None for a hook of a kind that no pod needs.
    fn of(hook: &'a Hook, release_namespace: &'a str) -> Option<Member<'a>> {
        let kind = Kind::of(&hook.api_version, &hook.kind)?;
        let namespace = if kind.is_namespaced() {
            text(&hook.manifest, "metadata.namespace").unwrap_or(release_namespace)
        } else {
            ""
        };
        Some(Member { kind, namespace, hook })
    }

    fn key(&self) -> Key<'a> {
        (self.kind, self.namespace, &self.hook.name)
    }

    fn rank(&self) -> (i32, &str, Kind, &str) {
        (self.hook.weight, &self.hook.name, self.kind, &self.hook.path)
    }
}

/// The hooks that may be part of a closure, by what they are called.
struct Index<'a> {
    hooks: &'a [Hook],
    by_key: BTreeMap<Key<'a>, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(hooks: &'a [Hook], release_namespace: &'a str) -> Index<'a> {
        let mut by_key: BTreeMap<Key<'a>, Vec<usize>> = BTreeMap::new();
        for (position, hook) in hooks.iter().enumerate() {
            if let Some(member) = Member::of(hook, release_namespace) {
                by_key.entry(member.key()).or_default().push(position);
            }
        }
        Index { hooks, by_key }
    }

    fn positions(&self, key: Key<'_>) -> Vec<usize> {
        self.by_key.get(&key).cloned().unwrap_or_default()
    }

    fn get(&self, key: Key<'_>) -> impl Iterator<Item = &'a Hook> {
        let hooks = self.hooks;
        self.positions(key).into_iter().map(move |position| &hooks[position])
    }

    /// Bindings that give the service account a role, with the namespace they are in.
    fn bindings_of(&self, namespace: &str, account: &str) -> Vec<(usize, &'a str)> {
        let bindings = self.by_key.iter().filter(|((kind, ..), _)| kind.is_binding());
        bindings
            .flat_map(|((_, of, _), positions)| positions.iter().map(|position| (*position, *of)))
            .filter(|(position, of)| {
                let subjects = self.hooks[*position].manifest.get("subjects").and_then(Value::as_array);
                subjects.into_iter().flatten().any(|subject| is_subject(subject, of, namespace, account))
            })
            .collect()
    }

    /// The network policies of a namespace that select the workload's pods.
    fn network_policies_of(&self, namespace: &str, workload: Workload<'_>) -> Vec<usize> {
        let all =
            self.by_key.iter().filter(|((kind, of, _), _)| *kind == Kind::NetworkPolicy && *of == namespace);
        let mut all = all.flat_map(|(_, positions)| positions.iter().copied()).peekable();
        if all.peek().is_none() {
            return Vec::new();
        }
        let labels = network::labels(workload);
        all.filter(|position| network::selects(&self.hooks[*position].manifest, &labels)).collect()
    }

    /// Adds the roles, and the cluster roles that an aggregating one collects, each once, until there are too many.
    fn add_roles(&self, mut roles: Vec<Key<'a>>, found: &mut BTreeSet<usize>) {
        // Read once, however many roles select by them.
        let mut labels = None;
        let mut followed = BTreeSet::new();
        while let Some(key) = roles.pop() {
            if let Some(collected) = collected_by_the_clusters(key)
                && followed.insert(key.2)
            {
                let labels = labels.get_or_insert_with(|| self.cluster_role_labels());
                let is_collected = |role: &&ClusterRole<'_>| {
                    collected.iter().any(|label| role.labels.get(*label).is_some_and(|value| value == "true"))
                };
                roles.extend(labels.iter().filter(is_collected).map(|role| role.key));
            }
            for position in self.positions(key) {
                if found.len() <= MAX_OBJECTS && found.insert(position) {
                    let role = &self.hooks[position].manifest;
                    if let Some(selectors) =
                        at(role, "aggregationRule.clusterRoleSelectors").and_then(Value::as_array)
                    {
                        let labels = labels.get_or_insert_with(|| self.cluster_role_labels());
                        roles.extend(aggregated(selectors, labels, found));
                    }
                }
            }
        }
    }

    /// The cluster roles with their labels.
    fn cluster_role_labels(&self) -> Vec<ClusterRole<'a>> {
        let roles = self.by_key.iter().filter(|((kind, ..), _)| *kind == Kind::ClusterRole);
        let each = roles.flat_map(|(key, positions)| positions.iter().map(move |position| (*key, *position)));
        each.map(|(key, position)| ClusterRole {
            key,
            position,
            labels: entries(&self.hooks[position].manifest, "metadata.labels"),
        })
        .collect()
    }
}

/// A cluster role among the hooks.
struct ClusterRole<'a> {
    key: Key<'a>,
    position: usize,
    labels: BTreeMap<String, String>,
}

/// Selectors of one aggregating role that are looked at. Kubernetes' own roles have one; a role with more than this is
/// taken to collect every role, since too much shown is safe and too little is not.
const MAX_SELECTORS: usize = 16;

/// The roles not yet found that one of the selectors may select.
fn aggregated<'a>(selectors: &[Value], roles: &[ClusterRole<'a>], found: &BTreeSet<usize>) -> Vec<Key<'a>> {
    let wanted: Vec<_> =
        selectors.iter().take(MAX_SELECTORS).map(|selector| entries(selector, "matchLabels")).collect();
    let all = selectors.len() > MAX_SELECTORS;
    let new = roles.iter().filter(|role| !found.contains(&role.position));
    new.filter(|role| all || wanted.iter().any(|wanted| may_select(wanted, &role.labels)))
        .map(|role| role.key)
        .collect()
}

/// Whether a label selector may fit. Its matchExpressions are taken to fit: too much shown is safe, too little is not.
fn may_select(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Kubernetes' own roles that collect the rules of other cluster roles, with the labels by which each does so, itself or by
/// way of the next (bootstrappolicy/policy.go).
const COLLECTING: [(&str, &[&str]); 3] =
    [("admin", &[TO_ADMIN, TO_EDIT, TO_VIEW]), ("edit", &[TO_EDIT, TO_VIEW]), ("view", &[TO_VIEW])];
const TO_ADMIN: &str = "rbac.authorization.k8s.io/aggregate-to-admin";
const TO_EDIT: &str = "rbac.authorization.k8s.io/aggregate-to-edit";
const TO_VIEW: &str = "rbac.authorization.k8s.io/aggregate-to-view";

/// The labels by which a role of the cluster's own collects others; none for any other role.
fn collected_by_the_clusters((kind, _, name): Key<'_>) -> Option<&'static [&'static str]> {
    let (_, labels) = COLLECTING.iter().find(|(role, _)| kind == Kind::ClusterRole && *role == name)?;
    Some(labels)
}

/// Whether a binding's subject is the service account: by its name, as a user, or by a group that it is in.
fn is_subject(subject: &Value, binding_namespace: &str, namespace: &str, account: &str) -> bool {
    let name = text(subject, "name").unwrap_or_default();
    match text(subject, "kind").unwrap_or_default() {
        "ServiceAccount" => {
            name == account && text(subject, "namespace").unwrap_or(binding_namespace) == namespace
        }
        "User" => {
            name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
                == Some((namespace, account))
        }
        "Group" => {
            matches!(name, "system:authenticated" | "system:serviceaccounts")
                || name.strip_prefix("system:serviceaccounts:") == Some(namespace)
        }
        _ => false,
    }
}

fn role_of<'a>(binding: &'a Value, namespace: &'a str) -> Option<Key<'a>> {
    let name = text(binding, "roleRef.name")?;
    match text(binding, "roleRef.kind")? {
        "ClusterRole" => Some((Kind::ClusterRole, "", name)),
        "Role" => Some((Kind::Role, namespace, name)),
        _ => None,
    }
}

/// The text at a path, if it is one and not empty.
fn text<'v>(value: &'v Value, path: &str) -> Option<&'v str> {
    at(value, path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The names in a list of references: `[{name: …}]`.
fn names_in<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v str> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|reference| text(reference, "name"))
}

impl From<ClosureError> for Refusal {
    fn from(error: ClosureError) -> Refusal {
        Refusal::of_error(error.reason(), &error)
    }
}
