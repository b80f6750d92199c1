//! What the controller acts with: it reads, writes and cleans up.

use std::sync::Arc;

use super::known::Known;
use super::tasks::Tasks;
use crate::backoff::Backoff;
use crate::binding_keeper::Keeper;
use crate::claims::Claims;
use crate::config::Config;
use crate::event::Events;
use crate::garbage::GarbageCollector;
use crate::in_flight::InFlight;
use crate::lender::Lender;
use crate::lists::Lists;
use crate::metrics::Metrics;
use crate::organisation::Organisations;
use crate::policy::Policies;
use crate::reconcile::{Context, KeptLogs, Lookups, Overwrites, Trails, Turns};
use crate::search::{Search, Unsearched};
use crate::started::Started;
use crate::stop::Stopper;
use crate::watch::Targets;
use crate::written::Written;
use hookhost_cluster::client::Connection;
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::Writes;
use hookhost_cluster::writer::Writer;

/// What the controller acts with; clones share it.
#[derive(Clone)]
pub(super) struct Hands {
    reader: Reader,
    writes: Writes,
    stopper: Stopper,
    lender: Lender,
    organisations: Organisations,
}

/// What decides about Operations and reports on them.
pub(super) struct Deciding {
    pub(super) policies: Arc<Policies>,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
}

impl Hands {
    pub(super) fn new(connection: &Connection, config: &Config, writer: &Writer, known: &Known) -> Hands {
        let requests = &connection.requests;
        let (reader, writes) = (Reader::new(requests.clone()), Writes::new(requests.clone(), writer.clone()));
        let keyring = &known.keyring;
        Hands {
            stopper: Stopper { reader: reader.clone(), writes: writes.clone(), keyring: keyring.clone() },
            lender: Lender::new(&reader, &writes, keyring),
            organisations: Organisations {
                namespaces: known.gated.clone(),
                label: config.organisation_label.clone(),
            },
            reader,
            writes,
        }
    }

    /// Begins to look after what runs leave behind: orphaned Jobs, RoleBindings that are being deleted, and runs in namespaces that
    /// are not managed. Gives back where those have not been searched for yet.
    pub(super) fn look_after(
        &self,
        connection: &Connection,
        config: &Config,
        known: &Known,
        tasks: &mut Tasks,
    ) -> Unsearched {
        let Hands { reader, writes, stopper, lender, organisations } = self.clone();
        let Known { gated, operations, jobs, orphans, bindings, keyring, wakes, .. } = known.clone();
        let lists = Lists::new(connection.requests.clone());
        // What an earlier hookhost may have left.
        orphans.sweep();
        let keeper = Keeper {
            bindings,
            jobs: jobs.clone(),
            namespaces: gated.clone(),
            reader: reader.clone(),
            lists: lists.clone(),
            writes: writes.clone(),
            keyring: keyring.clone(),
            orphans: orphans.clone(),
        };
        let watch_bindings = keeper.clone().watch(connection.streams.clone(), config.bindings());
        tasks.endless("watching RoleBindings", watch_bindings);
        tasks.endless("keeping RoleBindings", keeper.run());
        let unsearched = Unsearched::default();
        let search = Search {
            jobs: jobs.clone(),
            gated: gated.clone(),
            lists,
            selector: config.namespace_selector.clone(),
            unsearched: unsearched.clone(),
        };
        tasks.endless("searching for runs in namespaces that are not managed", search.run());
        let garbage = GarbageCollector {
            orphans,
            operations,
            reader,
            writes,
            lender,
            stopper,
            namespaces: gated,
            organisations,
            jobs,
            keyring,
            cluster_objects: config.cluster_objects.clone(),
            wakes,
        };
        tasks.endless("collecting orphaned Jobs", garbage.run());
        unsearched
    }

    /// What Operations are reconciled with.
    pub(super) fn context(
        self,
        connection: &Connection,
        config: &Config,
        known: &Known,
        deciding: Deciding,
        unsearched: Unsearched,
        tasks: &Tasks,
    ) -> Context {
        let Hands { reader, writes, stopper, lender, organisations } = self;
        let Known { gated, served, operations, jobs, pods, orphans, bindings, keyring, wakes } =
            known.clone();
        let Deciding { policies, events, metrics } = deciding;
        Context {
            config: config.clone(),
            operations,
            served,
            gated,
            organisations,
            unsearched,
            jobs,
            pods,
            orphans,
            bindings,
            stopper,
            targets: Targets::new(connection.streams.clone(), wakes.clone(), tasks.token()),
            policies,
            reader,
            trails: Trails::default(),
            lookups: Lookups::default(),
            writes,
            lender,
            keyring,
            written: Written::default(),
            claims: Claims::default(),
            started: Started::default(),
            turns: Turns::new(wakes),
            errors: Backoff::default(),
            waits: Backoff::default(),
            withdrawals: Backoff::default(),
            suspensions: Backoff::default(),
            overwrites: Overwrites::default(),
            logs: KeptLogs::default(),
            in_flight: InFlight::default(),
            events,
            metrics,
        }
    }
}
