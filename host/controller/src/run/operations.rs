//! Serving the Operations: which changes of which objects lead to a look at which Operation.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream};
use kube::runtime::watcher;
use tokio::sync::watch as latest;
use tokio_util::sync::CancellationToken;

use super::known::Known;
use crate::looks::Looks;
use crate::policy::Policies;
use crate::reconcile::{Context, reconcile};
use crate::wake::Wakes;
use crate::watch::{self, Change};
use hookhost_cluster::lease::Leadership;

/// How long to wait for the HookPolicies before Operations are looked at: loading some takes a second or two, and each
/// Operation that is looked at before has to say that it waits for them.
const POLICIES_WITHIN: Duration = Duration::from_secs(20);

/// Looks at Operations until `shutdown`, and finishes the looks that are under way.
pub(super) async fn serve(
    context: Arc<Context>,
    changes: impl Stream<Item = Result<Change, watcher::Error>> + Send + 'static,
    policies: Arc<Policies>,
    wakes: Wakes,
    shutdown: CancellationToken,
) {
    let noticing = watch::drive(changes, "operations", |change| noticed(&context, &wakes, change));
    let mut looks = Looks::new(context.config.concurrency, context.metrics.clone(), {
        let context = context.clone();
        move |key| reconcile(key, context.clone())
    });
    let looking = async {
        // Another Operation may be in the way, and a policy that is not known yet must not be passed over.
        tokio::join!(
            context.operations.synced(),
            context.served.synced(),
            context.gated.synced(),
            // Should they never be known, each Operation says so: deciding refuses as long as they are not.
            tokio::time::timeout(POLICIES_WITHIN, policies.ready()).map(drop),
        );
        loop {
            tokio::select! {
                key = wakes.next() => looks.ask(key),
                () = looks.next() => {}
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = noticing => {}
        () = looking => {}
    }
    looks.finish().await;
}

/// What a change of an Operation means: it is reconciled, and so is whoever waits for it, if that is what has changed.
fn noticed(context: &Context, wakes: &Wakes, change: Change) {
    match change {
        Change::Listed(operation) | Change::Applied(operation) => {
            context.note_operation(&operation);
            // Nothing is to be done for one of another engine that is in nobody's way any more.
            if operation.is_of_engine() || context.operations.by_uid(&operation.uid).is_some() {
                wakes.wake(operation.key.clone());
            }
        }
        Change::Deleted(operation) => {
            context.forget(&operation);
            context.note_deletion(&operation);
        }
    }
}

/// Looks at everything anew once this process leads: what it saw on standby, it could not act upon.
pub(super) async fn wake_when_leading(mut leadership: latest::Receiver<Leadership>, known: Known) {
    let leads = |state: &Leadership| matches!(state, Leadership::Leading { .. });
    if leadership.wait_for(leads).await.is_ok() {
        let Known { operations, jobs, orphans, bindings, wakes, .. } = &known;
        operations.synced().await;
        wakes.wake_all(operations.keys());
        for (namespace, name) in jobs.without_operation() {
            orphans.suspect(&namespace, &name);
        }
        orphans.sweep();
        bindings.look_again();
    }
    std::future::pending::<()>().await;
}
