//! What is *wanted* of a policy is what its HookPolicy says, read part by part.
//!
//! The API server checks a HookPolicy by its schema, but an old object, or a schema that somebody changed, must not stop
//! the others. A part that cannot be read makes this one policy not ready, and counts as the strictest there is: a broken
//! match matches everything, a broken failurePolicy is Fail, a broken mode is Enforce, a broken closure is Forbid, a broken
//! closureExisting is Match; and what a policy allows counts for nothing where its match is broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use hookhost_core::Reason;
use hookhost_sandbox::Limits;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::limits;
use super::matching::Matcher;
use super::module::Source;
use super::problem::Problem;
use super::set::{Health, Member, State};
use crate::crd::{Closure, ClosureExisting, FailurePolicy, Mode};

/// The hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// What a HookPolicy says.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) matcher: Matcher,
    pub(super) failure_policy: FailurePolicy,
    pub(super) mode: Mode,
    pub(super) closure: Option<Closure>,
    pub(super) closure_existing: Option<ClosureExisting>,
    /// What is to be asked; or what of it, or of the rest, cannot be read.
    pub(super) component: Result<Component, Problem>,
}

/// Which component, with which settings and limits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    pub(super) source: Source,
    /// The SHA-256 that it must have, in lowercase hexadecimal.
    pub(super) pin: Option<String>,
    /// JSON.
    pub(super) settings: String,
    pub(super) limits: Limits,
}

impl Wanted {
    /// Reads a HookPolicy.
    pub(super) fn read(policy: &DynamicObject) -> Wanted {
        let spec = &policy.data["spec"];
        let mut unreadable = None;
        let matcher = strict(part(spec, "match").and_then(Matcher::new), &mut unreadable);
        // It matches everything, which must not have been allowed for one namespace.
        let is_unmatched = unreadable.is_some();
        let failure_policy = strict(part(spec, "failurePolicy"), &mut unreadable);
        let mode = strict(part(spec, "mode"), &mut unreadable);
        let closure = part::<Option<Closure>>(spec, "closure").unwrap_or_else(|problem| {
            unreadable.get_or_insert(problem);
            Some(Closure::Forbid)
        });
        let existing = part::<Option<ClosureExisting>>(spec, "closureExisting").unwrap_or_else(|problem| {
            unreadable.get_or_insert(problem);
            Some(ClosureExisting::Match)
        });
        Wanted {
            uid: policy.metadata.uid.clone().unwrap_or_default(),
            generation: policy.metadata.generation.unwrap_or_default(),
            annotations: policy.metadata.annotations.clone().unwrap_or_default(),
            matcher,
            failure_policy,
            mode,
            closure: closure.filter(|closure| !is_unmatched || *closure != Closure::Allow),
            closure_existing: existing
                .filter(|existing| !is_unmatched || *existing != ClosureExisting::Allow),
            component: unreadable.map_or_else(|| component(spec), Err),
        }
    }
}

impl Wanted {
    /// The policy in use, in this state.
    pub(super) fn member(&self, name: &str, state: State, health: Arc<Health>) -> Member {
        Member {
            name: name.to_owned(),
            matcher: self.matcher.clone(),
            failure_policy: self.failure_policy,
            mode: self.mode,
            closure: self.closure,
            closure_existing: self.closure_existing,
            state,
            health,
        }
    }
}

fn component(spec: &Value) -> Result<Component, Problem> {
    let module: crate::crd::Module = part(spec, "module")?;
    let pin = module.sha256.as_deref().map(pin).transpose()?;
    let settings: Map<String, Value> = part(spec, "settings")?;
    let limits = limits::limits(&part(spec, "limits")?)?;
    Ok(Component { source: Source::new(module)?, pin, settings: Value::Object(settings).to_string(), limits })
}

fn pin(text: &str) -> Result<String, Problem> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if digits.len() == SHA256_DIGITS && digits.bytes().all(is_digit) {
        return Ok(digits.to_owned());
    }
    let message = format!(
        "spec.module.sha256: found {}, expected 64 digits of lowercase hexadecimal",
        hookhost_helm::text::quote(text)
    );
    Err(Problem::new(Reason::ValidationFailed, message))
}

/// One field of spec; what is absent or null is the field's default.
fn part<T: DeserializeOwned + Default>(spec: &Value, field: &str) -> Result<T, Problem> {
    match &spec[field] {
        Value::Null => Ok(T::default()),
        value => T::deserialize(value).map_err(|error| {
            Problem::new(Reason::ValidationFailed, format!("spec.{field} cannot be read: {error}"))
        }),
    }
}

/// The value, or the strictest one (which all types here have as their default) and a note of the first problem.
fn strict<T: Default>(part: Result<T, Problem>, unreadable: &mut Option<Problem>) -> T {
    part.unwrap_or_else(|problem| {
        unreadable.get_or_insert(problem);
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: Value) -> Wanted {
        let object = json!({
            "apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy",
            "metadata": {"name": "a", "uid": "u", "generation": 3}, "spec": spec,
        });
        Wanted::read(&serde_json::from_value(object).unwrap())
    }

    #[track_caller]
    fn problem(spec: Value) -> String {
        let problem = read(spec).component.unwrap_err();
        assert_eq!(problem.reason, Reason::ValidationFailed);
        problem.message
    }

    #[test]
    fn a_pin_may_have_its_algorithm_before_it() {
        let digits = "0f".repeat(32);
        for text in [digits.clone(), format!("sha256:{digits}")] {
            let wanted = read(json!({"module": {"file": "a.wasm", "sha256": text}}));
            assert_eq!(wanted.component.unwrap().pin.as_ref(), Some(&digits));
        }
        for text in ["", "sha256:", "0F", &"0F".repeat(32), &"0".repeat(65), &format!("sha512:{digits}")] {
            assert!(
                problem(json!({"module": {"file": "a", "sha256": text}})).starts_with("spec.module.sha256")
            );
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let wanted = read(json!({"module": {"file": "a.wasm"}}));
        assert_eq!((wanted.failure_policy, wanted.mode), (FailurePolicy::Fail, Mode::Enforce));
        assert_eq!(wanted.matcher, Matcher::default());
        let component = wanted.component.unwrap();
        assert_eq!((component.settings.as_str(), component.limits), ("{}", Limits::default()));
    }

    #[test]
    fn a_broken_part_is_named_and_counts_as_the_strictest() {
        let good = json!({"module": {"file": "a"}, "match": {"hooks": ["x"]}, "failurePolicy": "Ignore", "mode": "Audit"});
        for (field, broken) in
            [("match", json!({"hooks": "x"})), ("failurePolicy", json!("Maybe")), ("mode", json!(7))]
        {
            let mut spec = good.clone();
            spec[field] = broken;
            let wanted = read(spec);
            let message = wanted.component.unwrap_err().message;
            assert!(message.starts_with(&format!("spec.{field} cannot be read: ")), "{message}");
            match field {
                "match" => assert_eq!(wanted.matcher, Matcher::default()),
                "failurePolicy" => assert_eq!(wanted.failure_policy, FailurePolicy::Fail),
                _ => assert_eq!(wanted.mode, Mode::Enforce),
            }
        }
    }

    #[test]
    fn a_policy_that_says_nothing_at_all_refuses_everything() {
        for spec in [json!(null), json!([]), json!({"module": null}), json!({"module": {}}), json!("x")] {
            let wanted = read(spec);
            assert!(wanted.component.is_err());
            assert_eq!((wanted.matcher, wanted.failure_policy), (Matcher::default(), FailurePolicy::Fail));
        }
    }
}
