//! A *time of day* is what a clock on the wall shows: "22:30", from "00:00" to "24:00".

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// Minutes since midnight, up to and with 24:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOfDay(u16);

impl TimeOfDay {
    /// The first of a day.
    pub(crate) const MIDNIGHT: TimeOfDay = TimeOfDay(0);

    /// The hour, and the minute of it; 24 only with minute 0.
    pub(crate) fn parts(self) -> (i8, i8) {
        // At most 24 and 59.
        ((self.0 / 60) as i8, (self.0 % 60) as i8)
    }

    fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let two_digits = |part: &str| -> Option<u16> {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
        };
        let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
        (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(TimeOfDay(hour * 60 + minute))
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TimeOfDay::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!("{text:?} is not a time of day from \"00:00\" to \"24:00\""))
        })
    }
}

impl JsonSchema for TimeOfDay {
    fn schema_name() -> Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a clock shows, from 00:00 to 24:00. Quote it in YAML.",
            "type": "string",
            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
        })
    }
}
