//! A *status* is what Helm made of a revision of a release.

use std::fmt;

/// What Helm made of a revision so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not known, or a word that this version of hookhost does not know.
    #[default]
    Unknown,
    /// The current revision.
    Deployed,
    /// Uninstalled, with its history kept.
    Uninstalled,
    /// Replaced by a later revision.
    Superseded,
    /// Its install, upgrade or rollback failed.
    Failed,
    /// Being uninstalled.
    Uninstalling,
    /// Being installed.
    PendingInstall,
    /// Being upgraded to.
    PendingUpgrade,
    /// Being rolled back to.
    PendingRollback,
}

impl Status {
    const ALL: [Status; 9] = [
        Status::Unknown,
        Status::Deployed,
        Status::Uninstalled,
        Status::Superseded,
        Status::Failed,
        Status::Uninstalling,
        Status::PendingInstall,
        Status::PendingUpgrade,
        Status::PendingRollback,
    ];

    /// Helm's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::Deployed => "deployed",
            Status::Uninstalled => "uninstalled",
            Status::Superseded => "superseded",
            Status::Failed => "failed",
            Status::Uninstalling => "uninstalling",
            Status::PendingInstall => "pending-install",
            Status::PendingUpgrade => "pending-upgrade",
            Status::PendingRollback => "pending-rollback",
        }
    }

    /// The state of Helm's word for it.
    pub fn from_word(word: &str) -> Status {
        Status::ALL.into_iter().find(|status| status.as_str() == word).unwrap_or_default()
    }

    /// Whether this is the release's current revision.
    pub fn is_deployed(self) -> bool {
        self == Status::Deployed
    }

    /// Whether Helm is working on it right now: installing, upgrading, rolling back or uninstalling.
    pub fn is_pending(self) -> bool {
        matches!(
            self,
            Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback | Status::Uninstalling
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
