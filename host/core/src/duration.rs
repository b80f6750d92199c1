//! A *duration* as people write it: `30m`, `1h30m`, `7d`, or seconds as a bare number.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The longest that makes sense: ten years; a Job's own number of seconds holds 68.
pub const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Bytes of a duration: what is longer is none, and is not looked at.
const MAX_BYTES: usize = 64;

/// Reads a duration of whole seconds, from one to [`MAX`]. A day has 24 hours.
///
/// # Errors
/// What was expected, for people.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wanted = || "expected a time such as 30m, 1h30m, 7d or 90 (seconds)".to_owned();
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return Err(wanted());
    }
    let duration = match text.parse::<i64>() {
        Ok(seconds) => SignedDuration::from_secs(seconds),
        Err(_) => {
            let span = text.parse::<Span>().map_err(|_| wanted())?;
            span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wanted())?
        }
    };
    if duration.is_negative() {
        return Err(format!("it is negative, {}", wanted()));
    }
    let duration = Duration::try_from(duration).map_err(|_| wanted())?;
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        return Err("expected whole seconds, at least one".to_owned());
    }
    if duration > MAX {
        return Err("expected at most ten years".to_owned());
    }
    Ok(duration)
}

/// As people write it: `1h 30m`.
pub fn show(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |short| format!("{short:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_in_many_ways() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("2 hours", 7200),
            ("7d", 604_800),
            ("1w", 604_800),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(show(Duration::from_secs(5400)), "1h 30m");
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        let long = "1".repeat(100);
        for text in [
            "",
            "soon",
            "-5",
            "-1h",
            "0",
            "500ms",
            "1.5",
            "99999999999",
            "1000000h",
            "30M0",
            "1mo",
            "1y",
            &long,
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }
}
