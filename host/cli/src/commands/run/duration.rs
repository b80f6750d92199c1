//! A *duration* as people type it: `30m`, `1h30m`, `90s`, or seconds as a bare number.

use std::time::Duration;

use jiff::SignedDuration;

/// The longest that makes sense: ten years; a Job's own number of seconds holds 68.
const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Reads a duration of whole seconds, at least one.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wanted = "a time such as 30m, 1h30m or 90 (seconds)";
    let seconds = match text.trim().parse::<i64>() {
        Ok(seconds) => SignedDuration::from_secs(seconds),
        Err(_) => text.trim().parse::<SignedDuration>().map_err(|_| format!("expected {wanted}"))?,
    };
    let duration = Duration::try_from(seconds).map_err(|_| format!("it is negative, expected {wanted}"))?;
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        return Err("expected whole seconds, at least one".to_owned());
    }
    if duration > MAX {
        return Err("expected at most ten years".to_owned());
    }
    Ok(duration)
}

/// As a clock shows it: `0:42`, `12:03`, `1:02:03`.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_in_many_ways() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1h 30m", 5400), ("2 hours", 7200)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "soon", "-5", "-1h", "0", "500ms", "1.5", "99999999999", "1000000h", "30M0"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }

    #[test]
    fn elapsed_time_reads_as_a_clock() {
        let shown = [0, 42, 723, 3723].map(|seconds| clock(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0:00", "0:42", "12:03", "1:02:03"]);
    }
}
