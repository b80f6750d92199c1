//! A *calendar* turns windows and blackouts, which are said in days and times of the clock, into spans of real time.
//!
//! Where clocks are set forward, a time that does not exist is the time as long after the change as it would have been:
//! a window from 02:30 opens at 03:30. Where clocks are set back, a time that comes twice is the first of the two.
//! A window that ends no later than it opens by these rules does not open at all that day.

use std::borrow::Cow;
use std::fmt;

use hook_policy::AnyOf;
use hook_policy::time::Weekday;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::clock::TimeOfDay;

/// Days to look ahead for the next opening: the longest hold, 30 days, and one more for clocks that change.
const DAYS_AHEAD: i32 = 31;

/// Hours that a window may be open: a week.
const WINDOW_HOURS: u32 = 7 * 24;

/// Real time from `start` up to, but not with, `end`: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// A time in which runs may start; has an end or a length.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Window {
    /// The days on which it opens. Left out: every day.
    days: Option<AnyOf<Weekday>>,
    /// When it opens.
    start: TimeOfDay,
    /// When it closes; on the next day, if that is not after `start`.
    end: Option<TimeOfDay>,
    /// Instead of `end`: for how many hours it is open, 1 to 168, whatever clocks show.
    #[schemars(range(min = 1, max = WINDOW_HOURS))]
    hours: Option<u32>,
}

/// Days on which no run may start.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Blackout {
    /// The first day, such as 2026-12-24.
    from: Day8601,
    /// The last day. Left out: the first.
    to: Option<Day8601>,
}

/// A day of the calendar, as ISO 8601 writes it.
#[derive(Clone, Copy, Debug)]
struct Day8601(Date);

impl Window {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        match (self.end, self.hours) {
            (None, None) => Some("give it an end, such as \"04:00\", or hours, such as 6".to_owned()),
            (Some(_), Some(_)) => Some("it has both an end and hours; leave one of them out".to_owned()),
            (_, Some(hours)) if !(1..=WINDOW_HOURS).contains(&hours) => {
                Some(format!("{hours} hours; a window is open for 1 to {WINDOW_HOURS}"))
            }
            _ if self.start.parts().0 == 24 => {
                Some("it opens at \"24:00\"; write \"00:00\" of the next day".to_owned())
            }
            _ => None,
        }
    }

    /// How many days before today it may have opened and still be open, one more for clocks that change.
    fn days_back(&self) -> i32 {
        self.hours.map_or(2, |hours| hours.div_ceil(24) as i32 + 1)
    }

    /// The span of the window that opens on this day, if one does.
    fn on(&self, date: Date, zone: &TimeZone) -> Option<Span> {
        let day = Weekday::of(date);
        if self.days.as_ref().is_some_and(|days| !days.iter().any(|allowed| *allowed == day)) {
            return None;
        }
        let start = instant(date, self.start, zone)?;
        let end = match (self.hours, self.end) {
            (Some(hours), _) => start + i64::from(hours) * 3600,
            (None, Some(end)) if end > self.start => instant(date, end, zone)?,
            (None, end) => instant(date.tomorrow().ok()?, end?, zone)?,
        };
        (start < end).then_some(Span { start, end })
    }
}

impl Blackout {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let (from, to) = (self.from.0, self.last());
        (to < from).then(|| format!("it ends on {to}, before it begins on {from}"))
    }

    fn last(&self) -> Date {
        self.to.unwrap_or(self.from).0
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from.0, self.last())
    }
}

/// Windows and blackouts in a time zone.
pub(crate) struct Calendar<'a> {
    pub(crate) zone: &'a TimeZone,
    pub(crate) windows: &'a AnyOf<Window>,
    pub(crate) blackouts: &'a [Blackout],
}

impl Calendar<'_> {
    /// The first time from `now` on, and no later than `horizon`, at which a run may start: `now` itself, if one may.
    pub(crate) fn opening(&self, now: i64, horizon: i64) -> Option<i64> {
        // Nearly always the answer is in windows that open today or are still open; later days only if not.
        let spans = [0, DAYS_AHEAD].into_iter().find_map(|days| self.open(now, days).into_iter().next())?;
        Some(spans.start.max(now)).filter(|start| *start <= horizon)
    }

    /// When the window closes in which `now` is.
    pub(crate) fn closing(&self, now: i64) -> Option<i64> {
        self.open(now, DAYS_AHEAD).first().map(|span| span.end)
    }

    /// The blackout that holds at this time.
    pub(crate) fn blackout_at(&self, now: i64) -> Option<&Blackout> {
        let today = self.date(now)?;
        self.blackouts.iter().find(|blackout| blackout.from.0 <= today && today <= blackout.last())
    }

    fn date(&self, now: i64) -> Option<Date> {
        Some(self.zone.to_datetime(Timestamp::from_second(now).ok()?).date())
    }

    /// The spans of windows that open up to `days` from today and end after `now`: in order, joined where they touch,
    /// with blackouts cut out.
    fn open(&self, now: i64, days: i32) -> Vec<Span> {
        let Some(today) = self.date(now) else { return Vec::new() };
        let mut spans = Vec::new();
        for window in self.windows.iter() {
            let dates = (-window.days_back()..=days)
                .filter_map(|day| today.checked_add(jiff::Span::new().days(day)).ok());
            spans.extend(dates.filter_map(|date| window.on(date, self.zone)));
        }
        spans.sort_unstable();
        let mut joined: Vec<Span> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => joined.push(span),
            }
        }
        let mut dark: Vec<_> = self.blackouts.iter().filter_map(|blackout| self.dark(blackout)).collect();
        dark.sort_unstable();
        let spans = joined.into_iter().flat_map(|span| without(span, &dark));
        spans.filter(|span| span.end > now).collect()
    }

    /// The real time of a blackout.
    fn dark(&self, blackout: &Blackout) -> Option<Span> {
        let midnight = |date: Date| instant(date, TimeOfDay::MIDNIGHT, self.zone);
        Some(Span { start: midnight(blackout.from.0)?, end: midnight(blackout.last().tomorrow().ok()?)? })
    }
}

/// What is left of a span outside the dark ones, which are sorted.
fn without(span: Span, dark: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut start = span.start;
    for dark in dark {
        if dark.start > start && start < span.end {
            left.push(Span { start, end: dark.start.min(span.end) });
        }
        start = start.max(dark.end);
    }
    if start < span.end {
        left.push(Span { start, end: span.end });
    }
    left
}

/// When a clock in the zone shows this on this day; the module's rules hold for times that do not exist or come twice.
fn instant(date: Date, time: TimeOfDay, zone: &TimeZone) -> Option<i64> {
    let (date, hour, minute) = match time.parts() {
        (24, _) => (date.tomorrow().ok()?, 0, 0),
        (hour, minute) => (date, hour, minute),
    };
    Some(zone.to_timestamp(date.at(hour, minute, 0, 0)).ok()?.as_second())
}

impl<'de> Deserialize<'de> for Day8601 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let date = text.parse().ok().filter(|_| text.len() == "2026-12-24".len());
        date.map(Day8601)
            .ok_or_else(|| D::Error::custom(format_args!("{text:?} is not a day such as 2026-12-24")))
    }
}

impl JsonSchema for Day8601 {
    fn schema_name() -> Cow<'static, str> {
        "Date".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date" })
    }
}
