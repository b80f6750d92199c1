//! To *uninstall* is to leave no Job behind that nobody could delete any more: hookhost's finalizer is taken off all of
//! its Jobs, after whoever puts it on has stopped.
//!
//! The same is done for the RoleBindings that give hookhost its rights: they carry a finalizer of their own, and nobody would take
//! it off them either.
//!
//! Nothing else is changed. Jobs run on, Operations stay as they are, and a hookhost that is installed again finds both. But what
//! Jobs borrow is taken back where they do not run: nobody else would. A Job that waits for its loans goes with them, and so do the
//! steps of an event of which none has begun. What a Job borrows that runs on, or an event that has begun, is told: it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use hookhost_core::Reason;
use hookhost_core::clone::{FINALIZER, OPERATION, STEP};
use hookhost_core::loan::{CLOSURE, ObjectRef};
use hookhost_core::text::printable;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::time::sleep;

use crate::bindings::RIGHTS;
use crate::claim_key::{ClaimSecret, Keyring};
use crate::client::{self, Call, Connection, Error, Verb, WRITE_TIMEOUT, Writer};
use crate::lease::{Claim, InvalidTiming, Lease, LeaseParams, NotSeized};
use crate::lender::{Lender, UNATTENDED};
use crate::lists::{AT_ONCE, Lists, Meta, PAUSE, is_held};
use crate::metrics::Metrics;
use crate::read::Reader;
use crate::watch;
use crate::write::Writes;

/// How long all of it may take: less than the 240 s that the chart's Job has, with what a retried list needs.
pub const LIMIT: Duration = Duration::from_secs(180);

/// How long the Lease is held meanwhile, without renewing it: longer than all of it can take.
pub const HOLD: Duration = Duration::from_secs(300);

/// How long it is held afterwards: until Helm has deleted the Deployment, whose pods would claim it. A hookhost that is
/// installed again waits for it.
pub const LEAVE: Duration = Duration::from_secs(60);

/// Whose Jobs.
#[derive(Clone, Debug)]
pub struct Params {
    /// The Lease of those that may write, to be held by this process.
    pub lease: LeaseParams,
    /// Label selector of the namespaces that they served; none for all.
    pub namespace_selector: Option<String>,
    /// Names of the RoleBindings that carry hookhost's finalizer, in any namespace.
    pub role_bindings: Vec<String>,
    /// Where their key is by which they recognise what they made. Without it nothing is taken back.
    pub claim_secret: ClaimSecret,
}

impl Params {
    /// For the hookhosts that share a Lease. The Secret of this name is in the Lease's namespace.
    pub fn new(
        lease_namespace: &str,
        lease_name: &str,
        host: &str,
        claim_secret: &str,
        namespace_selector: Option<String>,
        role_bindings: Vec<String>,
    ) -> Params {
        let identity = format!("{}_uninstall", LeaseParams::identity(host));
        let lease = LeaseParams { duration: HOLD, ..LeaseParams::new(lease_namespace, lease_name, identity) };
        let claim_secret =
            ClaimSecret { namespace: lease_namespace.to_owned(), name: claim_secret.to_owned() };
        Params { lease, namespace_selector, role_bindings, claim_secret }
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Namespace and name of the Jobs whose finalizer was taken off.
    pub released: BTreeSet<(String, String)>,
    /// What those of them borrow that run on, or are steps of an event that has begun.
    pub lent: BTreeMap<(String, String), Vec<ObjectRef>>,
    /// Namespace and name of the RoleBindings whose finalizer was taken off.
    pub bindings: BTreeSet<(String, String)>,
    /// Namespaces whose Jobs may not be listed: hookhost had no rights there, or has them no more.
    pub not_looked_at: BTreeSet<String>,
}

/// Why it was not done, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UninstallError {
    /// The lease's times make no sense.
    #[error(transparent)]
    Timing(#[from] InvalidTiming),
    /// Those that write could not be stopped.
    #[error(transparent)]
    Lease(#[from] NotSeized),
    /// The API server refuses, or could not be asked.
    #[error("not all Jobs and RoleBindings are released")]
    Api(#[from] Error),
    /// It took too long.
    #[error("not all Jobs and RoleBindings are released after {} s", LIMIT.as_secs())]
    TimedOut,
}

impl UninstallError {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            UninstallError::Timing(_) => Reason::UsageInvalid,
            UninstallError::Lease(_) | UninstallError::TimedOut => Reason::ClusterUnreachable,
            UninstallError::Api(error) => error.reason(),
        }
    }

    /// What to do next.
    pub fn advice(&self) -> String {
        let again = "Run it again: it goes on where it stopped.";
        match self {
            UninstallError::Api(error) => {
                format!("{} Then run it again: it goes on where it stopped.", error.advice())
            }
            UninstallError::Timing(_) | UninstallError::Lease(_) | UninstallError::TimedOut => {
                again.to_owned()
            }
        }
    }
}

/// Stops whoever holds the Lease, and takes hookhost's finalizer off all Jobs that can be seen.
pub async fn uninstall(connection: &Connection, params: Params) -> Result<Report, UninstallError> {
    let lease = Lease::new(connection.requests.clone(), params.lease, Metrics::new())?.seize().await?;
    let wait = lease.unquiet();
    match lease.former() {
        Some(holder) => {
            let seconds = wait.as_secs();
            tracing::info!(
                lease = lease.shown(),
                holder,
                seconds,
                "took the lease; waiting until its holder cannot write any more"
            );
        }
        None => tracing::info!(lease = lease.shown(), "took the lease, which nobody held"),
    }
    let work = async {
        lease.quiet().await;
        let releaser = Releaser::new(connection.requests.clone(), params.claim_secret);
        if let Err(error) = releaser.lender.keyring.load_existing().await {
            let error = crate::error::chain(&error);
            tracing::warn!(error, "cannot read the key of claims: what was made for runs stays");
        }
        let mut report = releaser.release_all(params.namespace_selector.as_deref()).await?;
        // Last: as long as Jobs are held, the rights are needed.
        report.bindings = releaser.release_bindings(&params.role_bindings).await?;
        Ok::<_, Error>(report)
    };
    let result = tokio::time::timeout(LIMIT, work).await;
    let report = result.map_err(|_| UninstallError::TimedOut)??;
    lease.leave(LEAVE).await;
    Ok(report)
}

struct Releaser {
    client: kube::Client,
    lists: Lists,
    lender: Lender,
}

impl Releaser {
    fn new(client: kube::Client, claim_secret: ClaimSecret) -> Releaser {
        // The lease is held, by this process alone and for longer than all of it takes.
        let writer = Writer::new(Claim::without_lease(), Metrics::new());
        let keyring = Keyring::new(client.clone(), writer.clone(), claim_secret);
        let (reader, writes) = (Reader::new(client.clone()), Writes::new(client.clone(), writer));
        let lender = Lender { reader, writes, keyring };
        Releaser { lists: Lists::new(client.clone()), client, lender }
    }

    async fn release_all(&self, namespace_selector: Option<&str>) -> Result<Report, Error> {
        if namespace_selector.is_none() {
            match self.lists.jobs(None).await {
                Ok(jobs) => return self.release(jobs).await,
                // The usual: the rights are given in each namespace.
                Err(Error::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let namespaces = self.lists.namespaces(namespace_selector).await?;
        let looks = namespaces.into_iter().map(|namespace| async move {
            match self.lists.jobs(Some(&namespace)).await {
                Ok(jobs) => Ok((namespace, Some(self.release(jobs).await?))),
                Err(Error::Forbidden { .. }) => Ok((namespace, None)),
                Err(error) => Err(error),
            }
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let (mut report, mut failure) = (Report::default(), None);
        // One namespace that cannot be cleaned keeps no other from it.
        while let Some(look) = looks.next().await {
            match look {
                Ok((_, Some(one))) => {
                    report.released.extend(one.released);
                    report.lent.extend(one.lent);
                }
                Ok((namespace, None)) => drop(report.not_looked_at.insert(namespace)),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(report), Err)
    }

    /// Takes the finalizer off the RoleBindings of these names.
    async fn release_bindings(&self, names: &[String]) -> Result<BTreeSet<(String, String)>, Error> {
        let mut released = BTreeSet::new();
        for name in names {
            let bindings = match self.lists.role_bindings(name).await {
                Ok(bindings) => bindings,
                // A chart that gave them no finalizer gave no right to look for it either.
                Err(Error::Forbidden { .. }) => continue,
                Err(error) => return Err(error),
            };
            let held =
                bindings.into_iter().filter(|binding| binding.finalizers().iter().any(|one| one == RIGHTS));
            let writes = held.map(|binding| async move {
                let namespace = binding.namespace().unwrap_or_default();
                loop {
                    match self.lender.writes.release_binding(&namespace, name).await {
                        Ok(()) => return Ok((namespace, name.clone())),
                        Err(crate::error::Error::Api(error)) if error.is_transient() => sleep(PAUSE).await,
                        Err(crate::error::Error::Api(error)) => return Err(error),
                        // Nothing but the API server can fail here.
                        Err(_) => return Ok((namespace, name.clone())),
                    }
                }
            });
            let written: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
            for binding in written {
                released.insert(binding?);
            }
        }
        Ok(released)
    }

    async fn release(&self, jobs: Vec<Meta<Job>>) -> Result<Report, Error> {
        let begun: BTreeSet<String> =
            jobs.iter().filter(|job| is_begun_step(job)).filter_map(operation).collect();
        let writes = jobs.into_iter().filter(is_held).map(|job| {
            let has_begun = operation(&job).is_some_and(|operation| begun.contains(&operation));
            self.release_one(job, has_begun)
        });
        let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
        let (mut report, mut failure) = (Report::default(), None);
        while let Some(written) = writes.next().await {
            match written {
                Ok((job, lent)) => {
                    if !lent.is_empty() {
                        report.lent.insert(job.clone(), lent);
                    }
                    report.released.insert(job);
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(report), Err)
    }

    /// Takes the finalizer off one Job; gives back its namespace and name, and what stays lent to it. `has_begun`: it is a step
    /// of an event that has.
    async fn release_one(
        &self,
        mut job: Meta<Job>,
        has_begun: bool,
    ) -> Result<((String, String), Vec<ObjectRef>), Error> {
        let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
        let api: Api<Job> = Api::namespaced(self.client.clone(), &namespace);
        let patch_call = Call::new::<Job>(Verb::Patch, Some(&namespace), &name);
        let get_call = Call::new::<Job>(Verb::Get, Some(&namespace), &name);
        let waits = [CLOSURE, STEP].iter().any(|key| job.annotations().contains_key(*key));
        let lent = loop {
            if !waits {
                break Vec::new();
            }
            match self.settle(&namespace, &name, has_begun).await {
                Err(error) if error.is_transient() => sleep(PAUSE).await,
                settled => break settled?,
            }
        };
        while is_held(&job) {
            let metadata = &job.metadata;
            let others: Vec<&String> = job.finalizers().iter().filter(|one| *one != FINALIZER).collect();
            // With the version: the list is replaced as a whole, and somebody else's entry must not come back.
            let mut patch = json!({"metadata": {
                "finalizers": others, "resourceVersion": metadata.resource_version, "uid": metadata.uid,
            }});
            if !lent.is_empty() {
                patch["metadata"]["annotations"] = json!({UNATTENDED: "true"});
            }
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let write = api.patch_metadata(&name, &params, &patch);
            match client::within(WRITE_TIMEOUT, &patch_call, write).await {
                Ok(_) => {
                    tracing::info!(namespace, job = printable(&name), "released a Job");
                    break;
                }
                Err(Error::NotFound { .. }) => break,
                Err(error) if error.is_transient() => {
                    sleep(PAUSE).await;
                    match client::read(&get_call, api.get_metadata_opt(&name)).await {
                        Ok(Some(now)) => job = now,
                        Ok(None) => break,
                        // The form that is known will do, or meet a conflict.
                        Err(error) if error.is_transient() => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(((namespace, name), lent))
    }
}

impl Releaser {
    /// Takes back what a Job borrows, unless it runs, or its event has begun; gives back what stays. One that was not let start is
    /// deleted.
    async fn settle(&self, namespace: &str, name: &str, has_begun: bool) -> Result<Vec<ObjectRef>, Error> {
        let settled = async {
            let Some(job) = self.lender.reader.job(namespace, name).await?.and_then(watch::Job::new) else {
                return Ok(Vec::new());
            };
            let borrowed = || job.borrowed().map(|borrowed| borrowed.objects.clone()).unwrap_or_default();
            let Some(keys) = self.lender.keyring.keys() else { return Ok(borrowed()) };
            if !job.is_genuine(&keys) {
                // It only says that hookhost made it: what it says to borrow is not its.
                return Ok(Vec::new());
            }
            let has_waited = job.is_untouched(&keys);
            // The steps of an event go on together, or not at all.
            if has_begun || (!has_waited && !job.is_over) {
                return Ok(borrowed());
            }
            if has_waited && !job.is_deleted() {
                self.lender.writes.withdraw_job(&job).await?;
            }
            self.lender.take_back(&job).await.map(|()| Vec::new())
        };
        match settled.await {
            Ok(lent) => Ok(lent),
            Err(crate::error::Error::Api(error)) => Err(error),
            // Nothing but the API server can fail here.
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// The UID of the Operation that a Job is for.
fn operation(job: &Meta<Job>) -> Option<String> {
    job.labels().get(OPERATION).cloned()
}

/// Whether it is one of an event's, and was let start: its spec is not any more what it was created with.
fn is_begun_step(job: &Meta<Job>) -> bool {
    let first = watch::first_generation(job.metadata.deletion_timestamp.is_some());
    job.annotations().contains_key(STEP) && job.metadata.generation.is_some_and(|now| now > first)
}

#[cfg(test)]
mod tests;
