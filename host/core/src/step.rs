//! A *step* is one of the Jobs that run all hooks of an event, one after the other.

use std::fmt;

use serde_json::Value;

use crate::json::entry;
use crate::keys::STEP;
use hookhost_helm::hook::MAX_OF_EVENT;

/// Which step of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// From 1.
    pub number: usize,
    /// At most [`MAX_OF_EVENT`].
    pub of: usize,
}

impl Step {
    /// What a Job says of itself; none where it is no step, or says what cannot be.
    pub fn from_job(job: &Value) -> Option<Step> {
        let (number, of) = entry(job, "annotations", STEP)?.split_once('/')?;
        let step = Step { number: number.parse().ok()?, of: of.parse().ok()? };
        ((1..=step.of).contains(&step.number) && step.of <= MAX_OF_EVENT).then_some(step)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}
