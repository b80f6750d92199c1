//! Whether one object may be lent at all.
//!
//! hookhost may do more in a namespace than those who write charts and Operations there. What it makes for them must be no more
//! than Helm makes of the same chart, and must be gone when the run is over.

use serde_json::Value;

use super::{Terms, binds, events_of, is_deleted_by_helm, is_of_event};
use crate::closure::Member;
use crate::kind::Kind;
use crate::loan::Loan;
use crate::object::ObjectRef;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::hook::Hook;
use hookhost_helm::name::is_object_name;
use hookhost_helm::text::quote;

/// Types of Secrets that are more than data: Kubernetes fills the first with an account's token, and lets in who has the
/// second; the third is a release's record.
const POWERFUL_SECRETS: [&str; 3] =
    ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "helm.sh/release.v1"];

pub(super) fn check(
    hook: &Hook,
    loan: &Loan,
    member: &Member<'_>,
    kept: &[ObjectRef],
    terms: &Terms<'_>,
) -> Result<(), Refusal> {
    let object = &loan.object;
    let refuse = |why: &str| {
        let message =
            format!("hookhost does not make the {object}, which the hook needs and Helm has deleted: {why}");
        Err(Refusal::fail(Reason::ClosureRefused, message))
    };
    if !is_object_name(&object.name) {
        return refuse("nobody could ask for it, or delete it, by that name. Give it another in the chart");
    }
    if !is_of_event(hook, member, terms.event) {
        let events = events_of(terms);
        return refuse(&format!(
            "the chart does not have it for {events}, so Helm does not make it then either. Let the chart have it for {events}"
        ));
    }
    match object.kind {
        Kind::Secret => {
            let manifest = loan.manifest.value();
            let secret_type = text(&manifest, "/type");
            if POWERFUL_SECRETS.contains(&secret_type) {
                return refuse(&format!("a Secret of the type {} is more than data", quote(secret_type)));
            }
        }
        Kind::PersistentVolumeClaim if !is_deleted_by_helm(member.hook) => {
            let message = format!(
                "the {object}, which the hook needs, is not there. The chart has it as a hook that Helm keeps, and hookhost would \
                 delete it after the run with all that is on it: make it, or wait until the chart's next event does"
            );
            return Err(Refusal::wait(Reason::DependencyMissing, message));
        }
        kind if kind.is_rbac() => {
            if let Some(account) = terms.applier {
                return refuse(&format!(
                    "Flux applies the release with the rights of the service account {}, and hookhost would give more than that \
                     account may. Make it part of the release proper",
                    quote(account)
                ));
            }
            return rights(loan, kept, terms, refuse);
        }
        _ => {}
    }
    Ok(())
}

/// Whether a binding gives no more, and to nobody else, than it seems.
fn rights(
    loan: &Loan,
    kept: &[ObjectRef],
    terms: &Terms<'_>,
    refuse: impl Fn(&str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let manifest = loan.manifest.value();
    if manifest.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        return refuse(
            "it collects the rules of other roles by their labels, whatever those give. Let the chart write its rules out",
        );
    }
    if !loan.object.kind.is_binding() {
        return Ok(());
    }
    let subjects = manifest.get("subjects").and_then(Value::as_array).into_iter().flatten();
    for subject in subjects {
        let namespace = text(subject, "/namespace");
        let is_near =
            namespace == terms.namespace || (namespace.is_empty() && loan.object.kind.is_namespaced());
        if text(subject, "/kind") != "ServiceAccount" || !is_near {
            let (kind, name) = (text(subject, "/kind"), text(subject, "/name"));
            return refuse(&format!(
                "it also gives rights to the {kind} {}, which is no service account of the namespace {}",
                quote(name),
                quote(terms.namespace)
            ));
        }
    }
    let is_role = |object: &&ObjectRef| binds(&manifest, object.kind, &object.name);
    if let Some(role) = kept.iter().find(is_role) {
        let message = format!(
            "the {}, which the hook needs, is not there, and the {role} that it binds is, as somebody else has made it: hookhost \
             gives only the rights that the chart has. Make the binding, or delete that role",
            loan.object
        );
        return Err(Refusal::wait(Reason::DependencyMissing, message));
    }
    Ok(())
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
