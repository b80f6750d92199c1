//! The numbers of a Job: the three that the host owns.

use super::{Base, Conflict, Demand, Party, Source};
use crate::decision::{Bounds, Overrides};

/// Seconds a finished Job is kept unless someone says otherwise (spec: "ttlSecondsAfterFinished: 86400").
pub const TTL_DEFAULT: i64 = 86_400;
/// Seconds a finished Job must be kept at least. Its pods vanish with the ttl, even though the Job itself is held by a
/// finalizer, and the exit code and the last log lines are read from them first.
pub const HOST_TTL_FLOOR: i64 = 60;

/// A number as it is before any policy is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value; none where the field stays out of the Job.
    pub value: Option<i64>,
    /// What Kubernetes takes it for: the value itself, or what a missing one means.
    pub means: i64,
    /// Who gives it.
    pub source: Source,
}

impl Given {
    /// A value that is there.
    pub fn value(value: i64, source: Source) -> Given {
        Given { value: Some(value), means: value, source }
    }

    /// No value, which Kubernetes takes for `means`; [`i64::MAX`] is "no limit".
    pub fn absent(means: i64) -> Given {
        Given { value: None, means, source: Source::Kubernetes }
    }
}

/// A settled number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The value; none where the field stays out of the Job.
    pub value: Option<i64>,
    /// Who gives it.
    pub source: Source,
    /// What it was before policies, or hookhost's own floor, changed it.
    pub instead_of: Option<Given>,
    /// All that is demanded of it, sorted, whether or not it changed the value.
    pub demands: Vec<Demand>,
}

/// Deadline, backoff limit and ttl, in this order.
pub(super) fn solve(
    base: &Base,
    allows: &[(&str, &Overrides)],
    conflicts: &mut Vec<Conflict>,
) -> [Effective; 3] {
    let collect = |bounds: fn(&Overrides) -> &Bounds| {
        let mut demanded = Demanded::default();
        for (policy, overrides) in allows {
            demanded.add(Party::Policy((*policy).to_owned()), bounds(overrides));
        }
        demanded
    };
    let deadline = collect(|overrides| &overrides.active_deadline_seconds);
    let backoff = collect(|overrides| &overrides.backoff_limit);
    let mut ttl = collect(|overrides| &overrides.ttl_seconds_after_finished);
    ttl.at_least.push((HOST_TTL_FLOOR, Party::Hookhost));
    [
        deadline.settle("activeDeadlineSeconds", &base.active_deadline_seconds, conflicts),
        backoff.settle("backoffLimit", &base.backoff_limit, conflicts),
        ttl.settle("ttlSecondsAfterFinished", &base.ttl_seconds_after_finished, conflicts),
    ]
}

/// All that is demanded of one number.
#[derive(Default)]
struct Demanded {
    exactly: Vec<(i64, Party)>,
    at_most: Vec<(i64, Party)>,
    at_least: Vec<(i64, Party)>,
}

impl Demanded {
    fn add(&mut self, party: Party, bounds: &Bounds) {
        let pairs = [
            (bounds.exactly, &mut self.exactly),
            (bounds.at_most, &mut self.at_most),
            (bounds.at_least, &mut self.at_least),
        ];
        for (value, list) in pairs {
            list.extend(value.map(|value| (value, party.clone())));
        }
    }

    fn settle(&self, field: &str, base: &Given, conflicts: &mut Vec<Conflict>) -> Effective {
        let ceiling = self.at_most.iter().map(|(value, _)| *value).min();
        let floor = self.at_least.iter().map(|(value, _)| *value).max();
        let exact = self.exactly.iter().map(|(value, _)| *value).min();
        self.contradictions(field, exact, floor, ceiling, conflicts);

        let mut settled = base.means;
        let mut by = None;
        if let Some(exact) = exact {
            (settled, by) = (exact, Some(&self.exactly));
        } else {
            if let Some(floor) = floor
                && settled < floor
            {
                (settled, by) = (floor, Some(&self.at_least));
            }
            if let Some(ceiling) = ceiling
                && settled > ceiling
            {
                (settled, by) = (ceiling, Some(&self.at_most));
            }
        }
        let demands = self.demands();
        match by {
            // A missing value that means what is demanded exactly is written down all the same: Kubernetes' defaults
            // are not the policy's.
            Some(by) if settled != base.means || base.value.is_none() => Effective {
                value: Some(settled),
                source: source(by, settled),
                instead_of: Some(base.clone()),
                demands,
            },
            _ => Effective { value: base.value, source: base.source.clone(), instead_of: None, demands },
        }
    }

    fn contradictions(
        &self,
        field: &str,
        exact: Option<i64>,
        floor: Option<i64>,
        ceiling: Option<i64>,
        conflicts: &mut Vec<Conflict>,
    ) {
        let mut add = |demands: Vec<Demand>| conflicts.push(Conflict::new(field, demands));
        let exactly = || demands("exactly", &self.exactly, |_| true);
        if self.exactly.iter().any(|(value, _)| Some(*value) != exact) {
            add(exactly());
        }
        if let Some(ceiling) = ceiling
            && self.exactly.iter().any(|(value, _)| *value > ceiling)
        {
            let mut all = demands("exactly", &self.exactly, |value| value > ceiling);
            all.extend(demands("at most", &self.at_most, |value| value == ceiling));
            add(all);
        }
        if let Some(floor) = floor
            && self.exactly.iter().any(|(value, _)| *value < floor)
        {
            let mut all = demands("exactly", &self.exactly, |value| value < floor);
            all.extend(demands("at least", &self.at_least, |value| value == floor));
            add(all);
        }
        if let (Some(floor), Some(ceiling)) = (floor, ceiling)
            && floor > ceiling
        {
            let mut all = demands("at least", &self.at_least, |value| value > ceiling);
            all.extend(demands("at most", &self.at_most, |value| value < floor));
            add(all);
        }
    }

    fn demands(&self) -> Vec<Demand> {
        let mut all = demands("exactly", &self.exactly, |_| true);
        all.extend(demands("at most", &self.at_most, |_| true));
        all.extend(demands("at least", &self.at_least, |_| true));
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn demands(word: &str, list: &[(i64, Party)], wanted: impl Fn(i64) -> bool) -> Vec<Demand> {
    list.iter()
        .filter(|(value, _)| wanted(*value))
        .map(|(value, party)| Demand { party: party.clone(), what: format!("{word} {value}") })
        .collect()
}

/// Those who demand the value that was taken. The host's own demand is named only where no policy makes the same.
fn source(by: &[(i64, Party)], settled: i64) -> Source {
    let mut policies: Vec<String> = by
        .iter()
        .filter(|(value, _)| *value == settled)
        .filter_map(|(_, party)| match party {
            Party::Policy(name) => Some(name.clone()),
            Party::Hookhost | Party::Chart => None,
        })
        .collect();
    policies.sort_unstable();
    policies.dedup();
    if policies.is_empty() { Source::Hookhost } else { Source::Policies(policies) }
}
