//! Operations *in flight* are those that are not finished; how many there are in each phase is a metric.

use std::collections::HashMap;

use hookhost_core::status;
use parking_lot::Mutex;
use serde_json::Value;

use crate::metrics::Metrics;

/// The phases that an Operation can be in before it is finished. One without a phase is pending.
const PHASES: [&str; 2] = ["Pending", "Running"];

/// The phase of each Operation in flight, by its UID.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashMap<String, &'static str>>);

impl InFlight {
    /// Takes note of an Operation's status.
    pub(crate) fn note(&self, uid: &str, status: &Value, metrics: &Metrics) {
        let [pending, running] = PHASES;
        // Another controller may have overwritten the phase of one that runs.
        let is_running = status::is_running(status) || status::phase(status) == Some(running);
        let phase = if is_running { running } else { pending };
        let mut known = self.0.lock();
        let changed = if status::is_finished(status) {
            known.remove(uid).is_some()
        } else {
            known.insert(uid.to_owned(), phase) != Some(phase)
        };
        if changed {
            count(&known, metrics);
        }
    }

    /// The Operation is gone.
    pub(crate) fn forget(&self, uid: &str, metrics: &Metrics) {
        let mut known = self.0.lock();
        if known.remove(uid).is_some() {
            count(&known, metrics);
        }
    }
}

fn count(known: &HashMap<String, &'static str>, metrics: &Metrics) {
    for phase in PHASES {
        metrics.set_in_flight(phase, known.values().filter(|of| **of == phase).count());
    }
}
