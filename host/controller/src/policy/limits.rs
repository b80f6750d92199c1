//! Limits as people write them: memory as a Kubernetes quantity, time as a duration of Go.
//!
//! Whatever is written, it becomes a number or an error; the sandbox then holds the number to its bounds.

use std::time::Duration;

use hookhost_core::Reason;
use hookhost_helm::text::quote;
use hookhost_sandbox::Limits;

use super::problem::Problem;
use crate::crd;

/// Characters of a quantity or duration; the CRD's own bound.
const TEXT_CHARS: usize = 32;

/// The limits that a HookPolicy gives, the sandbox's own where it gives none.
pub(super) fn limits(given: &crd::Limits) -> Result<Limits, Problem> {
    let mut limits = Limits::default();
    if let Some(text) = &given.memory {
        let bytes = quantity(text).ok_or_else(|| invalid("memory", text, "a quantity, for example 16Mi"))?;
        // Beyond what a number can hold is beyond the sandbox's bounds as well.
        limits = limits.with_memory(bytes.ceil() as usize).map_err(|error| Problem::from(&error))?;
    }
    if let Some(text) = &given.timeout {
        let seconds =
            duration(text).ok_or_else(|| invalid("timeout", text, "a duration, for example 50ms"))?;
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        limits = limits.with_timeout(timeout).map_err(|error| Problem::from(&error))?;
    }
    Ok(limits)
}

fn invalid(field: &str, found: &str, expected: &str) -> Problem {
    let message = format!("spec.limits.{field}: found {}, expected {expected}", quote(found));
    Problem::new(Reason::ValidationFailed, message)
}

/// A quantity of Kubernetes (resource.Quantity) that is not negative.
fn quantity(text: &str) -> Option<f64> {
    let (number, suffix) = number(text.strip_prefix('+').unwrap_or(text))?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

/// A duration of Go (time.ParseDuration) that is not negative, in seconds. jiff reads another language: it takes `1 second`,
/// and neither `.5s` nor `1.5h30m`.
fn duration(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = next;
    }
    (!text.is_empty()).then_some(seconds)
}

/// The decimal number at the start of a text that is not too long, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    if text.chars().nth(TEXT_CHARS).is_some() {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory(text: &str) -> Result<usize, Reason> {
        let given = crd::Limits { memory: Some(text.into()), timeout: None };
        limits(&given).map(|limits| limits.memory()).map_err(|problem| problem.reason)
    }

    fn timeout(text: &str) -> Result<Duration, Reason> {
        let given = crd::Limits { memory: None, timeout: Some(text.into()) };
        limits(&given).map(|limits| limits.timeout()).map_err(|problem| problem.reason)
    }

    #[test]
    fn memory_is_read_as_kubernetes_reads_quantities() {
        for (text, bytes) in [
            ("16Mi", 16 << 20),
            ("16M", 16_000_000),
            ("1e6", 1_000_000),
            ("1E6", 1_000_000),
            ("0.5Mi", 512 << 10),
            ("+64Ki", 64 << 10),
            ("100000", 100_000),
            ("100000000m", 100_000),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn timeouts_are_read_as_go_reads_durations() {
        for (text, millis) in
            [("50ms", 50), ("1.5s", 1500), ("1s500ms", 1500), ("20000us", 20), ("20000µs", 20), (".5s", 500)]
        {
            assert_eq!(timeout(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_by_its_field() {
        for text in
            ["", "lots", "16 Mi", "16MiB", "-1", "1.2.3Mi", "Mi", "1e", "0x10", "∞", &"1".repeat(1000)]
        {
            assert_eq!(memory(text), Err(Reason::ValidationFailed), "{text}");
        }
        for text in ["", "50", "-50ms", "1d", "ms", "50ms ", "1s 2s", "infs", "NaNs"] {
            assert_eq!(timeout(text), Err(Reason::ValidationFailed), "{text}");
        }
        let given = crd::Limits { memory: None, timeout: Some("50".into()) };
        let message = limits(&given).unwrap_err().message;
        assert_eq!(message, "spec.limits.timeout: found \"50\", expected a duration, for example 50ms");
    }

    #[test]
    fn limits_beyond_the_sandboxs_say_what_is_allowed() {
        for text in ["1", "65Mi", "1Ei", "1e99", "99999999999999999999Ei"] {
            assert_eq!(memory(text), Err(Reason::ValidationFailed), "{text}");
        }
        for text in ["1ms", "11s", "99999999999999999999h"] {
            assert_eq!(timeout(text), Err(Reason::ValidationFailed), "{text}");
        }
        let given = crd::Limits { memory: Some("65Mi".into()), timeout: None };
        assert!(limits(&given).unwrap_err().message.contains("65536 to 67108864 bytes"));
    }

    proptest! {
        #[test]
        fn any_text_gives_limits_or_an_error(memory in any::<String>(), timeout in "[0-9.a-zµ+-]{0,40}") {
            let _ = limits(&crd::Limits { memory: Some(memory), timeout: Some(timeout.clone()) });
            let _ = limits(&crd::Limits { memory: Some(timeout.clone()), timeout: Some(timeout) });
        }
    }
}
