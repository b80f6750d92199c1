//! `deadline-cap`: how long hook runs may take, how often they are retried, how long finished Jobs are kept.

use hook_policy::{Bounds, Decision, Policy, Request, Selector, SettingsError};
use schemars::JsonSchema;
use serde::Deserialize;

/// Caps and floors for runs.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Rules; of those that fit a run all hold at once: the least cap and the greatest floor count.
    rules: Vec<Rule>,
    /// What holds for a run that no rule fits. If left out: a deadline of at most one hour.
    otherwise: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        let hour = Range { at_most: Some(3600), ..Range::default() };
        Settings { rules: Vec::new(), otherwise: Limits { deadline_seconds: hour, ..Limits::default() } }
    }
}

/// Limits, and the runs that they are for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    /// Which runs; left out: every run.
    #[serde(default, rename = "match")]
    selector: Selector,
    /// What holds for them.
    limits: Limits,
}

/// Limits of the numbers of a Job.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Limits {
    /// Seconds that the run may take. A cap also bounds a run for which neither chart nor Operation sets a deadline.
    deadline_seconds: Range,
    /// Retries of a failed pod before the Job has failed.
    backoff_limit: Range,
    /// Seconds that the finished Job is kept.
    ttl_seconds: Range,
}

/// A cap, a floor, or both.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Range {
    /// The cap.
    #[schemars(range(max = MOST))]
    at_most: Option<u32>,
    /// The floor.
    #[schemars(range(max = MOST))]
    at_least: Option<u32>,
}

/// The greatest value that Kubernetes takes for a retry limit and a time to live; ample for a deadline.
const MOST: u32 = i32::MAX as u32;

/// The host keeps finished Jobs at least this long, so a lower cap could never be met.
const LEAST_TTL_SECONDS: u32 = 60;

impl Limits {
    /// Each range with its name in settings and the lowest cap that makes sense.
    fn ranges(&self) -> [(&'static str, Range, u32); 3] {
        [
            ("deadlineSeconds", self.deadline_seconds, 1),
            ("backoffLimit", self.backoff_limit, 0),
            ("ttlSeconds", self.ttl_seconds, LEAST_TTL_SECONDS),
        ]
    }

    fn validate(&self, path: &str) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        for (name, range, least) in self.ranges() {
            let mut wrong = |end: &str, message: String| {
                errors.push(SettingsError::at(format!("{path}.{name}{end}"), message));
            };
            if let Some(cap) = range.at_most.filter(|cap| *cap < least) {
                wrong(".atMost", format!("a cap of {cap} can never be met; the least is {least}"));
            }
            for (end, value) in [(".atMost", range.at_most), (".atLeast", range.at_least)] {
                if let Some(value) = value.filter(|value| *value > MOST) {
                    wrong(end, format!("{value} is more than Kubernetes takes, {MOST}"));
                }
            }
            if let (Some(cap), Some(floor)) = (range.at_most, range.at_least)
                && floor > cap
            {
                wrong("", format!("the floor {floor} is above the cap {cap}"));
            }
        }
        errors
    }
}

/// The policy.
pub struct DeadlineCap;

impl Policy for DeadlineCap {
    type Settings = Settings;

    fn evaluate(request: &Request, settings: &Settings) -> Decision {
        let fitting = settings.rules.iter().enumerate().filter(|(_, rule)| rule.selector.matches(request));
        let mut sources: Vec<_> = fitting.map(|(at, rule)| (format!("rules[{at}]"), &rule.limits)).collect();
        if sources.is_empty() {
            sources.push(("otherwise".to_owned(), &settings.otherwise));
        }
        let mut combined = [Bounds::default(); 3];
        for (_, limits) in &sources {
            for (bounds, (_, range, _)) in combined.iter_mut().zip(limits.ranges()) {
                range.at_most.into_iter().for_each(|cap| bounds.at_most(cap));
                range.at_least.into_iter().for_each(|floor| bounds.at_least(floor));
            }
        }
        for (bounds, name) in combined.iter().zip(["deadlineSeconds", "backoffLimit", "ttlSeconds"]) {
            if let (Some(cap), Some(floor)) = (bounds.at_most, bounds.at_least)
                && floor > cap
            {
                let rules: Vec<_> = sources.iter().map(|(source, _)| source.as_str()).collect();
                return Decision::deny(
                    "LimitsContradict",
                    format!(
                        "the rules that fit this run ({}) want {name} to be at least {floor} and at most {cap}; \
                         change the policy's settings so that both can hold",
                        rules.join(", ")
                    ),
                );
            }
        }
        let [deadline, backoff, ttl] = combined;
        Decision::allow().with(|overrides| {
            overrides.active_deadline_seconds = deadline;
            overrides.backoff_limit = backoff;
            overrides.ttl_seconds_after_finished = ttl;
        })
    }

    fn validate(settings: &Settings) -> Vec<SettingsError> {
        let rules = settings.rules.iter().enumerate();
        let mut errors: Vec<_> =
            rules.flat_map(|(at, rule)| rule.limits.validate(&format!("rules[{at}].limits"))).collect();
        errors.extend(settings.otherwise.validate("otherwise"));
        errors
    }
}

hook_policy::export!(DeadlineCap);

#[cfg(test)]
mod tests;
