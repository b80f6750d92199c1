//! What was *written* by this process and may not have come back through the watch yet.
//!
//! A write is followed by its own event, but the next look at the Operation can come first, for a reason of its own. It
//! must not see the form before the write: it would write again, and be refused as out of date.

use std::collections::HashMap;

use hookhost_cluster::operation::Whole;
use hookhost_cluster::text::version;
use parking_lot::Mutex;

/// The forms of Operations that this process wrote last, until their watch has caught up.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<String, Whole>>);

impl Written {
    /// Keeps what a write gave back.
    pub(crate) fn keep(&self, written: Whole) {
        self.0.lock().insert(written.brief.uid.clone(), written);
    }

    /// The newer of what the watch has and what was written.
    pub(crate) fn latest(&self, watched: Whole) -> Whole {
        let uid = &watched.brief.uid;
        let mut written = self.0.lock();
        match written.get(uid) {
            Some(newer) if version(&newer.object) > version(&watched.object) => newer.clone(),
            Some(_) => {
                written.remove(uid);
                watched
            }
            None => watched,
        }
    }

    /// Forgets an Operation that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(version: &str) -> Whole {
        let text = format!(
            r#"{{"metadata": {{"name": "op", "namespace": "org", "uid": "u", "resourceVersion": "{version}"}}}}"#
        );
        Whole::read(&text).unwrap()
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_it() {
        let written = Written::default();
        written.keep(form("10"));
        let seen = |watched: &str| written.latest(form(watched)).object.metadata.resource_version.clone();
        assert_eq!(seen("9").as_deref(), Some("10"), "longer digits are not later: numbers are compared");
        assert_eq!(seen("10").as_deref(), Some("10"));
        assert_eq!(seen("9").as_deref(), Some("9"), "the watch caught up, so nothing is kept");
    }
}
