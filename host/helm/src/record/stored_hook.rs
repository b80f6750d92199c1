//! A *stored hook* is a hook as a record has it: YAML text beside what Helm read of its annotations.

use std::fmt;

use jiff::Timestamp;

/// A hook as Helm stored it: text, with what Helm's annotations said of it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHook {
    /// metadata.name, as Helm read it.
    pub name: String,
    /// The kind, as Helm read it.
    pub kind: String,
    /// The template it was rendered from.
    pub path: String,
    /// Helm's events, as stored.
    pub events: Vec<String>,
    /// Helm's weight.
    pub weight: i32,
    /// Helm's delete policies, as stored.
    pub delete_policies: Vec<String>,
    /// When and how Helm itself last ran it.
    pub last_run: LastRun,
    /// YAML, usually one object.
    pub manifest: String,
}

/// Names what the hook is; never prints the manifest.
impl fmt::Debug for StoredHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHook")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("path", &self.path)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// When and how Helm itself last ran a hook in one revision of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRun {
    /// When Helm created it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// "Unknown", "Running", "Succeeded" or "Failed"; empty if Helm never ran it in this revision.
    pub phase: String,
}
