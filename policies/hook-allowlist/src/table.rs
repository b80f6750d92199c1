//! The *table* is what no hook may need unless settings say otherwise: what amounts to all rights in the namespace, or to
//! more than those.
//!
//! Each row has a name, by which the setting `permit` takes it out, and the reason why it is there. README.md has the same
//! table.

use std::fmt;

use hook_policy::AnyOf;
use hook_policy::glob::Glob;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::objects::{Binds, Forbidden, Grants};

/// The name of a row of the table of what hooks may not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    /// Roles and bindings for the whole cluster.
    ClusterWide,
    /// What is in another namespace than the release.
    Elsewhere,
    /// Bindings to the cluster's own powerful roles.
    PowerfulRoles,
    /// Bindings to roles that are not among the objects that the hook needs.
    ExistingRoles,
    /// Bindings that grant somebody else something too.
    Others,
    /// Anything on all resources.
    Everything,
    /// Anything on all paths that are no resources.
    EveryPath,
    /// Listing and watching Secrets.
    ReadSecrets,
    /// Ways into other pods.
    EnterPods,
    /// Pods, and what makes pods.
    MakePods,
    /// What Flux and Argo CD apply.
    Deploy,
    /// Tokens of service accounts.
    Tokens,
    /// All verbs on anything.
    EveryVerb,
    /// Being somebody else.
    Impersonate,
    /// Rights that one does not have.
    Escalate,
    /// Roles and bindings.
    WriteRbac,
    /// Certificates of users and nodes.
    Certificates,
    /// The kubelet's API.
    Nodes,
    /// Volumes of the cluster.
    Volumes,
    /// Labels of namespaces.
    Namespaces,
    /// Webhooks, admission policies and hook policies.
    Admission,
    /// Kinds of the API, and who serves them.
    ExtendApi,
}

/// One row.
pub(crate) struct Row {
    /// By which settings permit it.
    pub(crate) name: Name,
    /// What no hook may need.
    what: What,
    /// Why not.
    why: &'static str,
}

/// What a row forbids. Lists are lists of which one must fit; an empty one fits all.
enum What {
    /// Objects of these kinds.
    Kinds(&'static [&'static str]),
    /// Objects in another namespace than the release.
    Elsewhere,
    /// Bindings to the ClusterRoles of these names.
    Binds(&'static [&'static str]),
    /// Bindings to roles that are not among the objects that the hook needs.
    BindsExisting,
    /// Bindings that grant somebody else something too.
    BindsOthers,
    /// Rules that grant one of these verbs on one of these resources in one of these groups.
    Grants(&'static [&'static str], &'static [&'static str], &'static [&'static str]),
    /// Rules on these paths.
    Paths(&'static [&'static str]),
}

const CORE: &[&str] = &[""];
const ANY: &[&str] = &[];
/// The verbs that make something what it was not.
const WRITE: &[&str] = &["create", "update", "patch"];

/// What is forbidden unless settings say otherwise.
///
/// The sources: "RBAC Good Practices" of Kubernetes' documentation (Privilege escalation risks); what the verbs and
/// subresources of Kubernetes 1.34 do; and the kinds of those who apply for others in clusters where hookhost runs.
pub(crate) const TABLE: [Row; 22] = [
    Row {
        name: Name::ClusterWide,
        what: What::Kinds(&["ClusterRole", "ClusterRoleBinding"]),
        why: "it acts on the whole cluster, not on the release alone",
    },
    Row {
        name: Name::Elsewhere,
        what: What::Elsewhere,
        why: "others answer for what is in other namespaces",
    },
    // Whether the chart has a role of that name as well does not matter: what counts is the cluster's.
    Row {
        name: Name::PowerfulRoles,
        what: What::Binds(&["cluster-admin", "admin", "edit", "system:*"]),
        why: "they grant everything in the namespace, or what only the cluster's own parts should do",
    },
    Row {
        name: Name::Others,
        what: What::BindsOthers,
        why: "a run is no reason to give rights to anybody else",
    },
    Row {
        name: Name::ExistingRoles,
        what: What::BindsExisting,
        why: "what that role grants is not shown to policies, and it may be anything",
    },
    Row {
        name: Name::Everything,
        what: What::Grants(ANY, &["*"], ANY),
        why: "it includes Secrets, commands in pods, and whatever there will be",
    },
    Row {
        name: Name::EveryPath,
        what: What::Paths(&["*", "/*"]),
        why: "it includes the API server's own logs and profiles",
    },
    Row {
        name: Name::ReadSecrets,
        what: What::Grants(CORE, &["secrets"], &["list", "watch"]),
        why: "it shows every Secret of the namespace, with passwords, tokens and release records",
    },
    Row {
        name: Name::EnterPods,
        what: What::Grants(
            CORE,
            &[
                "pods/exec",
                "pods/attach",
                "pods/ephemeralcontainers",
                "pods/portforward",
                "pods/proxy",
                "services/proxy",
            ],
            ANY,
        ),
        why: "it acts within other pods, with their accounts and Secrets, past network policies",
    },
    Row {
        name: Name::MakePods,
        what: What::Grants(
            &["", "apps", "batch"],
            &[
                "pods",
                "replicationcontrollers",
                "deployments",
                "replicasets",
                "statefulsets",
                "daemonsets",
                "jobs",
                "cronjobs",
            ],
            WRITE,
        ),
        why: "a pod may use every account, Secret and volume of the namespace",
    },
    Row {
        name: Name::Deploy,
        what: What::Grants(
            &["helm.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io", "argoproj.io"],
            &[
                "helmreleases",
                "kustomizations",
                "applications",
                "applicationsets",
                "appprojects",
                "workflows",
            ],
            WRITE,
        ),
        why: "Flux and Argo apply it with rights of their own, often all there are",
    },
    Row {
        name: Name::Tokens,
        what: What::Grants(CORE, &["serviceaccounts/token"], ANY),
        why: "who has an account's token is that account",
    },
    Row {
        name: Name::EveryVerb,
        what: What::Grants(ANY, ANY, &["*"]),
        why: "it includes whatever verbs there will be: the few that a hook needs have names",
    },
    Row {
        name: Name::Impersonate,
        what: What::Grants(
            &["", "authentication.k8s.io"],
            &["users", "groups", "serviceaccounts", "uids"],
            &["impersonate"],
        ),
        why: "it is to be any user, group or account",
    },
    Row {
        name: Name::Escalate,
        what: What::Grants(&["rbac.authorization.k8s.io"], &["roles", "clusterroles"], &["escalate", "bind"]),
        why: "it is to grant what one does not have",
    },
    Row {
        name: Name::WriteRbac,
        what: What::Grants(
            &["rbac.authorization.k8s.io"],
            &["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
            WRITE,
        ),
        why: "it hands rights on, and keeps them when the run is over",
    },
    Row {
        name: Name::Certificates,
        what: What::Grants(
            &["certificates.k8s.io"],
            &["certificatesigningrequests/approval", "certificatesigningrequests/status", "signers"],
            &["update", "patch", "approve", "sign", "attest"],
        ),
        why: "who has a user's certificate is that user",
    },
    Row {
        name: Name::Nodes,
        what: What::Grants(CORE, &["nodes/proxy"], ANY),
        why: "it acts within every pod of a node, past admission and audit",
    },
    Row {
        name: Name::Volumes,
        what: What::Grants(CORE, &["persistentvolumes"], WRITE),
        why: "a volume may be any directory of a node, past Pod Security",
    },
    Row {
        name: Name::Namespaces,
        what: What::Grants(CORE, &["namespaces"], &["update", "patch"]),
        why: "a label lifts Pod Security, or lets hookhost act there",
    },
    Row {
        name: Name::Admission,
        what: What::Grants(
            &["admissionregistration.k8s.io", "policy.vworkspace.io"],
            &[
                "mutatingwebhookconfigurations",
                "validatingwebhookconfigurations",
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "hookpolicies",
            ],
            &["create", "update", "patch", "delete", "deletecollection"],
        ),
        why: "it sees and changes what anybody writes, or lifts the rules for it",
    },
    Row {
        name: Name::ExtendApi,
        what: What::Grants(
            &["apiregistration.k8s.io", "apiextensions.k8s.io"],
            &["apiservices", "customresourcedefinitions"],
            WRITE,
        ),
        why: "it answers in the API server's place, or sees what is stored",
    },
];

/// The table's rows but for those that are permitted. `existing` are roles that bindings may refer to though they are not
/// among the objects that the hook needs.
pub(crate) fn forbidden(permit: &[Name], existing: &[Glob]) -> Vec<Forbidden> {
    let rows = TABLE.iter().filter(|row| !permit.contains(&row.name));
    rows.map(|row| row.forbidden(existing)).collect()
}

impl Row {
    fn forbidden(&self, existing: &[Glob]) -> Forbidden {
        let by_name = match self.what {
            What::BindsExisting => "name it in existingRoles, or ",
            _ => "",
        };
        let mut forbidden = Forbidden {
            why: Some(format!("{} (settings may {by_name}say permit: [{}])", self.why, self.name)),
            ..Forbidden::default()
        };
        match &self.what {
            What::Kinds(kinds) => forbidden.kinds = globs(kinds),
            What::Elsewhere => forbidden.elsewhere = true,
            What::Binds(names) => {
                let (kinds, names) = (globs(&["ClusterRole"]), globs(names));
                forbidden.binds = Some(Binds { kinds, names, ..Binds::default() });
            }
            What::BindsExisting => {
                let except = AnyOf::of(existing.iter().cloned());
                forbidden.binds = Some(Binds { existing: true, except, ..Binds::default() });
            }
            What::BindsOthers => forbidden.binds = Some(Binds { to_others: true, ..Binds::default() }),
            What::Grants(groups, resources, verbs) => {
                forbidden.grants = Some(Grants {
                    api_groups: words(groups),
                    resources: words(resources),
                    verbs: words(verbs),
                    ..Grants::default()
                });
            }
            What::Paths(paths) => {
                forbidden.grants = Some(Grants { non_resource_urls: words(paths), ..Grants::default() });
            }
        }
        forbidden
    }
}

/// As README.md has it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let what = match &self.what {
            What::Kinds(kinds) => format!("a {}", list(kinds)),
            What::Elsewhere => "anything in another namespace than the release's".to_owned(),
            What::Binds(names) => format!("a binding to a ClusterRole {}", list(names)),
            What::BindsExisting => {
                "a binding to a role that is not among the objects that the hook needs, but for those in `existingRoles`".to_owned()
            }
            What::BindsOthers => {
                "a binding that also grants its role to anyone but a service account of the release's namespace".to_owned()
            }
            What::Grants(_, resources, verbs) => match (resources, verbs) {
                (resources, []) => format!("any verb on {}", list(resources)),
                ([], verbs) => format!("{} on anything", list(verbs)),
                (resources, verbs) => format!("{} on {}", list(verbs), list(resources)),
            },
            What::Paths(paths) => format!("any verb on the paths {}", list(paths)),
        };
        write!(f, "| `{}` | {what} | {} |", self.name, self.why)
    }
}

/// As settings have it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::ClusterWide => "cluster-wide",
            Name::Elsewhere => "elsewhere",
            Name::PowerfulRoles => "powerful-roles",
            Name::ExistingRoles => "existing-roles",
            Name::Others => "others",
            Name::Everything => "everything",
            Name::EveryPath => "every-path",
            Name::ReadSecrets => "read-secrets",
            Name::EnterPods => "enter-pods",
            Name::MakePods => "make-pods",
            Name::Deploy => "deploy",
            Name::Tokens => "tokens",
            Name::EveryVerb => "every-verb",
            Name::Impersonate => "impersonate",
            Name::Escalate => "escalate",
            Name::WriteRbac => "write-rbac",
            Name::Certificates => "certificates",
            Name::Nodes => "nodes",
            Name::Volumes => "volumes",
            Name::Namespaces => "namespaces",
            Name::Admission => "admission",
            Name::ExtendApi => "extend-api",
        })
    }
}

fn words(items: &[&str]) -> Option<AnyOf<String>> {
    AnyOf::of(items.iter().copied().map(String::from))
}

fn globs(items: &[&str]) -> Option<AnyOf<Glob>> {
    AnyOf::of(items.iter().copied().map(Glob::new))
}
