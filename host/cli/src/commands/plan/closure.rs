//! What a plan says of the objects that a hook needs and that are hooks themselves: what Helm has made of them, and what a run does
//! without them.

use std::collections::BTreeSet;

use hookhost_core::closure::Member;
use hookhost_core::dependency::{can_do_without, references, starts_without};
use hookhost_core::loan::{ByHelm, ClusterObject};
use hookhost_core::maker::{self, Maker};
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::Operation;
use hookhost_core::plan::Warning;
use hookhost_core::request::Request;
use hookhost_core::status;
use hookhost_helm::text::shortlist;

/// Objects that a warning names.
const MAX_NAMED: usize = 32;

/// What a person should know of these objects of a closure.
pub(super) fn warnings(operation: &Operation, request: &Request, closure: &[Member<'_>]) -> Vec<Warning> {
    let revision = request.release.revision;
    let references = references(&request.hook.manifest);
    let named = |is_it: &dyn Fn(&Member<'_>, ByHelm, bool) -> bool| {
        let all = closure.iter().filter(|member| {
            let is_far = ObjectRef::of(member).is_outside(request.job_namespace());
            is_it(member, ByHelm::of(member.hook, revision), is_far)
        });
        let objects: BTreeSet<String> = all.map(|member| ObjectRef::of(member).to_string()).collect();
        (!objects.is_empty()).then(|| shortlist(objects, MAX_NAMED))
    };
    let is_needed = |member: &Member<'_>| {
        let object = ObjectRef::of(member);
        !can_do_without(&object) && !starts_without(&object, &references)
    };
    let advice = match operation.parameters.closure {
        true => "hookhost creates it for the run",
        false => {
            "the run waits until it is there, unless parameters.closure is true (hookhost run --closure), or a HookPolicy says \
             closure: Allow"
        }
    };
    let left = named(&|_, by, _| by == ByHelm::Left);
    let far = named(&|_, by, is_far| by != ByHelm::Left && is_far);
    let deleted = named(&|member, by, is_far| by == ByHelm::Deleted && !is_far && is_needed(member));
    let not_created = named(&|member, by, is_far| by == ByHelm::NotCreated && !is_far && is_needed(member));
    let optional = named(&|member, by, is_far| by != ByHelm::Left && !is_far && !is_needed(member));
    let mut warnings = Vec::new();
    let mut warn = |code, message| warnings.push(Warning { code, message });
    if let Some(left) = left {
        let message = format!(
            "the hook needs what Helm leaves in the cluster, and this plan takes to be there: {left}"
        );
        warn("LeftByHelm", message);
    }
    if let Some(far) = far {
        let message = format!(
            "the hook needs hooks of the chart in other namespaces than the run's, which Helm deletes after their events or has \
             not created yet: {far}. hookhost creates nothing in other namespaces: where it may look, the run waits until they are \
             there; elsewhere it starts without knowing"
        );
        warn("DeletedElsewhere", message);
    }
    if let Some(deleted) = deleted {
        let message = format!(
            "the hook needs what Helm deletes after its event: {deleted}. If it is not there, {advice}"
        );
        warn("DeletedByHelm", message);
    }
    if let Some(not_created) = not_created {
        let message = format!(
            "the hook needs what Helm creates for events that have not been yet: {not_created}. If it is not there, {advice}"
        );
        warn("NotCreatedByHelm", message);
    }
    if let (Some(optional), false) = (optional, operation.parameters.closure) {
        let message = format!(
            "the run starts without what Helm deletes after its event, or has not created yet, unless parameters.closure is true \
             (hookhost run --closure), or a HookPolicy says closure: Allow: {optional}"
        );
        warn("RunsWithout", message);
    }
    warnings
}

/// That a volume of the hook's pod needs what Helm deletes and hookhost does not create.
pub(super) fn deleted_classes(request: &Request, makers: &[Maker]) -> Option<Warning> {
    let classes = maker::deleted_classes(&request.hook.manifest, makers);
    let message = format!("the hook's pod may not start: {}", maker::lost_classes(&classes));
    (!classes.is_empty()).then_some(Warning { code: "DeletedByHelm", message })
}

/// That network policies of the chart do not apply to the run.
pub(super) fn missed(policies: &[ObjectRef]) -> Option<Warning> {
    let names = shortlist(policies.iter().map(ObjectRef::to_string), MAX_NAMED);
    (!policies.is_empty())
        .then(|| Warning { code: "NetworkPolicyMissesRun", message: status::missed(&names) })
}

/// The objects without a namespace that hookhost may have to create, as the chart value names them.
pub(super) fn cluster_objects(request: &Request, closure: &[Member<'_>]) -> BTreeSet<String> {
    let (release, revision) = (request.release.namespace.as_str(), request.release.revision);
    let namespaces = BTreeSet::from([release, request.job_namespace()]);
    closure
        .iter()
        .filter(|member| ByHelm::of(member.hook, revision) != ByHelm::Left)
        .filter_map(|member| ClusterObject::anywhere(member.kind, &member.hook.name))
        .flat_map(|object| namespaces.iter().map(move |namespace| format!("{namespace}/{object}")))
        .collect()
}

/// The chart value by which hookhost may create these, ready to paste.
pub(super) fn value_needed(cluster_objects: &BTreeSet<String>) -> Option<Warning> {
    let value = serde_json::json!(cluster_objects);
    let message = format!(
        "hookhost may create what has no namespace only if it was installed with it: --set-json 'closure.clusterObjects={value}'"
    );
    (!cluster_objects.is_empty()).then_some(Warning { code: "ClusterObjectsNeeded", message })
}
