//! `maintenance-window`: runs only within time windows; outside they are held until the next one opens.

mod calendar;
mod clock;

use hook_policy::time::Zone;
use hook_policy::{AnyOf, Decision, MAX_HOLD_SECONDS, Policy, Request, Selector, SettingsError};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use calendar::{Blackout, Calendar, Window};

/// The reason of a hold: vWorkspace's own word for it.
const REASON: &str = "OutsideMaintenanceWindow";

/// Windows, at most. Together with the bounds on their length and on a hold, this bounds the work of a decision.
const WINDOWS: usize = 32;

/// Blackouts, at most.
const BLACKOUTS: usize = 128;

/// When runs may start.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{"timeZone": "Europe/Berlin", "windows": [{"start": "22:00", "end": "04:00"}]}]))]
pub struct Settings {
    /// The time zone of all days and times below, by its IANA name, such as Europe/Berlin. Left out: UTC.
    #[serde(default)]
    time_zone: Zone,
    /// When runs may start: in any of these.
    windows: AnyOf<Window>,
    /// Days on which no run may start, windows or not.
    #[serde(default)]
    blackouts: Vec<Blackout>,
    /// The runs that this is for; all others may start at any time. Left out: every run.
    #[serde(default, rename = "match")]
    selector: Selector,
    /// Whether a run is ended when its window closes, by a cap on its deadline. A migration that is ended half-way may
    /// need repair, so by default a run that started in time may finish.
    #[serde(default)]
    end_with_window: bool,
}

/// The policy.
pub struct MaintenanceWindow;

impl Policy for MaintenanceWindow {
    type Settings = Settings;

    fn evaluate(request: &Request, settings: &Settings) -> Decision {
        if !settings.selector.matches(request) {
            return Decision::allow();
        }
        if Timestamp::from_second(request.now).is_err() {
            return Decision::deny(
                "TimeUnknown",
                format!("the time {} is beyond every calendar", request.now),
            );
        }
        let zone = &settings.time_zone;
        let calendar =
            Calendar { zone: zone.as_jiff(), windows: &settings.windows, blackouts: &settings.blackouts };
        let horizon = request.now.saturating_add(i64::from(MAX_HOLD_SECONDS));
        match calendar.opening(request.now, horizon) {
            Some(opening) if opening <= request.now => {
                let close = settings.end_with_window.then(|| calendar.closing(request.now)).flatten();
                close.map_or_else(Decision::allow, |close| {
                    Decision::allow().deadline_at_most(request.seconds_until(close))
                })
            }
            Some(opening) => {
                let message =
                    format!("{}; the next window opens {}", closed(&calendar, request.now), zone.at(opening));
                Decision::hold(REASON, message, request.seconds_until(opening))
            }
            None => {
                let closed = closed(&calendar, request.now);
                let message =
                    format!("{closed}; no window opens within 30 days, so this is looked at again then");
                Decision::hold(REASON, message, MAX_HOLD_SECONDS)
            }
        }
    }

    fn validate(settings: &Settings) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        for (what, count, most) in [
            ("windows", settings.windows.iter().len(), WINDOWS),
            ("blackouts", settings.blackouts.len(), BLACKOUTS),
        ] {
            if count > most {
                errors.push(SettingsError::at(what, format!("{count} of them; at most {most}")));
            }
        }
        for (at, window) in settings.windows.iter().enumerate() {
            errors
                .extend(window.problem().map(|problem| SettingsError::at(format!("windows[{at}]"), problem)));
        }
        for (at, blackout) in settings.blackouts.iter().enumerate() {
            errors.extend(
                blackout.problem().map(|problem| SettingsError::at(format!("blackouts[{at}]"), problem)),
            );
        }
        errors
    }
}

/// Why a run may not start now.
fn closed(calendar: &Calendar<'_>, now: i64) -> String {
    match calendar.blackout_at(now) {
        Some(blackout) => format!("no run may start from {blackout}"),
        None => "runs may only start in a maintenance window".to_owned(),
    }
}

hook_policy::export!(MaintenanceWindow);

#[cfg(test)]
mod tests;
