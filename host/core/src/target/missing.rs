//! A *missing* target is one that is not there by its kind and name. Often something else is there by that name, since the same
//! application is an ApplicationInstance, a HelmRelease or a plain Helm release, depending on who installed it.

use super::{ObjectName, TargetKind};
use crate::reason::Reason;
use crate::refusal::Refusal;

/// What is there by the name of a missing target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namesake {
    /// A target of this kind.
    Target(TargetKind),
    /// One of a kind that this hookhost does not serve.
    Disabled(TargetKind),
}

/// Why an Operation fails whose target is not there, and which other one it may mean.
pub fn missing(kind: TargetKind, at: &ObjectName, namesake: Option<Namesake>) -> Refusal {
    let ObjectName { namespace, name } = at;
    let what = if kind == TargetKind::Release { "Helm release" } else { kind.kind() };
    let mut message = format!("there is no {what} {name} in the namespace {namespace}");
    match namesake {
        None => message.push_str("; a target is in its Operation's namespace"),
        Some(Namesake::Target(other) | Namesake::Disabled(other)) => {
            message.push_str(&format!(
                ", but a {} of that name: make an Operation whose spec.targetRef is {{apiVersion: {}, kind: {}, name: {name}}} \
                 (hookhost run --target-kind {})",
                described(other),
                other.api_version(),
                other.kind(),
                other.kind(),
            ));
        }
    }
    if let Some(Namesake::Disabled(other)) = namesake {
        message.push_str(&format!(
            ". Before, whoever installed hookhost has to allow such targets (Helm value {})",
            value(other)
        ));
    }
    Refusal::fail(Reason::TargetNotFound, message)
}

/// Why an Operation waits whose target is of a kind that this hookhost does not serve.
pub fn disabled(kind: TargetKind) -> Refusal {
    let value = value(kind);
    let message = match kind {
        TargetKind::Release => format!(
            "plain Helm releases are not served here: whoever installed hookhost can allow them with the Helm value {value}, which \
             gives hookhost the right to list Secrets. This Operation runs then"
        ),
        _ => format!(
            "{}s are no targets here: whoever installed hookhost has switched that off with the Helm value {value}, and can allow \
             them again. This Operation runs then; or name the ApplicationInstance that it is of in another one",
            kind.kind()
        ),
    };
    Refusal::wait(Reason::TargetKindDisabled, message)
}

fn described(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Release => "plain Helm release",
        other => other.kind(),
    }
}

/// The value of hookhost's chart that allows a kind.
fn value(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Release => "helmReleases.enabled",
        _ => "helmReleaseTargets",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Then;

    fn said(namesake: Option<Namesake>) -> String {
        let at = ObjectName { namespace: "acme".into(), name: "shop".into() };
        let refusal = missing(TargetKind::ApplicationInstance, &at, namesake);
        assert_eq!((refusal.reason, refusal.then), (Reason::TargetNotFound, Then::Fail));
        refusal.message
    }

    #[test]
    fn what_has_the_name_of_a_missing_target_is_shown_with_how_to_name_it() {
        let start = "there is no ApplicationInstance shop in the namespace acme";
        assert_eq!(said(None), format!("{start}; a target is in its Operation's namespace"));
        assert_eq!(
            said(Some(Namesake::Target(TargetKind::HelmRelease))),
            format!(
                "{start}, but a HelmRelease of that name: make an Operation whose spec.targetRef is {{apiVersion: \
                 helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: shop}} (hookhost run --target-kind HelmRelease)"
            )
        );
        let plain = said(Some(Namesake::Disabled(TargetKind::Release)));
        for words in ["but a plain Helm release", "--target-kind Release", "Helm value helmReleases.enabled"]
        {
            assert!(plain.contains(words), "{plain}");
        }
    }

    #[test]
    fn a_kind_that_is_switched_off_is_waited_for_since_it_can_be_allowed() {
        for (kind, value) in
            [(TargetKind::Release, "helmReleases.enabled"), (TargetKind::HelmRelease, "helmReleaseTargets")]
        {
            let refusal = disabled(kind);
            assert_eq!((refusal.reason, refusal.then), (Reason::TargetKindDisabled, Then::Wait));
            assert!(refusal.message.contains(value), "{refusal}");
        }
    }
}
