use hook_policy::testing::{self, request};
use hook_policy::{Decision, Postponement};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::MaintenanceWindow;

fn at(now: &str) -> i64 {
    now.parse::<Timestamp>().unwrap().as_second()
}

fn decide(now: &str, settings: Value) -> Decision {
    testing::evaluate::<MaintenanceWindow>(&request().now(at(now)).build(), settings)
}

/// Seconds until the opening, and the message.
fn hold(now: &str, settings: Value) -> (u32, String) {
    match decide(now, settings) {
        Decision::Hold(Postponement { reason, message, retry_after_seconds }) => {
            assert_eq!(reason, "OutsideMaintenanceWindow");
            (retry_after_seconds, message)
        }
        other => panic!("not held at {now}: {other:?}"),
    }
}

/// When the hold that is asked for at `now` ends.
fn opening(now: &str, settings: Value) -> String {
    Timestamp::from_second(at(now) + i64::from(hold(now, settings).0)).unwrap().to_string()
}

fn berlin(window: Value) -> Value {
    json!({"timeZone": "Europe/Berlin", "windows": [window]})
}

#[test]
fn a_run_starts_in_a_window_and_is_held_until_the_next_outside() {
    let nights = json!({"windows": [{"start": "22:00", "end": "23:30"}]});
    assert_eq!(decide("2026-03-03T22:00:00Z", nights.clone()), Decision::allow());
    assert_eq!(decide("2026-03-03T23:29:59Z", nights.clone()), Decision::allow());
    let (wait, message) = hold("2026-03-03T21:59:00Z", nights.clone());
    assert_eq!(wait, 60);
    assert_eq!(
        message,
        "runs may only start in a maintenance window; the next window opens Tue 2026-03-03 22:00 UTC"
    );
    assert_eq!(opening("2026-03-03T23:30:00Z", nights), "2026-03-04T22:00:00Z");
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
    let friday = berlin(json!({"days": ["fri"], "start": "22:00", "end": "04:00"}));
    assert!(decide("2026-03-06T21:00:00Z", friday.clone()).is_allow());
    assert!(decide("2026-03-07T02:59:59Z", friday.clone()).is_allow());
    assert_eq!(opening("2026-03-07T03:00:00Z", friday.clone()), "2026-03-13T21:00:00Z");
    assert_eq!(opening("2026-03-06T02:00:00Z", friday), "2026-03-06T21:00:00Z");
}

#[test]
fn a_window_of_hours_lasts_over_days_and_a_start_equal_to_the_end_is_a_whole_day() {
    let weekend = json!({"windows": [{"days": ["sat"], "start": "00:00", "hours": 48}]});
    assert!(decide("2026-03-08T23:59:59Z", weekend.clone()).is_allow());
    assert_eq!(opening("2026-03-09T00:00:00Z", weekend), "2026-03-14T00:00:00Z");
    let day = json!({"windows": [{"days": ["sun"], "start": "06:00", "end": "06:00"}]});
    assert!(decide("2026-03-09T05:59:59Z", day.clone()).is_allow());
    assert_eq!(opening("2026-03-09T06:00:00Z", day), "2026-03-15T06:00:00Z");
    let week = json!({"windows": [{"days": ["mon"], "start": "12:00", "hours": 168}]});
    assert!(decide("2026-03-09T11:59:59Z", week).is_allow());
}

#[test]
fn where_clocks_go_forward_a_start_that_does_not_exist_is_as_long_after_the_change() {
    // 2026-03-29: 02:00 CET becomes 03:00 CEST, at 01:00Z.
    let night = berlin(json!({"start": "02:30", "end": "05:00"}));
    assert_eq!(opening("2026-03-29T00:59:59Z", night.clone()), "2026-03-29T01:30:00Z");
    assert!(decide("2026-03-29T02:59:59Z", night.clone()).is_allow());
    assert_eq!(opening("2026-03-29T03:00:00Z", night), "2026-03-30T00:30:00Z");
    let gone = berlin(json!({"start": "02:30", "end": "03:15"}));
    assert_eq!(opening("2026-03-29T00:59:59Z", gone), "2026-03-30T00:30:00Z");
}

#[test]
fn where_clocks_go_back_a_time_that_comes_twice_is_the_first() {
    // 2026-10-25: 03:00 CEST becomes 02:00 CET, at 01:00Z; 02:30 is at 00:30Z and at 01:30Z.
    let night = berlin(json!({"start": "02:30", "end": "02:45"}));
    assert_eq!(opening("2026-10-25T00:00:00Z", night.clone()), "2026-10-25T00:30:00Z");
    assert_eq!(opening("2026-10-25T00:45:00Z", night), "2026-10-26T01:30:00Z");
    let long = berlin(json!({"start": "01:00", "end": "04:00"}));
    assert!(decide("2026-10-25T02:59:59Z", long).is_allow());
    let hours = berlin(json!({"start": "01:00", "hours": 3}));
    assert_eq!(opening("2026-10-25T02:00:00Z", hours), "2026-10-26T00:00:00Z");
}

#[test]
fn blackouts_close_windows_whole_or_in_part() {
    let settings = json!({
        "timeZone": "America/New_York",
        "windows": [{"start": "22:00", "end": "02:00"}],
        "blackouts": [{"from": "2026-12-24", "to": "2026-12-26"}, {"from": "2026-12-31"}],
    });
    assert!(decide("2026-12-24T04:59:59Z", settings.clone()).is_allow());
    let (_, message) = hold("2026-12-24T05:00:00Z", settings.clone());
    assert_eq!(
        message,
        "no run may start from 2026-12-24 to 2026-12-26; the next window opens Sun 2026-12-27 00:00 EST"
    );
    assert_eq!(opening("2026-12-25T03:30:00Z", settings), "2026-12-27T05:00:00Z");
}

#[test]
fn a_window_too_far_away_holds_for_the_longest_time_there_is() {
    let settings = json!({
        "windows": [{"start": "22:00", "hours": 1}],
        "blackouts": [{"from": "2026-01-01", "to": "2026-12-31"}],
    });
    let (wait, message) = hold("2026-03-01T00:00:00Z", settings);
    assert_eq!(wait, 2_592_000);
    assert!(message.contains("no window opens within 30 days"), "{message}");
}

#[test]
fn a_run_can_be_ended_with_its_window_which_touching_windows_prolong() {
    let capped = |windows: Value| json!({"windows": windows, "endWithWindow": true});
    let night = capped(json!([{"start": "22:00", "end": "23:00"}, {"start": "23:00", "hours": 2}]));
    assert_eq!(decide("2026-03-03T22:30:00Z", night), Decision::allow().deadline_at_most(9000));
    let day = capped(json!([{"days": ["mon", "tue"], "start": "00:00", "end": "24:00"}]));
    assert_eq!(decide("2026-03-02T12:00:00Z", day), Decision::allow().deadline_at_most(36 * 3600));
}

#[test]
fn runs_that_are_not_meant_start_at_any_time() {
    let settings = json!({"windows": [{"start": "22:00", "hours": 1}], "match": {"types": ["Migration"]}});
    let mut request = request().now(at("2026-03-01T12:00:00Z"));
    assert!(!testing::evaluate::<MaintenanceWindow>(&request.clone().build(), settings.clone()).is_allow());
    request = request.operation_type("Backup");
    assert!(testing::evaluate::<MaintenanceWindow>(&request.build(), settings).is_allow());
}

#[test]
fn the_clock_can_be_at_its_ends_without_harm() {
    let settings = json!({"timeZone": "Pacific/Apia", "windows": [{"start": "22:00", "hours": 1}]});
    for now in [i64::MIN, i64::MAX, 253_402_207_200, -377_705_023_201, -377_705_023_202, 0] {
        let decision = testing::evaluate::<MaintenanceWindow>(&request().now(now).build(), settings.clone());
        assert!(!decision.is_allow(), "{now}");
    }
}

#[test]
fn the_most_that_settings_can_ask_for_is_still_bounded() {
    let window = json!({"start": "00:00", "hours": 168, "days": ["mon"]});
    let day = json!({"from": "2026-03-01", "to": "2027-03-01"});
    let settings =
        json!({"timeZone": "America/New_York", "windows": vec![window; 32], "blackouts": vec![day; 128]});
    assert_eq!(hold("2026-03-01T12:00:00Z", settings).0, 2_592_000);
}

#[test]
fn settings_that_mean_nothing_are_refused_with_the_place() {
    let error = |settings| {
        let error = testing::validate::<MaintenanceWindow>(settings).unwrap_err().remove(0);
        format!("{}: {}", error.path, error.message)
    };
    let window = json!({"start": "22:00", "end": "23:00"});
    let windows = |window| error(json!({"windows": [window]}));
    assert_eq!(error(json!({})), ": missing field `windows`");
    assert!(error(json!({"windows": []})).starts_with("windows: an empty list"));
    let zone = error(json!({"windows": [window], "timeZone": "Europe/Berln"}));
    assert_eq!(
        zone,
        "timeZone: there is no time zone \"Europe/Berln\"; write its IANA name, such as Europe/Berlin or America/New_York"
    );
    for time in ["24:01", "7:00", "07:60", "0700", "+7:00", "aa:bb"] {
        assert!(windows(json!({"start": time, "hours": 1})).starts_with("windows[0].start: "), "{time}");
    }
    assert!(windows(json!({"start": "24:00", "hours": 1})).contains("write \"00:00\""));
    assert!(windows(json!({"start": "22:00"})).contains("give it an end"));
    assert!(windows(json!({"start": "22:00", "end": "23:00", "hours": 1})).contains("both"));
    assert!(windows(json!({"start": "22:00", "hours": 169})).contains("1 to 168"));
    assert!(windows(json!({"days": ["monday"], "start": "22:00", "hours": 1})).contains("`mon`"));
    for blackout in
        [json!({"from": "2026-13-01"}), json!({"from": "2026-01-01T00:00:00Z"}), json!({"from": "soon"})]
    {
        assert!(
            error(json!({"windows": [window], "blackouts": [blackout]})).starts_with("blackouts[0].from: ")
        );
    }
    let backwards = json!({"windows": [window], "blackouts": [{"from": "2026-02-02", "to": "2026-02-01"}]});
    assert!(error(backwards).starts_with("blackouts[0]: it ends on 2026-02-01"));
    assert!(error(json!({"windows": vec![window; 33]})).starts_with("windows: 33"));
}

#[test]
fn the_checked_in_schema_is_that_of_the_settings() {
    testing::assert_settings_schema::<MaintenanceWindow>(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/settings.schema.json"
    ));
}
