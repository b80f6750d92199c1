//! Serving the Operations: which changes of which objects lead to a look at which Operation.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use hookhost_core::status;
use kube::core::DynamicObject;
use kube::runtime::{Controller, watcher};
use serde_json::Value;
use tokio::sync::watch as latest;
use tokio_util::sync::CancellationToken;

use crate::lease::Leadership;
use crate::orphan::Orphans;
use crate::policy::Policies;
use crate::reconcile::{Context, on_error, reconcile};
use crate::wake::Wakes;
use crate::watch::{Change, Jobs, Operations, key, operation_resource};

/// Looks at Operations until `shutdown`, and finishes the looks that are under way.
pub(super) async fn serve(
    context: Arc<Context>,
    changes: impl Stream<Item = Result<Change, watcher::Error>> + Send + 'static,
    policies: Arc<Policies>,
    wakes: Wakes,
    shutdown: CancellationToken,
) {
    let store = context.operations.store();
    // A policy that is not known yet must not be passed over.
    let ready = {
        let context = context.clone();
        async move {
            tokio::join!(context.served.synced(), context.gated.synced(), policies.ready());
        }
    };
    if shutdown.run_until_cancelled(ready).await.is_none() {
        return;
    }
    let trigger = {
        let (context, wakes) = (context.clone(), wakes.clone());
        changes.filter_map(move |change| std::future::ready(noticed(&context, &wakes, change)))
    };
    let served = Controller::for_stream_with(trigger, store, operation_resource())
        .reconcile_on(wakes.stream())
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, on_error, context);
    // Errors were handled where they happened; that an Operation is gone before it is looked at is no error.
    served.for_each(|_| std::future::ready(())).await;
}

/// What a change of an Operation means: for itself, a look; for its neighbours, a wake.
fn noticed(
    context: &Context,
    wakes: &Wakes,
    change: Result<Change, watcher::Error>,
) -> Option<Result<DynamicObject, watcher::Error>> {
    match change {
        Ok(Change::Listed(object)) => Some(Ok(object)),
        Ok(Change::Applied(object)) => {
            if is_finished(&object) {
                wakes.wake_all(waiting_beside(&context.operations, &object));
            }
            Some(Ok(object))
        }
        Ok(Change::Deleted(object)) => {
            context.forget(&object);
            wakes.wake_all(waiting_beside(&context.operations, &object));
            None
        }
        Err(error) => Some(Err(error)),
    }
}

/// The unfinished Operations of the same target: one of them may have waited for this one.
fn waiting_beside(operations: &Operations, object: &DynamicObject) -> Vec<crate::wake::OperationKey> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let target = object.data.pointer("/spec/targetRef");
    let neighbours = operations.of_namespace(namespace).into_iter();
    neighbours
        .filter(|other| other.data.pointer("/spec/targetRef") == target && !is_finished(other))
        .filter_map(|other| key(&other))
        .collect()
}

fn is_finished(object: &DynamicObject) -> bool {
    status::is_finished(object.data.get("status").unwrap_or(&Value::Null))
}

/// Looks at everything anew once this process leads: what it saw on standby, it could not act upon.
pub(super) async fn wake_when_leading(
    mut leadership: latest::Receiver<Leadership>,
    operations: Operations,
    jobs: Jobs,
    orphans: Orphans,
    wakes: Wakes,
) {
    let leads = |state: &Leadership| matches!(state, Leadership::Leading { .. });
    if leadership.wait_for(leads).await.is_ok() {
        operations.synced().await;
        wakes.wake_all(operations.keys());
        for (namespace, name) in jobs.without_operation() {
            orphans.suspect(&namespace, &name);
        }
    }
    std::future::pending::<()>().await;
}
