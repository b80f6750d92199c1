use super::{Bounds, Decision, limits};
use crate::reason::Reason;
use hookhost_helm::name;
use hookhost_helm::text::quote;

/// An answer that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy's answer breaks the contract at {path}: found {found}, expected {expected}")]
pub struct BadDecision {
    /// Where in the decision, as in its JSON form.
    pub path: String,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub expected: String,
}

impl BadDecision {
    /// Always [`Reason::PolicyBadOutput`].
    pub fn reason(&self) -> Reason {
        Reason::PolicyBadOutput
    }
}

/// Holds a policy's answer to the contract's bounds and to Kubernetes' syntax. Nothing else is ever solved.
///
/// Control characters of a message are not refused: they are replaced where it is shown.
pub fn check(decision: &Decision) -> Result<(), BadDecision> {
    match decision {
        Decision::Allow(overrides) => {
            check_bounds("allow.activeDeadlineSeconds", &overrides.active_deadline_seconds)?;
            check_bounds("allow.backoffLimit", &overrides.backoff_limit)?;
            check_bounds("allow.ttlSecondsAfterFinished", &overrides.ttl_seconds_after_finished)?;
            check_count("allow.labels", overrides.labels.len())?;
            check_count("allow.annotations", overrides.annotations.len())?;
            for (key, value) in &overrides.labels {
                check_key("allow.labels", key)?;
                if !name::is_label_value(value) {
                    return Err(bad(
                        format!("allow.labels[{}]", quote(key)),
                        quote(value),
                        name::LABEL_VALUE_RULE,
                    ));
                }
            }
            for (key, value) in &overrides.annotations {
                check_key("allow.annotations", key)?;
                if value.len() > limits::ANNOTATION_VALUE_BYTES {
                    let path = format!("allow.annotations[{}]", quote(key));
                    return Err(bad(path, format!("{} bytes", value.len()), "at most 4096 bytes"));
                }
            }
            Ok(())
        }
        Decision::Deny(denial) => check_words("deny", &denial.reason, &denial.message),
        Decision::Hold(hold) => {
            check_words("hold", &hold.reason, &hold.message)?;
            match hold.retry_after_seconds {
                1..=limits::RETRY_AFTER_SECONDS => Ok(()),
                other => Err(bad("hold.retryAfterSeconds", other.to_string(), "1 to 2592000 (30 days)")),
            }
        }
    }
}

fn bad(path: impl Into<String>, found: impl Into<String>, expected: &str) -> BadDecision {
    BadDecision { path: path.into(), found: found.into(), expected: expected.to_owned() }
}

fn check_bounds(path: &str, bounds: &Bounds) -> Result<(), BadDecision> {
    for (field, value) in
        [("exactly", bounds.exactly), ("atMost", bounds.at_most), ("atLeast", bounds.at_least)]
    {
        if let Some(value) = value
            && !(0..=limits::NUMBER).contains(&value)
        {
            return Err(bad(format!("{path}.{field}"), value.to_string(), "0 to 2147483647"));
        }
    }
    Ok(())
}

fn check_count(path: &str, count: usize) -> Result<(), BadDecision> {
    if count > limits::ENTRIES {
        return Err(bad(path, format!("{count} entries"), "at most 64"));
    }
    Ok(())
}

fn check_key(path: &str, key: &str) -> Result<(), BadDecision> {
    if name::is_label_key(key) { Ok(()) } else { Err(bad(path, quote(key), name::LABEL_KEY_RULE)) }
}

fn check_words(path: &str, reason: &str, message: &str) -> Result<(), BadDecision> {
    let pascal = reason.starts_with(|c: char| c.is_ascii_uppercase())
        && reason.len() <= limits::REASON_CHARS
        && reason.bytes().all(|b| b.is_ascii_alphanumeric());
    if !pascal {
        let expected = "a PascalCase word of at most 63 characters, [A-Z][A-Za-z0-9]*";
        return Err(bad(format!("{path}.reason"), quote(reason), expected));
    }
    let chars = message.chars().count();
    if chars > limits::MESSAGE_CHARS {
        return Err(bad(format!("{path}.message"), format!("{chars} characters"), "at most 1024"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(decision: Value) -> Result<(), String> {
        let decision: Decision = serde_json::from_value(decision).unwrap();
        check(&decision).map_err(|error| {
            assert_eq!(error.reason(), Reason::PolicyBadOutput);
            error.to_string()
        })
    }

    #[test]
    fn answers_within_the_contract_pass() {
        for decision in [
            json!({"allow": {}}),
            json!({"allow": {"activeDeadlineSeconds": {"atMost": 2147483647}, "backoffLimit": {"exactly": 0},
                "labels": {"example.com/team": "db", "empty": ""}, "annotations": {"a": "any\ntext"}}}),
            json!({"deny": {"reason": "ImageNotAllowed", "message": "x"}}),
            json!({"hold": {"reason": "Closed", "message": "", "retryAfterSeconds": 2592000}}),
        ] {
            assert_eq!(checked(decision.clone()), Ok(()), "{decision}");
        }
    }

    #[test]
    fn answers_outside_the_contract_are_named_by_place_and_rule() {
        let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("k{n}"), json!(""))).collect();
        for (decision, place, rule) in [
            (
                json!({"allow": {"activeDeadlineSeconds": {"atMost": -1}}}),
                "allow.activeDeadlineSeconds.atMost",
                "-1",
            ),
            (
                json!({"allow": {"backoffLimit": {"exactly": 2147483648_i64}}}),
                "allow.backoffLimit.exactly",
                "2147483647",
            ),
            (json!({"allow": {"ttlSecondsAfterFinished": {"atLeast": i64::MIN}}}), "atLeast", "0 to"),
            (json!({"allow": {"labels": {"a b": ""}}}), "allow.labels", "label key"),
            (json!({"allow": {"labels": {"a": "-"}}}), "allow.labels[\"a\"]", "label value"),
            (json!({"allow": {"labels": many}}), "allow.labels", "65 entries"),
            (json!({"allow": {"annotations": many}}), "allow.annotations", "at most 64"),
            (json!({"allow": {"annotations": {"": "x"}}}), "allow.annotations", "label key"),
            (json!({"allow": {"annotations": {"a": "x".repeat(4097)}}}), "allow.annotations[\"a\"]", "4096"),
            (json!({"deny": {"reason": "not pascal", "message": ""}}), "deny.reason", "PascalCase"),
            (json!({"deny": {"reason": "", "message": ""}}), "deny.reason", "PascalCase"),
            (json!({"deny": {"reason": "A".repeat(64), "message": ""}}), "deny.reason", "63"),
            (
                json!({"deny": {"reason": "A", "message": "é".repeat(1025)}}),
                "deny.message",
                "1025 characters",
            ),
            (
                json!({"hold": {"reason": "A", "message": "", "retryAfterSeconds": 0}}),
                "hold.retryAfterSeconds",
                "30 days",
            ),
            (
                json!({"hold": {"reason": "A", "message": "", "retryAfterSeconds": 2592001}}),
                "hold.retryAfterSeconds",
                "2592001",
            ),
        ] {
            let message = checked(decision.clone()).unwrap_err();
            assert!(message.contains(place) && message.contains(rule), "{decision}: {message}");
        }
    }
}
