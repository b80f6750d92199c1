//! An *Upgrade* of another engine whose end nobody may report: vWorkspace's own helm engine says of each of its Upgrades that it
//! runs, for ever. What it has done is seen by the release instead.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use hookhost_helm::workload::at;

/// How long after it has begun an Upgrade of another engine is waited for at most. Flux gives an upgrade five minutes unless it is
/// told otherwise, and tries it again a few times; and as long as Helm is at work on the release, the release's own record keeps
/// hooks from running, whatever the Operation says.
pub const UPGRADE_ENDS_AFTER: Duration = Duration::from_secs(3600);

/// An Upgrade of another engine that another Operation waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// metadata.uid.
    pub uid: String,
    /// When it has begun by its own status, else when it was created.
    pub since: Timestamp,
}

impl Upgrade {
    /// How long it is still waited for, as `release`, the HelmRelease of its target where there is one, is now; nothing where it is
    /// over.
    pub fn rest(&self, release: Option<&Value>, now: Timestamp) -> Option<Duration> {
        if release.is_some_and(|release| self.is_seen(release)) {
            return None;
        }
        let waited = Duration::try_from(now.duration_since(self.since)).unwrap_or_default();
        UPGRADE_ENDS_AFTER.checked_sub(waited).filter(|rest| !rest.is_zero())
    }

    /// Whether the HelmRelease has been upgraded since, and Flux is done with its newest generation. A HelmRelease that was ready
    /// before is no proof: the engine may be about to change it.
    fn is_seen(&self, release: &Value) -> bool {
        let condition = |type_of: &str| {
            let all = at(release, "status.conditions").and_then(Value::as_array);
            all.into_iter().flatten().find(|condition| condition.get("type").is_some_and(|it| it == type_of))
        };
        let is_true = |condition: &Value| {
            condition.get("status").and_then(Value::as_str).is_some_and(|it| it == "True")
        };
        let is_after = |time: Option<&Value>| {
            let time = time.and_then(Value::as_str).and_then(|time| time.parse::<Timestamp>().ok());
            // Kubernetes' times have seconds.
            time.is_some_and(|time| time.as_second() > self.since.as_second())
        };
        let generation = at(release, "metadata.generation").filter(|generation| generation.is_number());
        let Some(ready) = condition("Ready").filter(|ready| is_true(ready)) else { return false };
        let is_current = generation.is_some() && ready.get("observedGeneration") == generation;
        let is_at_work = condition("Reconciling").is_some_and(is_true);
        let newest = at(release, "status.history").and_then(Value::as_array).and_then(|all| all.first());
        let is_upgraded = is_after(ready.get("lastTransitionTime"))
            || is_after(newest.and_then(|newest| newest.get("lastDeployed")));
        is_current && !is_at_work && is_upgraded
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at_time(time: &str) -> Timestamp {
        format!("2026-05-28T{time}Z").parse().unwrap()
    }

    fn upgrade() -> Upgrade {
        Upgrade { uid: "uid".to_owned(), since: at_time("10:00:00") }
    }

    fn release(generation: i64, ready: &str, since: &str, deployed: &str) -> Value {
        json!({
            "metadata": {"generation": generation},
            "status": {
                "conditions": [{"type": "Ready", "status": ready, "observedGeneration": 2,
                    "lastTransitionTime": format!("2026-05-28T{since}Z")}],
                "history": [{"version": 2, "lastDeployed": format!("2026-05-28T{deployed}Z")}],
            },
        })
    }

    #[test]
    fn an_upgrade_is_over_once_its_helm_release_was_upgraded_and_is_ready_at_its_newest_generation() {
        let is_over = |release: &Value| upgrade().rest(Some(release), at_time("10:05:00")).is_none();
        assert!(is_over(&release(2, "True", "10:01:00", "09:00:00")), "ready since");
        assert!(is_over(&release(2, "True", "09:00:00", "10:01:00")), "deployed since");
        assert!(!is_over(&release(2, "True", "09:00:00", "09:00:00")), "as it was before");
        assert!(!is_over(&release(2, "True", "10:00:00", "10:00:00")), "in that very second");
        assert!(!is_over(&release(3, "True", "10:01:00", "10:01:00")), "a newer generation is to come");
        assert!(!is_over(&release(2, "False", "10:01:00", "10:01:00")));
        let mut at_work = release(2, "True", "10:01:00", "10:01:00");
        let reconciling = json!({"type": "Reconciling", "status": "True"});
        at_work["status"]["conditions"].as_array_mut().unwrap().push(reconciling);
        assert!(!is_over(&at_work));
        assert!(!is_over(&json!({"status": {"conditions": "?", "history": {}}})));
    }

    #[test]
    fn an_upgrade_that_nothing_is_seen_of_is_waited_for_an_hour() {
        let rest = |now: &str| upgrade().rest(None, at_time(now));
        assert_eq!(rest("09:59:00"), Some(UPGRADE_ENDS_AFTER), "a clock that is behind");
        assert_eq!(rest("10:59:59"), Some(Duration::from_secs(1)));
        assert_eq!(rest("11:00:00"), None);
    }
}
