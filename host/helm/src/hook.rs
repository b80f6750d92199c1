//! A *hook* is one Kubernetes object of a release record's `hooks`: what a chart annotated with `helm.sh/hook`.
//!
//! Helm stores a hook as YAML text with its events, weight and path beside it. One stored hook may hold several
//! objects (several documents, or a List); here each object is a [`Hook`] of its own, with the events, weight and path of
//! what it was stored in. A hook whose text cannot be read is listed too, with the reason in [`Hook::runnable`].
//!
//! A hook's name is not unique: charts commonly give one name to a Job, its service account and its role. See
//! [`find`].

use crate::record::{LastRun, Record};
use crate::snapshot;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

mod find;
mod list;
mod runnable;
#[cfg(test)]
mod tests;

pub use find::canonical_event;
pub use find::cut;
pub use find::{Candidate, EventError, FindError, MAX_NAMED, MAX_OF_EVENT, Selector, find, of_event};
pub use list::{Listing, list};
pub use runnable::JOB_CONTROLLER;
pub use runnable::{NotRunnable, check};

/// One object of a release's hooks.
#[derive(Clone, PartialEq)]
pub struct Hook {
    /// metadata.name; of a Job or Pod without one its metadata.generateName, which the template's path tells from others that
    /// begin so. Empty where the manifest has neither, and such a hook is not runnable.
    pub name: String,
    /// The kind, for example "Job".
    pub kind: String,
    /// The API version, for example "batch/v1"; empty where the manifest could not be read.
    pub api_version: String,
    /// The namespace in which Helm creates it: the one that its manifest names, else the release's.
    pub namespace: String,
    /// Whether that is another than the release's.
    pub is_elsewhere: bool,
    /// The template it was rendered from, for example "nextcloud/templates/migrate.yaml".
    pub path: String,
    /// Helm's events in their canonical spelling, for example "pre-upgrade".
    pub events: Vec<String>,
    /// Helm's weight; lower ones run first.
    pub weight: i32,
    /// Helm's delete policies as recorded; empty means Helm's default, "before-hook-creation".
    pub delete_policies: Vec<String>,
    /// When and how Helm itself last ran it in this revision.
    pub last_run: LastRun,
    /// The object as JSON, read as Helm and kubectl read YAML; null where it could not be read, or was only listed (see
    /// [`Listing::heads`]). Shared, because each request for it carries it whole.
    pub manifest: Arc<Value>,
    /// Whether it can be run as a Job, or why not.
    pub runnable: Result<(), NotRunnable>,
}

impl Hook {
    /// A hook of which only this is known.
    pub fn sketch(name: String, kind: String, api_version: String, manifest: Value) -> Hook {
        Hook {
            name,
            kind,
            api_version,
            namespace: String::new(),
            is_elsewhere: false,
            path: String::new(),
            events: Vec::new(),
            weight: 0,
            delete_policies: Vec::new(),
            last_run: LastRun::default(),
            manifest: Arc::new(manifest),
            runnable: Ok(()),
        }
    }

    /// What it takes besides its manifest, about: its texts, those twice that may be in the reason too.
    pub fn text_bytes(&self) -> usize {
        let words = self.events.iter().chain(&self.delete_policies);
        let words = words.map(|word| size_of::<String>() + word.len()).sum::<usize>();
        let doubled = self.name.len() + self.kind.len() + self.api_version.len();
        size_of::<Hook>() + 2 * doubled + self.namespace.len() + self.path.len() + words
    }

    /// Whether Flux's digest of a verified record covers it. One of the event `test` it does not: anybody who can write the record
    /// can have written it.
    pub fn is_covered(&self) -> bool {
        !self.events.iter().any(|event| event == snapshot::TEST)
    }

    /// Whether it is of a kind that can be run: a Job or a Pod.
    pub fn is_job_or_pod(&self) -> bool {
        runnable::is_job_or_pod(&self.api_version, &self.kind)
    }
}

impl Record {
    /// The objects of the hooks, in the order in which Helm runs those of one event: by weight, then by name.
    pub fn listing(&self) -> Listing<'_> {
        Listing::of(&self.stored_hooks, &self.namespace)
    }

    /// The same, each with its manifest: see [`Listing::read_all`].
    pub fn hooks(&self) -> Vec<Hook> {
        self.listing().read_all()
    }
}

/// Names what the hook is; never prints the manifest, which may hold secrets.
impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("path", &self.path)
            .field("events", &self.events)
            .field("weight", &self.weight)
            .field("runnable", &self.runnable)
            .finish_non_exhaustive()
    }
}
