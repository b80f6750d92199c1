//! *Later* holds suspects that were looked at and are to be looked at again, each once.
//!
//! Whoever may change a Job can have it told of all the time. That brings the next look forward, but not to before a rest.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::Place;

/// The longest rest after a look: whoever has repaired what was wrong, and changes the Job, waits no longer than this.
const REST: Duration = Duration::from_secs(5);

/// Suspects by when they are looked at again.
#[derive(Debug, Default)]
pub(super) struct Later {
    by_time: BTreeSet<(Instant, Place)>,
    of: HashMap<Place, Course>,
}

#[derive(Clone, Copy, Debug)]
struct Course {
    /// When it is looked at again.
    at: Instant,
    /// Before this it is not.
    rests_until: Instant,
}

impl Later {
    /// Looks at it again after this pause.
    pub(super) fn pause(&mut self, place: &Place, pause: Duration, now: Instant) {
        self.put(place, Course { at: now + pause, rests_until: now + pause.min(REST) });
    }

    /// It was told of. Whether it may be looked at now; else it is when it has rested.
    pub(super) fn is_due(&mut self, place: &Place, now: Instant) -> bool {
        let Some(course) = self.of.get(place).copied() else { return true };
        if course.rests_until > now {
            self.put(place, Course { at: course.at.min(course.rests_until), ..course });
            return false;
        }
        self.remove(place);
        true
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Place> {
        let (_, place) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        let place = place.clone();
        self.remove(&place);
        Some(place)
    }

    fn put(&mut self, place: &Place, course: Course) {
        self.remove(place);
        self.by_time.insert((course.at, place.clone()));
        self.of.insert(place.clone(), course);
    }

    fn remove(&mut self, place: &Place) {
        if let Some(course) = self.of.remove(place) {
            self.by_time.remove(&(course.at, place.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_all_the_time_is_looked_at_only_after_a_rest() {
        let (mut later, start) = (Later::default(), Instant::now());
        let place = Place::new("org", "job");
        let after = |millis| start + Duration::from_millis(millis);
        assert!(later.is_due(&place, start));
        later.pause(&place, Duration::from_millis(500), start);
        for millis in [0, 100, 499] {
            assert!(!later.is_due(&place, after(millis)));
        }
        assert_eq!((later.next(), later.take(after(499))), (Some(after(500)), None));
        assert_eq!(later.take(after(500)), Some(place.clone()));
        // Once it has rested it is looked at as soon as it is told of.
        later.pause(&place, Duration::from_secs(300), start);
        assert_eq!(later.next(), Some(start + Duration::from_secs(300)));
        assert!(!later.is_due(&place, after(1000)));
        assert_eq!(later.next(), Some(start + REST));
        later.pause(&place, Duration::from_secs(300), start);
        assert!(later.is_due(&place, start + REST));
        assert_eq!(later.next(), None, "each once");
    }
}
