//! What the API server, or the way to it, refuses: each with its reason and what to do next.

use std::path::PathBuf;
use std::time::Duration;

use hookhost_core::Reason;
use hookhost_helm::text::printable;
use kube::client::AuthError;
use kube::config::InClusterError;
use kube::core::Status;

use super::call::Call;
use super::kubeconfig::Unusable;
use super::proxy::{ProxyError, ThroughProxy};

/// This process does not hold the lease, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this hookhost is not the leader, so it writes nothing")]
pub struct NotLeader;

/// Bytes of the API server's own words that are repeated: a webhook's whole refusal, but not a page of HTML.
const MESSAGE_BYTES: usize = 2048;

/// Why a connection cannot be made or a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A kubeconfig was named or found, but cannot be used.
    #[error("the kubeconfig {} cannot be used", printable(file))]
    Kubeconfig {
        /// Which one.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Box<Unusable>,
    },
    /// A proxy was named that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A kubeconfig has no context of the name asked for.
    #[error("the kubeconfig {} has no context {}", printable(file), hookhost_helm::text::quote(context))]
    NoContext {
        /// Which kubeconfig.
        file: String,
        /// The name asked for.
        context: String,
        /// The names it has, sorted.
        known: Vec<String>,
    },
    /// Neither a kubeconfig nor a pod's service account.
    #[error("there is no cluster to connect to: this is not a pod, and there is no {}", looked.display())]
    NoCluster {
        /// Where a kubeconfig would have been.
        looked: PathBuf,
    },
    /// This looks like a pod, but its service account cannot be used.
    #[error("the pod's service account cannot be used")]
    ServiceAccount {
        /// What is wrong with it.
        #[source]
        source: Box<InClusterError>,
    },
    /// The configuration is read, but no client can be made of it.
    #[error("cannot set up a connection to {server}")]
    Connection {
        /// The API server's address.
        server: String,
        /// What is wrong: certificates, a key, a proxy.
        #[source]
        source: Box<kube::Error>,
    },
    /// RBAC, or another authorizer, says no.
    #[error("may not {call}: {message}")]
    Forbidden {
        /// What was asked.
        call: Call,
        /// The API server's words.
        message: String,
    },
    /// An admission webhook, a ValidatingAdmissionPolicy or an admission plugin of the API server, a quota for one, says no: the
    /// rights are there.
    #[error("cannot {call}: admission denies it: {message}")]
    Denied {
        /// What was asked.
        call: Call,
        /// Admission's words.
        message: String,
    },
    /// The API server does not know who we are.
    #[error("cannot {call}: the API server does not accept these credentials: {message}")]
    Unauthorised {
        /// What was asked.
        call: Call,
        /// The API server's words.
        message: String,
    },
    /// The API server does not know the kind: its CRD is not installed.
    #[error("cannot {call}: the cluster has no {}", call.qualified())]
    KindMissing {
        /// What was asked.
        call: Call,
    },
    /// The object, or its namespace, is not there.
    #[error("cannot {call}: {message}")]
    NotFound {
        /// What was asked.
        call: Call,
        /// The API server's words.
        message: String,
    },
    /// An object of that name is there already.
    #[error("cannot {call}: there is one already")]
    AlreadyExists {
        /// What was asked.
        call: Call,
    },
    /// Somebody else changed the object since it was read.
    #[error("cannot {call}: it was changed meanwhile")]
    Conflict {
        /// What was asked.
        call: Call,
    },
    /// The API server refuses for good: the object is invalid.
    #[error("cannot {call}: {message}")]
    Rejected {
        /// What was asked.
        call: Call,
        /// The HTTP status.
        code: u16,
        /// The API server's words.
        message: String,
    },
    /// The API server cannot answer now.
    #[error("cannot {call} now: {message}")]
    Busy {
        /// What was asked.
        call: Call,
        /// When to ask again, if it says so.
        retry_after: Option<Duration>,
        /// The API server's words.
        message: String,
    },
    /// No connection, or it broke before the answer: a write may or may not have been done.
    #[error("cannot {call}: no answer from the API server")]
    Unreachable {
        /// What was asked.
        call: Call,
        /// What happened to the connection.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time: a write may or may not have been done.
    #[error("cannot {call}: no answer from the API server in {} s", limit.as_secs_f32())]
    TimedOut {
        /// What was asked.
        call: Call,
        /// How long it was waited for.
        limit: Duration,
    },
    /// An answer that is not what the API promises.
    #[error("cannot {call}: the answer cannot be understood")]
    Unreadable {
        /// What was asked.
        call: Call,
        /// What is wrong with it.
        #[source]
        source: Box<kube::Error>,
    },
    /// Not the leader, or not any more: nothing was sent, or what was sent was given up.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
}

impl Error {
    /// Explains what kube says of a call.
    pub fn explain(call: &Call, error: kube::Error) -> Error {
        let call = call.clone();
        match error {
            kube::Error::Api(status) => Error::refused(call, &status),
            kube::Error::Service(source) => Error::Unreachable { call, source },
            kube::Error::HyperError(source) => Error::Unreachable { call, source: Box::new(source) },
            kube::Error::ReadEvents(source) => Error::Unreachable { call, source: Box::new(source) },
            // An exec plugin or a token file that fails: no credentials, and its words say which.
            kube::Error::Auth(source) => Error::Unauthorised { call, message: words(&source.to_string()) },
            other => Error::Unreadable { call, source: Box::new(other) },
        }
    }

    fn refused(call: Call, status: &Status) -> Error {
        let message = words(&status.message);
        if is_denied_by_admission(status) {
            return Error::Denied { call, message };
        }
        // By the code, which is always there. (kube's `is_not_found` and the like look at the reason only, in spite of what
        // they say, and the text "404 page not found" has none.)
        match status.code {
            409 if status.is_already_exists() => Error::AlreadyExists { call },
            409 => Error::Conflict { call },
            // So the API server answers a patch for another object of that name than there is by now.
            422 if is_of_another(status) => Error::Conflict { call },
            403 => Error::Forbidden { call, message },
            404 if names_nothing(status) => Error::KindMissing { call },
            404 => Error::NotFound { call, message },
            401 => Error::Unauthorised { call, message },
            // 410: a list's continuation or a watch's start is too old; asking again from the start is right.
            408 | 410 | 429 | 500.. => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                Error::Busy { call, retry_after, message }
            }
            code => Error::Rejected { call, code, message },
        }
    }

    /// The word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Error::Kubeconfig { .. }
            | Error::Proxy(_)
            | Error::NoContext { .. }
            | Error::NoCluster { .. }
            | Error::ServiceAccount { .. }
            | Error::Connection { .. } => Reason::ClusterNotConfigured,
            Error::Forbidden { .. } | Error::Unauthorised { .. } => Reason::AccessForbidden,
            Error::Denied { .. } => Reason::AdmissionDenied,
            Error::KindMissing { .. } => Reason::CrdMissing,
            Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Conflict { .. }
            | Error::Rejected { .. } => Reason::ApiRejected,
            Error::Busy { .. }
            | Error::Unreachable { .. }
            | Error::TimedOut { .. }
            | Error::Unreadable { .. } => Reason::ClusterUnreachable,
            Error::NotLeader(_) => Reason::NotLeader,
        }
    }

    /// Whether asking again, with fresh eyes, may well succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Conflict { .. }
                | Error::Busy { .. }
                | Error::Unreachable { .. }
                | Error::TimedOut { .. }
                | Error::NotLeader(_)
        )
    }

    /// What to do next, in a sentence or two.
    pub fn advice(&self) -> String {
        match self {
            Error::Kubeconfig { source, .. } => source.advice(),
            Error::Proxy(error) => error.advice(),
            Error::NoContext { known, .. } if known.is_empty() => "It has no contexts at all; name another file.".into(),
            Error::NoContext { known, .. } => format!("It has {}.", printable(&hookhost_helm::text::list(known))),
            Error::NoCluster { .. } => {
                "Name a kubeconfig (--kubeconfig FILE, or the variable KUBECONFIG), or run hookhost as a pod."
                    .into()
            }
            Error::ServiceAccount { .. } => {
                "Set automountServiceAccountToken: true on the pod, as hookhost's Helm chart does.".into()
            }
            Error::Connection { source, .. } => no_client(source).into(),
            Error::Forbidden { call, .. } => {
                let place = match call.namespace() {
                    Some(namespace) => format!("a Role in namespace {}", printable(namespace)),
                    None => "a ClusterRole".into(),
                };
                format!(
                    "With RBAC, the rule that is missing is, in {place}: {}. hookhost's Helm chart makes every rule that the \
                     controller needs.",
                    call.rule()
                )
            }
            Error::Denied { .. } => {
                "No right is missing: the admission webhook, policy or plugin that the message names forbids what was to be \
                 written. Change that, or ask whoever runs it."
                    .into()
            }
            Error::Unauthorised { .. } => "Log in again, or renew the credentials in the kubeconfig.".into(),
            Error::KindMissing { call } => install(call.group()),
            Error::NotFound { .. } => "Check the name and the namespace.".into(),
            Error::AlreadyExists { .. } | Error::Conflict { .. } => {
                "It is read again and tried anew; nothing was overwritten.".into()
            }
            Error::Rejected { .. } => "Correct what the API server's message names.".into(),
            Error::Busy { .. } => "Try again in a moment; if it lasts, see the API server's own log.".into(),
            Error::Unreachable { source, .. } => no_answer(&**source),
            Error::TimedOut { .. } => REACHABLE.into(),
            Error::Unreadable { .. } => {
                "Check that the address is an API server's, and that its version is supported (1.33 or newer).".into()
            }
            Error::NotLeader(_) => "Another hookhost leads and does the work.".into(),
        }
    }
}

const REACHABLE: &str = "Check that the API server's address can be reached from here: `kubectl version`.";

/// What to do where no client can be made.
fn no_client(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(_)) => {
            "Install the program that the kubeconfig's user names at exec.command, or correct its path."
        }
        kube::Error::Auth(AuthError::AuthExecRun { .. } | AuthError::AuthExecParse(_)) => {
            "The program that the kubeconfig's user names at exec.command has failed: run it by hand, or log in again."
        }
        kube::Error::Auth(AuthError::ReadTokenFile(..)) => {
            "Correct the tokenFile of the kubeconfig's user, or log in again."
        }
        kube::Error::Auth(_) => "Log in again, or renew the credentials of the kubeconfig's user.",
        _ => "Correct the certificate and key of the kubeconfig's user.",
    }
}

/// What to do where no answer came, by what happened on the way.
fn no_answer(source: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let chain = || std::iter::successors(Some(source as &(dyn std::error::Error + 'static)), |e| e.source());
    let certificate =
        chain().filter_map(tls_error).any(|e| matches!(e, rustls::Error::InvalidCertificate(_)));
    let proxy = source.downcast_ref::<ThroughProxy>().map(|through| &through.proxy);
    match proxy {
        _ if certificate => {
            "The server's certificate is not of the kubeconfig's certificate-authority, or not for this address: correct the \
             cluster's certificate-authority or server."
                .into()
        }
        Some(proxy) => format!(
            "Check the proxy {proxy}: its address, port and credentials, and whether it lets through to the API server. {}",
            proxy.way_around()
        ),
        None => REACHABLE.into(),
    }
}

/// What TLS says, which may be within errors of the connection that are not each other's sources.
fn tls_error<'e>(mut error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    while let Some(outer) = error.downcast_ref::<std::io::Error>() {
        error = outer.get_ref()?;
    }
    error.downcast_ref::<rustls::Error>()
}

/// The API server's words, made fit for a log line or a condition.
fn words(message: &str) -> String {
    let cut = message.floor_char_boundary(MESSAGE_BYTES);
    let mut words = printable(&message[..cut]);
    if cut < message.len() {
        words.push('…');
    }
    words
}

/// How the words begin that the API server's authorizers, and those of its admission plugins that ask them, put behind `is forbidden:`.
const AUTHORIZERS: [&str; 3] = [
    "User \"",
    // To make a role with more rights than one's own takes the verb "escalate".
    "user \"",
    // OwnerReferencesPermissionEnforcement.
    "cannot set ",
];

/// Whether admission has denied the request. Webhooks and policies choose the code themselves (403 and 422 are usual), so their words
/// count, and only where the API server puts them: what an object's fields hold is quoted further behind.
fn is_denied_by_admission(status: &Status) -> bool {
    let is_denial = |words: &str| {
        (words.starts_with("admission webhook \"") && words.contains("\" denied the request"))
            || words.starts_with("ValidatingAdmissionPolicy '")
    };
    let message = &status.message;
    // From Kubernetes 1.35 on a webhook's words come behind what they are about, as those of policies do.
    let about = |mark| message.split_once(mark).filter(|(head, _)| !head.contains(" is invalid: "));
    let forbidden = about(" is forbidden: ").map(|(_, words)| words);
    let failed = message.strip_prefix("Internal error occurred: ");
    [Some(message.as_str()), forbidden, failed].into_iter().flatten().any(is_denial)
        || (status.code == 403
            && forbidden.is_some_and(|words| !AUTHORIZERS.iter().any(|start| words.starts_with(start))))
}

/// Whether an object is invalid for its UID alone, which no update changes.
fn is_of_another(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes).peekable();
    causes.peek().is_some() && causes.all(|cause| cause.field == "metadata.uid")
}

/// A 404 about a path, not about an object: the server does not know the kind. An object's 404 names it.
fn names_nothing(status: &Status) -> bool {
    status.details.as_ref().is_none_or(|details| details.name.is_empty())
}

/// How the kinds of a group come into a cluster.
pub(crate) fn install(group: &str) -> String {
    match group {
        group if group.ends_with(".vworkspace.io") => {
            "Install the CRDs: `hookhost crds | kubectl apply --server-side -f -`, or with hookhost's Helm chart."
                .into()
        }
        group if group.ends_with(".toolkit.fluxcd.io") => {
            "Install Flux's helm-controller, or hand hookhost targets that need none.".into()
        }
        _ => "Check that the cluster is Kubernetes 1.33 or newer, with this API switched on.".into(),
    }
}
