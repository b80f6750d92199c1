//! *Conflicts* of an Operation that is only planned: which Operations of the cluster it would wait for.

use std::collections::BTreeSet;
use std::sync::Arc;

use hookhost_cluster::client::{self, Call, Connection, Verb};
use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::operation::{Brief, TargetKey, Whole};
use hookhost_cluster::resource::operation_resource;
use hookhost_cluster::stream::Selection;
use hookhost_core::Reason;
use hookhost_core::conflict::{Turn, turn};
use hookhost_core::operation::Operation;
use hookhost_core::refusal::Refusal;
use hookhost_core::status;
use hookhost_helm::hook::Hook;

/// Bytes of the Operations of a namespace that are read: of some ten thousand of the usual size.
const READ_BYTES: usize = 64 << 20;

/// An Operation on the release, and the reason for which it waits by its own status.
struct Rival {
    brief: Arc<Brief>,
    waits_for: Option<Reason>,
}

/// Why the Operation would wait for another one on its release, which may name it by any of `names`.
pub(super) async fn conflict(
    connection: &Connection,
    operation: &Operation,
    names: &[TargetKey],
    hooks: &[&Hook],
) -> Result<Option<Refusal>> {
    let own = operation.namespace.as_deref().unwrap_or_default();
    let own = TargetKey::new(own, &operation.target_ref.kind, &operation.target_ref.name);
    let names: Vec<&TargetKey> = names.iter().chain([&own]).collect();
    let namespaces: BTreeSet<&str> = names.iter().map(|name| name.namespace()).collect();
    let mut rivals = Vec::new();
    for namespace in namespaces {
        let resource = operation_resource();
        let call = Call::of_resource(Verb::List, &resource, Some(namespace), "");
        let all = Selection::new(connection.requests.clone(), &resource, Some(namespace));
        let read = |text: &str| {
            let Some(Whole { brief, object, foreign, .. }) = Whole::read(text) else { return };
            // It may have been made already.
            let is_itself =
                Some(namespace) == operation.namespace.as_deref() && brief.key.name == operation.name;
            if is_itself || brief.is_finished || !names.contains(&&brief.target) {
                return;
            }
            let reported = object.data.get("status").and_then(status::blocked_reason);
            let reported = reported.filter(|_| !foreign.has_blocked());
            let waits_for = reported.and_then(|reason| reason.parse::<Reason>().ok());
            rivals.push(Rival { brief, waits_for });
        };
        match client::read(&call, all.list_up_to(READ_BYTES, read)).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(Error::Unreadable { what: "the namespace's Operations: there are too many" });
            }
            // Where hookhost is not installed yet there are none.
            Err(client::Error::KindMissing { .. } | client::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let others = rivals
        .iter()
        .map(|Rival { brief, waits_for }| brief.other(brief.has_started).waiting_for(*waits_for));
    Ok(match turn(operation, others) {
        Turn::Wait(before) => Some(before.refusal()),
        Turn::Go(overtaken) => {
            overtaken.iter().rfind(|before| before.shares(hooks)).map(|before| before.refusal())
        }
    })
}
