//! What cannot be true together, and who demands it.

use std::fmt;

use serde::Serialize;

use hookhost_helm::text::quote;

/// Who demands something of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Party {
    /// hookhost itself.
    Hookhost,
    /// The chart, whose pod template stays as it is.
    Chart,
    /// A policy, by name.
    Policy(String),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Hookhost => f.write_str("hookhost"),
            Party::Chart => f.write_str("the chart"),
            Party::Policy(name) => write!(f, "policy {}", quote(name)),
        }
    }
}

/// One party's demand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Demand {
    /// Who demands it.
    pub party: Party,
    /// What, for people: "at most 60".
    pub what: String,
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.party)
    }
}

/// A field of which things are demanded that cannot all be true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// The field: "activeDeadlineSeconds", "label team".
    pub field: String,
    /// The demands that contradict each other, sorted; at least two, unless one policy contradicts itself.
    pub demands: Vec<Demand>,
}

impl Conflict {
    pub(super) fn new(field: impl Into<String>, mut demands: Vec<Demand>) -> Conflict {
        demands.sort_unstable();
        demands.dedup();
        Conflict { field: field.into(), demands }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let demands: Vec<String> = self.demands.iter().map(Demand::to_string).collect();
        write!(f, "{}: {}", self.field, demands.join(" against "))
    }
}
