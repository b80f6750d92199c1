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
use hookhost_core::keys::FINALIZER;
use hookhost_core::keys::UNATTENDED;
use hookhost_core::object::ObjectRef;
use hookhost_helm::text::{printable, shortlist};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::sleep;

use crate::claim_key::{ClaimSecret, Keyring};
use crate::lender::Lender;
use crate::lists::{AT_ONCE, Listed, Lists};
use crate::metrics::Metrics;
use hookhost_cluster::client::{self, Call, Connection, Error, Verb, WRITE_TIMEOUT};
use hookhost_cluster::lease::{Claim, InvalidTiming, Lease, LeaseParams, NotSeized};
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::Writes;
use hookhost_cluster::writer::Writer;

/// How long all of it may take: less than the 240 s that the chart's Job has, with what a retried list needs.
pub const LIMIT: Duration = Duration::from_secs(180);

/// How long the Lease is held meanwhile, without renewing it: longer than all of it can take.
pub const HOLD: Duration = Duration::from_secs(300);

/// How long it is held afterwards: until Helm has deleted the Deployment, whose pods would claim it. After that, and after their
/// rights, the chart's hook deletes the Lease, so that a hookhost that is installed again does not wait for it.
pub const LEAVE: Duration = Duration::from_secs(60);

/// Tries to write one object, whoever else writes it at the same time, before it is left for the next run.
const TRIES: u32 = 5;

/// Pause before what the API server could not do is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Objects that an error names.
const NAMED: usize = 8;

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
    /// The API server refuses to release these, or others change them all the time. All others are released.
    #[error("not all Jobs and RoleBindings are released; still held: {}", shortlist(left.iter().cloned(), NAMED))]
    Left {
        /// "Job NAMESPACE/NAME", or "RoleBinding NAMESPACE/NAME", or where it is that could not be looked for them.
        left: BTreeSet<String>,
        /// What the API server said of one of them.
        #[source]
        source: Error,
    },
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
            UninstallError::Api(error) | UninstallError::Left { source: error, .. } => error.reason(),
        }
    }

    /// What to do next.
    pub fn advice(&self) -> String {
        let again = "Run it again: it goes on where it stopped.";
        match self {
            UninstallError::Api(error) | UninstallError::Left { source: error, .. } => {
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
            let error = hookhost_cluster::error::chain(&error);
            tracing::warn!(error, "cannot read the key of claims: what was made for runs stays");
        }
        let mut left = Left::default();
        let mut report = releaser.release_all(params.namespace_selector.as_deref(), &mut left).await?;
        // Last: as long as Jobs are held, the rights are needed.
        report.bindings = releaser.release_bindings(&params.role_bindings, &mut left).await?;
        left.or(report)
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
        let lender = Lender::new(&reader, &writes, &keyring);
        Releaser { lists: Lists::new(client.clone()), client, lender }
    }

    async fn release_all(
        &self,
        namespace_selector: Option<&str>,
        left: &mut Left,
    ) -> Result<Report, UninstallError> {
        let mut report = Report::default();
        if namespace_selector.is_none() {
            match self.jobs(None).await {
                Ok(jobs) => {
                    self.release(jobs).await.add_to(&mut report, left);
                    return Ok(report);
                }
                // The usual: the rights are given in each namespace.
                Err(Error::Forbidden { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let namespaces = self.lists.namespaces(namespace_selector).await?;
        let looks = namespaces.into_iter().map(|namespace| async move {
            let jobs = self.jobs(Some(&namespace)).await;
            (namespace, jobs)
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let mut all = Vec::new();
        // One namespace that cannot be cleaned keeps no other from it.
        while let Some((namespace, jobs)) = looks.next().await {
            match jobs {
                Ok(jobs) => all.extend(jobs),
                Err(Error::Forbidden { .. }) => drop(report.not_looked_at.insert(namespace)),
                Err(error) => left.note(&namespace, format!("Jobs in {namespace}"), error),
            }
        }
        // All together: the steps of an event may be in several.
        self.release(all).await.add_to(&mut report, left);
        Ok(report)
    }

    /// The Jobs that are held, and the steps that tell whether their event has begun.
    async fn jobs(&self, namespace: Option<&str>) -> Result<Vec<Listed>, Error> {
        self.lists.jobs(namespace, |job| job.is_held || is_begun_step(job)).await
    }

    /// Takes the finalizer off the RoleBindings of these names, where no Job is left.
    async fn release_bindings(
        &self,
        names: &[String],
        left: &mut Left,
    ) -> Result<BTreeSet<(String, String)>, Error> {
        let mut released = BTreeSet::new();
        for name in names {
            let mut bindings = match self.lists.role_bindings(name).await {
                Ok(bindings) => bindings,
                // A chart that gave them no finalizer gave no right to look for it either.
                Err(Error::Forbidden { .. }) => continue,
                Err(error) => return Err(error),
            };
            bindings.retain(|binding| !left.namespaces.contains(&binding.namespace));
            let writes = bindings.into_iter().map(|Listed { namespace, name, uid, .. }| async move {
                let write =
                    async || only_api(self.lender.writes.release_binding(&namespace, &name, &uid).await);
                let written = tried(write).await;
                (namespace, name, written)
            });
            let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
            while let Some((namespace, name, written)) = writes.next().await {
                match written {
                    Ok(()) => drop(released.insert((namespace, name))),
                    Err(error) => left.note(&namespace, format!("RoleBinding {namespace}/{name}"), error),
                }
            }
        }
        Ok(released)
    }

    async fn release(&self, jobs: Vec<Listed>) -> Released {
        let begun: BTreeSet<String> =
            jobs.iter().filter(|job| is_begun_step(job)).filter_map(|job| job.operation.clone()).collect();
        let writes = jobs.into_iter().filter(|job| job.is_held).map(|job| {
            let has_begun = job.operation.as_ref().is_some_and(|operation| begun.contains(operation));
            async move {
                let released = self.release_one(&job, has_begun).await;
                (job.namespace, job.name, released)
            }
        });
        Released(stream::iter(writes).buffer_unordered(AT_ONCE).collect().await)
    }

    /// Takes the finalizer off one Job; gives back what stays lent to it. `has_begun`: it is a step of an event that has.
    async fn release_one(&self, job: &Listed, has_begun: bool) -> Result<Vec<ObjectRef>, Error> {
        let Listed { namespace, name, .. } = job;
        let lent = match job.borrows || job.is_step {
            true => tried(async || self.settle(namespace, name, has_begun).await).await?,
            false => Vec::new(),
        };
        // The one entry of the list, whatever else is in it by now: who changes the Job all the time does not keep it there.
        let mut patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
        if !lent.is_empty() {
            // Not another Job that has its name by now.
            patch["metadata"]["uid"] = json!(job.uid);
            patch["metadata"]["annotations"] = json!({UNATTENDED: "true"});
        }
        let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let call = Call::new::<Job>(Verb::Patch, Some(namespace), name);
        tried(async || {
            match client::within(WRITE_TIMEOUT, &call, api.patch_metadata(name, &params, &patch)).await {
                Ok(_) => {
                    tracing::info!(namespace, job = printable(name), "released a Job");
                    Ok(())
                }
                Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(lent)
    }
}

/// What became of Jobs: namespace, name, and what each keeps.
struct Released(Vec<(String, String, Result<Vec<ObjectRef>, Error>)>);

impl Released {
    fn add_to(self, report: &mut Report, left: &mut Left) {
        for (namespace, name, released) in self.0 {
            match released {
                Ok(lent) => {
                    let job = (namespace, name);
                    if !lent.is_empty() {
                        report.lent.insert(job.clone(), lent);
                    }
                    report.released.insert(job);
                }
                Err(error) => left.note(&namespace, format!("Job {namespace}/{name}"), error),
            }
        }
    }
}

/// What could not be released.
#[derive(Default)]
struct Left {
    what: BTreeSet<String>,
    /// Where that is.
    namespaces: BTreeSet<String>,
    error: Option<Error>,
}

impl Left {
    fn note(&mut self, namespace: &str, what: String, error: Error) {
        tracing::warn!(
            namespace,
            error = hookhost_cluster::error::chain(&error),
            "cannot release: {}",
            printable(&what)
        );
        self.what.insert(what);
        self.namespaces.insert(namespace.to_owned());
        self.error = Some(error);
    }

    /// The report, if nothing is left.
    fn or(self, report: Report) -> Result<Report, UninstallError> {
        match self.error {
            None => Ok(report),
            Some(source) => Err(UninstallError::Left { left: self.what, source }),
        }
    }
}

/// Tries it a few times: the API server may be busy, and others write at the same time.
async fn tried<T>(mut work: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut tries = TRIES;
    loop {
        match work().await {
            Err(error) if error.is_transient() && tries > 1 => {
                tries -= 1;
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

impl Releaser {
    /// Takes back what a Job borrows, unless it runs, or its event has begun; gives back what stays. One that was not let start is
    /// deleted.
    async fn settle(&self, namespace: &str, name: &str, has_begun: bool) -> Result<Vec<ObjectRef>, Error> {
        let settled = async {
            let Some(job) = self.lender.reader.job(namespace, name).await? else {
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
        only_api(settled.await)
    }
}

/// Nothing but the API server can fail here.
fn only_api<T: Default>(result: hookhost_cluster::error::Result<T>) -> Result<T, Error> {
    match result {
        Ok(done) => Ok(done),
        Err(hookhost_cluster::error::Error::Api(error)) => Err(error),
        Err(_) => Ok(T::default()),
    }
}

/// Whether it is one of an event's, and was let start: its spec is not any more what it was created with.
fn is_begun_step(job: &Listed) -> bool {
    job.is_step && job.is_changed
}

#[cfg(test)]
mod tests;
