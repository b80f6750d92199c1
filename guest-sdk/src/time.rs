//! A *time* is what clocks and calendars in a [`Zone`] show at a moment such as `request.now`.
//!
//! With the feature `time`, which brings the time zone database along: some 700 KiB of the policy, and a new release of the
//! database means a new build. There are no files to read it from in the sandbox.
//!
//! ```
//! use hook_policy::time::{Weekday, Zone};
//! use hook_policy::{Decision, Policy, Request};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields)]
//! pub struct Settings {
//!     /// The time zone, such as Europe/Berlin. Left out: UTC.
//!     #[serde(default)]
//!     time_zone: Zone,
//! }
//!
//! pub struct WeekdayNights;
//!
//! impl Policy for WeekdayNights {
//!     type Settings = Settings;
//!
//!     fn evaluate(request: &Request, settings: &Settings) -> Decision {
//!         let now = settings.time_zone.at(request.now);
//!         let is_weekend = matches!(now.weekday(), Weekday::Sat | Weekday::Sun);
//!         if !is_weekend && (now.hour() < 6 || now.hour() >= 20) {
//!             return Decision::allow();
//!         }
//!         let message = format!("it is {now}; runs start on weekdays from 20:00 to 06:00");
//!         Decision::hold("OutsideWindow", message, now.seconds_until(20, 0))
//!     }
//! }
//!
//! let request = hook_policy::testing::request().now(1_772_577_000).build(); // 2026-03-03T22:30:00Z
//! let settings = serde_json::json!({"timeZone": "Europe/Berlin"});
//! assert!(hook_policy::testing::evaluate::<WeekdayNights>(&request, settings).is_allow());
//! ```

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// A time zone. In settings it is its IANA name, such as "Europe/Berlin"; another one is an error there. The default is UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// The zone of this IANA name, in any case; none if there is none.
    pub fn named(name: &str) -> Option<Zone> {
        // Not the global database, which would look for files.
        TimeZoneDatabase::bundled().get(name).ok().map(Zone)
    }

    /// What clocks in the zone show at a time in seconds since 1970, such as `request.now`. A time beyond the years -9999 to
    /// 9999 counts as the first or last of them.
    pub fn at(&self, seconds: i64) -> LocalTime {
        let (first, last) = (Timestamp::MIN, Timestamp::MAX);
        let clamped = seconds.clamp(first.as_second(), last.as_second());
        let time = Timestamp::from_second(clamped).unwrap_or(last);
        LocalTime(time.to_zoned_datetime(self.0.clone()))
    }

    /// The same zone for the library jiff, which computes with dates.
    pub fn as_jiff(&self) -> &TimeZone {
        &self.0
    }
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::UTC
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Zone::named(&name).ok_or_else(|| {
            D::Error::custom(format_args!(
                "there is no time zone {name:?}; write its IANA name, such as Europe/Berlin or America/New_York"
            ))
        })
    }
}

/// Its IANA name, for defaults in a schema.
impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Seconds of a day of 24 hours.
const DAY: u32 = 24 * 60 * 60;

/// What clocks and calendars show. As text it is "Sat 2026-12-05 22:00 CET".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime(jiff::ZonedDateTime);

impl LocalTime {
    /// The year, the month from 1 to 12, and the day of the month.
    pub fn date(&self) -> (i16, u8, u8) {
        (self.0.year(), self.0.month().unsigned_abs(), self.0.day().unsigned_abs())
    }

    /// The day of the week.
    pub fn weekday(&self) -> Weekday {
        Weekday::of(self.0.date())
    }

    /// The hour, 0 to 23.
    pub fn hour(&self) -> u8 {
        self.0.hour().unsigned_abs()
    }

    /// The minute, 0 to 59.
    pub fn minute(&self) -> u8 {
        self.0.minute().unsigned_abs()
    }

    /// Seconds until clocks show this hour and minute the next time, today or tomorrow, as
    /// [`Decision::hold`](crate::Decision::hold) wants them; at least 1. Where clocks skip that time, it is as long after the change
    /// as it would have been. More than 23:59 counts as that.
    ///
    /// ```
    /// # use hook_policy::time::Zone;
    /// let now = Zone::named("Europe/Berlin").unwrap().at(1_772_366_400); // 13:00 there
    /// assert_eq!(now.seconds_until(22, 30), 34_200);
    /// assert_eq!(now.seconds_until(13, 0), 86_400, "it is 13:00 now, so tomorrow");
    /// ```
    pub fn seconds_until(&self, hour: u8, minute: u8) -> u32 {
        // At most 23 and 59.
        let (hour, minute) = (hour.min(23) as i8, minute.min(59) as i8);
        let zone = self.0.time_zone();
        let days = [Ok(self.0.date()), self.0.date().tomorrow()];
        let moments = days.into_iter().flatten().filter_map(|date| {
            let moment = zone.to_timestamp(date.at(hour, minute, 0, 0)).ok()?;
            Some(moment.as_second() - self.0.timestamp().as_second())
        });
        let next = moments.filter(|seconds| *seconds > 0).min();
        // None at the end of the year 9999 only.
        next.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DAY)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.strftime("%a %Y-%m-%d %H:%M %Z").fmt(f)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each would be a schema of its own, and there is nothing more to say")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    /// That of a date of the library jiff.
    pub fn of(date: jiff::civil::Date) -> Weekday {
        use jiff::civil::Weekday as Day;
        match date.weekday() {
            Day::Monday => Weekday::Mon,
            Day::Tuesday => Weekday::Tue,
            Day::Wednesday => Weekday::Wed,
            Day::Thursday => Weekday::Thu,
            Day::Friday => Weekday::Fri,
            Day::Saturday => Weekday::Sat,
            Day::Sunday => Weekday::Sun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, seconds: i64) -> LocalTime {
        Zone::named(zone).unwrap().at(seconds)
    }

    #[test]
    fn a_moment_is_another_hour_and_day_in_each_zone() {
        // 2026-03-01T23:30:00Z, a Sunday.
        let seconds = 1_772_407_800;
        let shown = |zone| {
            let time = at(zone, seconds);
            (time.date(), time.weekday(), time.hour(), time.minute())
        };
        assert_eq!(shown("UTC"), ((2026, 3, 1), Weekday::Sun, 23, 30));
        assert_eq!(shown("Europe/Berlin"), ((2026, 3, 2), Weekday::Mon, 0, 30));
        assert_eq!(shown("America/New_York"), ((2026, 3, 1), Weekday::Sun, 18, 30));
        assert_eq!(at("Europe/Berlin", seconds).to_string(), "Mon 2026-03-02 00:30 CET");
        // An hour after clocks went forward there.
        assert_eq!(at("Europe/Berlin", 1_774_749_600).to_string(), "Sun 2026-03-29 04:00 CEST");
    }

    #[test]
    fn no_time_is_beyond_what_clocks_show() {
        for seconds in [i64::MIN, i64::MAX, 0] {
            for zone in ["UTC", "Pacific/Apia", "America/New_York"] {
                assert!(at(zone, seconds).hour() < 24, "{seconds} in {zone}");
                assert!(at(zone, seconds).seconds_until(u8::MAX, u8::MAX) > 0, "{seconds} in {zone}");
            }
        }
    }

    #[test]
    fn the_next_time_of_day_is_so_many_seconds_away_also_where_clocks_change() {
        // 2026-03-28T21:30:00Z: Sat 22:30 in Berlin. At 02:00 of the next day clocks go forward to 03:00.
        let saturday = at("Europe/Berlin", 1_774_733_400);
        assert_eq!(saturday.to_string(), "Sat 2026-03-28 22:30 CET");
        assert_eq!(saturday.seconds_until(22, 31), 60);
        assert_eq!(saturday.seconds_until(6, 0), 6 * 3600 + 1800, "an hour less than on other days");
        assert_eq!(saturday.seconds_until(2, 30), 4 * 3600, "which is 03:30 that day");
        assert_eq!(saturday.seconds_until(22, 30), 23 * 3600);
        assert_eq!(at("UTC", 30).seconds_until(0, 0), 86_370);
    }

    #[test]
    fn in_settings_a_zone_is_its_name_and_a_wrong_one_is_refused() {
        let read = |name: &str| serde_json::from_value::<Zone>(name.into());
        assert_eq!(read("europe/berlin").unwrap(), Zone::named("Europe/Berlin").unwrap());
        let error = read("Europe/Berln").unwrap_err().to_string();
        assert!(error.starts_with("there is no time zone \"Europe/Berln\"; write its IANA name"), "{error}");
        assert_eq!(serde_json::to_value(Zone::default()).unwrap(), "UTC");
    }
}
