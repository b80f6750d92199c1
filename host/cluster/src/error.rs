//! What can go wrong while an Operation is looked at, though nothing is wrong with it.
//!
//! None of it is written to the Operation: it is looked at again, with growing pauses, and a log line and a metric tell.

use hookhost_core::Reason;

use crate::client;

/// Short for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an Operation could not be looked at to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refused or could not be asked.
    #[error(transparent)]
    Api(#[from] client::Error),
    /// What was planned, or is to be written, is no Kubernetes object.
    #[error("what is to be written is no Kubernetes object")]
    NotAnObject(#[from] serde_json::Error),
    /// The API server's answer is not what was asked for.
    #[error("the API server answered with something that is not {what}")]
    Unreadable {
        /// What was asked for.
        what: &'static str,
    },
    /// A target has a field that it may not have, or more than is read.
    #[error(transparent)]
    Target(#[from] hookhost_core::target::TargetError),
    /// The key of claims is not known.
    #[error("hookhost does not know yet what it made: the key of its claims has not been read")]
    NoClaimKey,
    /// More pods say that they are a run's than are read.
    #[error(
        "pods in the namespace {namespace} with the labels of this run have more than {allowed} bytes, so that it is not known \
         whether one of them still runs. Delete those that are not the run's"
    )]
    TooManyPods {
        /// Where they are.
        namespace: String,
        /// Bytes that are read.
        allowed: usize,
    },
    /// A thread for blocking work could not be had, or ended early.
    #[error("a record could not be decoded: its thread ended")]
    Thread(#[from] tokio::task::JoinError),
}

impl Error {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Error::Api(error) => error.reason(),
            Error::Target(error) => error.reason(),
            Error::NoClaimKey => Reason::ClaimKeyUnavailable,
            Error::TooManyPods { .. } => Reason::ApiRejected,
            Error::NotAnObject(_) | Error::Unreadable { .. } | Error::Thread(_) => Reason::HostFailed,
        }
    }
}

/// The error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    hookhost_core::refusal::chain(error)
}
