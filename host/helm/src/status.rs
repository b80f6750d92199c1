//! A *status* is what Helm made of a revision of a release.

use strum::{Display, EnumString, IntoStaticStr};

/// What Helm made of a revision so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
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
    /// Helm's word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state of Helm's word for it.
    pub fn from_word(word: &str) -> Status {
        word.parse().unwrap_or_default()
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
