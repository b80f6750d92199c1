//! What the controller *knows* of the cluster by its watches, and the tasks that keep that so.

use futures::Stream;
use hookhost_core::Reason;
use kube::runtime::watcher;

use super::tasks::Tasks;
use crate::bindings::Bindings;
use crate::claim_key::Keyring;
use crate::config::Config;
use crate::orphans::Orphans;
use crate::wake::Wakes;
use crate::watch::{self, Change, Jobs, Listeners, NamespaceChange, Namespaces, Operations, Pods};
use hookhost_cluster::client::Connection;
use hookhost_cluster::writer::Writer;

/// What the watches keep up to date; clones share it.
#[derive(Clone)]
pub(super) struct Known {
    /// The namespaces in which hookhost may act.
    pub(super) gated: Namespaces,
    /// Those whose Operations it serves.
    pub(super) served: Namespaces,
    pub(super) operations: Operations,
    pub(super) jobs: Jobs,
    pub(super) pods: Pods,
    pub(super) orphans: Orphans,
    pub(super) bindings: Bindings,
    pub(super) keyring: Keyring,
    /// The Operations that are to be reconciled.
    pub(super) wakes: Wakes,
}

impl Known {
    /// Begins the watches; gives back the changes of Operations, too.
    pub(super) fn watch(
        connection: &Connection,
        config: &Config,
        writer: &Writer,
        tasks: &mut Tasks,
    ) -> (Known, impl Stream<Item = Result<Change, watcher::Error>> + Send + use<>) {
        let (streams, work) = (&connection.streams, tasks.token());
        let (wakes, orphans, bindings) = (Wakes::default(), Orphans::default(), Bindings::default());
        let (gated, gate_changes) = Namespaces::watch(streams.clone(), &config.namespace_gate);
        let (operations, changes) = Operations::watch(
            streams.clone(),
            gated.clone(),
            watch::Terms { cluster_id: config.cluster_id.clone(), wait_timeout: config.wait_timeout },
        );
        let pods = Pods::new(streams.clone(), operations.clone(), wakes.clone(), work.clone());
        let keyring = Keyring::new(connection.requests.clone(), writer.clone(), config.claim_secret.clone());
        let listeners = Listeners { orphans: orphans.clone(), bindings: bindings.clone() };
        let jobs = Jobs::new(
            streams.clone(),
            operations.clone(),
            pods.clone(),
            wakes.clone(),
            listeners,
            keyring.clone(),
            work.clone(),
        );
        tasks.endless("telling hookhost's Jobs from others", jobs.clone().sort());
        let served = match &config.namespace_selector {
            None => gated.clone(),
            Some(selector) => {
                let both = format!("{},{selector}", config.namespace_gate);
                let (served, changes) = Namespaces::watch(streams.clone(), &both);
                let (operations, wakes) = (operations.clone(), wakes.clone());
                let follow = watch::drive(changes, "namespaces of this shard", move |changes| {
                    for change in changes {
                        wakes.wake_all(operations.keys_of(change.namespace()));
                    }
                });
                tasks.endless("watching the shard's namespaces", follow);
                served
            }
        };
        let known = Known { gated, served, operations, jobs, pods, orphans, bindings, keyring, wakes };
        let of_gate = known.clone();
        let follow = watch::drive(gate_changes, "namespaces", move |changes| {
            changes.into_iter().for_each(|change| of_gate.note_namespace(&change));
        });
        tasks.endless("watching namespaces", follow);
        (known, changes)
    }

    fn note_namespace(&self, change: &NamespaceChange) {
        match change {
            NamespaceChange::Joined(namespace) => {
                self.jobs.follow(namespace);
                self.operations.joined(namespace);
            }
            NamespaceChange::Left(namespace) => self.jobs.leave(namespace),
            NamespaceChange::Terminating(namespace) => {
                // What is left of a run there, nobody may be able to remove in a moment.
                self.jobs.follow_to_the_end(namespace);
                self.jobs.wake(namespace);
                self.bindings.terminate(namespace);
            }
        }
        // Also those that wait for the namespace of their release.
        self.wakes.wake_all(self.operations.keys_of(change.namespace()));
        self.wakes.wake_all(self.operations.waiting_for(Reason::NamespaceNotManaged));
    }
}
