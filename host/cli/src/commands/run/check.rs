//! The *check* before an Operation is made: whether its target and its hook are there, as far as the person may read them. Without
//! it each mistyped name would leave a failed Operation behind.

use std::time::Duration;

use anyhow::Result;
use hookhost_cluster::client::Connection;
use hookhost_core::operation::Operation;
use hookhost_core::refusal::Refusal;
use hookhost_core::request::Target;
use hookhost_core::{Reason, refusal};
use serde_json::Value;

use crate::commands::plan::target;
use crate::exit;
use crate::problem::Problem;

/// How long the check may take: three reads, each of a few milliseconds. The controller checks all of it again, so who cannot wait
/// loses nothing.
const WITHIN: Duration = Duration::from_secs(5);

/// Looks for what the Operation names; gives back the target, as far as it is known. Whatever else keeps it from running now, from missing rights to an upgrade, is for the
/// controller to find and to wait for.
///
/// # Errors
/// The target is not there, or its release does not have the hook, or has one that cannot be run.
pub(super) async fn check(connection: &Connection, object: &Value) -> Result<Option<Target>> {
    let Ok(operation) = Operation::from_json(object.clone()) else { return Ok(None) };
    let found = target::resolve(connection, &operation, &connection.namespace);
    let found = match tokio::time::timeout(WITHIN, found).await {
        Ok(Ok(found)) => found,
        // None of that name, or a release that is Flux's.
        Ok(Err(error))
            if [Reason::TargetNotFound, Reason::ValidationFailed].contains(&exit::reason(&error)) =>
        {
            return Err(error);
        }
        Ok(Err(_)) | Err(_) => return Ok(None),
    };
    let target::Found { target, chosen, .. } = found;
    match chosen.selection {
        Err(refusal) if stops(&operation, &refusal) => {
            let message = format!("no Operation is made: the release {} cannot serve it", chosen.release);
            Err(Problem::new(refusal.reason, message)
                .with_source(refusal)
                .with_advice("`hookhost hooks` lists the hooks of a release and says which can be run.")
                .into())
        }
        _ => Ok(Some(target)),
    }
}

/// Whether the Operation would fail by this at once.
fn stops(operation: &Operation, refusal: &Refusal) -> bool {
    let waits = operation.parameters.wait_for_hook && refusal.reason == Reason::HookNotFound;
    refusal.then == refusal::Then::Fail && !waits
}
