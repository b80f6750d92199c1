//! Serving the Operations: which changes of which objects lead to a look at which Operation.

use std::sync::Arc;

use futures::Stream;
use kube::core::DynamicObject;
use kube::runtime::watcher;
use tokio::sync::watch as latest;
use tokio_util::sync::CancellationToken;

use crate::lease::Leadership;
use crate::looks::Looks;
use crate::orphan::Orphans;
use crate::policy::Policies;
use crate::reconcile::{Context, reconcile};
use crate::wake::{OperationKey, Wakes};
use crate::watch::{self, Change, Jobs, Operations, is_finished, key};

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
            policies.ready()
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

/// What a change of an Operation means: for itself, a look; for its neighbours, one too.
fn noticed(context: &Context, wakes: &Wakes, change: Change) {
    match change {
        Change::Listed(object) => wakes.wake_all(key(&object)),
        Change::Applied(object) => {
            if is_finished(&object) {
                wakes.wake_all(waiting_beside(&context.operations, &object));
            }
            wakes.wake_all(key(&object));
        }
        Change::Deleted(object) => {
            context.forget(&object);
            wakes.wake_all(waiting_beside(&context.operations, &object));
        }
    }
}

/// The unfinished Operations of the same target: one of them may have waited for this one.
fn waiting_beside(operations: &Operations, object: &DynamicObject) -> Vec<OperationKey> {
    operations.unfinished_beside(object).iter().filter_map(|other| key(other)).collect()
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
