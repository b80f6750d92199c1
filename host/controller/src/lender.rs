//! The *lender* makes what a run borrows, and takes it back when the run is over.
//!
//! Each step can be done again: a restart makes what is still missing, and takes back what is still there. What is not lent to
//! the Job by its own words (owner or holder) is never changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use hookhost_core::Reason;
use hookhost_core::keys::CLAIM;
use hookhost_core::keys::{CONTENT, HOLDER};
use hookhost_core::kind::Kind;
use hookhost_core::loan::{ClusterObject, Found, JobId, Loan, binds};
use hookhost_core::object::ObjectRef;
use hookhost_core::refusal::Refusal;
use hookhost_helm::text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use serde_json::json;

use crate::claim_key::Keyring;
use hookhost_cluster::client;
use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::job::Job;
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::{Created, NewObject, Why, Writes};

/// How long to wait for an object that is on its way out, or was made by somebody in this very moment.
const A_MOMENT: u32 = 1;

/// Objects that are asked about at once: an event may borrow some hundred.
const AT_ONCE: usize = 8;

/// Makes loans and takes them back.
#[derive(Clone)]
pub(crate) struct Lender {
    pub(crate) reader: Reader,
    pub(crate) writes: Writes,
    /// By which it recognises what it made.
    pub(crate) keyring: Keyring,
    /// The Jobs whose temporary objects may still exist, by their UIDs, as far as this process knows. Their finalizers say the same, but
    /// somebody may take those off.
    owing: Arc<Mutex<HashMap<String, Owing>>>,
}

/// A Job whose temporary objects may still exist.
#[derive(Clone)]
struct Owing {
    namespace: String,
    name: String,
    /// UID of its Operation.
    operation: String,
    objects: Vec<ObjectRef>,
}

/// Jobs of which that is remembered: more than run at a time. Each has some five objects, of 200 bytes. Beyond, one is forgotten: its
/// objects are cleaned up by its finalizer, or go with the Job.
const MAX_OWING: usize = 1024;

/// An object's metadata, in the core's and in Kubernetes' form.
pub(crate) struct Seen {
    pub(crate) found: Found,
    metadata: Option<ObjectMeta>,
}

impl Lender {
    pub(crate) fn new(reader: &Reader, writes: &Writes, keyring: &Keyring) -> Lender {
        let (reader, writes, keyring) = (reader.clone(), writes.clone(), keyring.clone());
        Lender { reader, writes, keyring, owing: Arc::default() }
    }

    /// What there is now of an object.
    pub(crate) async fn look(&self, object: &ObjectRef) -> Result<Seen> {
        let ObjectRef { kind, namespace, name } = object;
        let json = self.reader.needed(*kind, namespace, name).await?;
        let found = Found::of(object, json.as_ref(), &*self.keyring.needed()?);
        Ok(Seen { found, metadata: json.map(serde_json::from_value).transpose()? })
    }

    /// Asks the API server whether it would let hookhost make what gives rights, before anything is made: it lets nobody give
    /// what they do not have, unless they may `escalate` and `bind`.
    pub(crate) async fn rehearse(&self, loans: &[Loan]) -> Result<Result<(), Refusal>> {
        let mut seen = BTreeSet::new();
        let asked = loans.iter().filter(|loan| can_be_rehearsed(loan, loans) && seen.insert(&loan.object));
        let answers: Vec<_> = asked
            .map(async |loan| {
                match self.writes.create_loan(&loan.object, NewObject::of(&loan.manifest.value()), true).await
                {
                    // Webhooks that do not support a dry run have it refused in another way.
                    Ok(created @ Created::Refused { why: Why::Forbidden | Why::Admission, .. }) => {
                        Ok(refusal(&loan.object, created))
                    }
                    Ok(_) | Err(Error::Api(client::Error::Busy { .. })) => Ok::<_, Error>(None),
                    Err(error) => Err(error),
                }
            })
            .collect();
        let answers: Vec<Option<Refusal>> = stream::iter(answers).buffered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().flatten().next().map_or(Ok(()), Err))
    }

    /// Makes one object for a Job, or makes one that another run has the Job's too; or says why not.
    pub(crate) async fn lend(&self, job: &Job, loan: &Loan) -> Result<Option<Refusal>> {
        self.owe(job);
        let new = NewObject::of(&loan.made_for(&job.id(), &*self.keyring.needed()?));
        let created = self.writes.create_loan(&loan.object, new, false).await?;
        if !matches!(created, Created::Taken) {
            return Ok(refusal(&loan.object, created));
        }
        let Seen { found, metadata } = self.look(&loan.object).await?;
        let is_own = found.is_lent_to(loan.object.kind, &job.id());
        let Some(metadata) = metadata.filter(|_| !is_own) else { return Ok(None) };
        let again = |what: &str| {
            let message = format!("{}, which the hook needs, {what}", loan.object);
            let refusal = Refusal::retry_after(A_MOMENT, Reason::DependencyMissing, message);
            Ok(Some(refusal.until_removed(&loan.object)))
        };
        match found {
            // Somebody may have written it since.
            found if found.is_left_behind(loan.object.kind) => {
                self.delete(&loan.object, &metadata).await?;
                again("was left by a run that is gone, and is made anew")
            }
            Found::Leaving { is_created: true } => {
                self.let_go(&loan.object, &metadata).await?;
                again("is being deleted")
            }
            Found::Missing | Found::Leaving { .. } => again("is being deleted"),
            // It is as good as if it had been there before: it is used, and left alone.
            Found::Kept | Found::TakenOver { .. } => Ok(None),
            Found::Lent { holder, .. } if !loan.object.kind.is_namespaced() => {
                if self.is_held(holder.as_deref()).await? {
                    return again("is lent to another run");
                }
                // Whoever held it is gone without having given it back.
                self.delete(&loan.object, &metadata).await?;
                again("was left by a run that is gone, and is made anew")
            }
            Found::Lent { content, .. } if content != loan.content => {
                again("is lent to another run in another form")
            }
            Found::Lent { .. } => {
                let owners = json!({"ownerReferences": [job.id().owner_reference()]});
                self.writes.patch_loan(&loan.object, &metadata, owners).await?;
                Ok(None)
            }
        }
    }

    /// Notes that the temporary objects of a Job may exist.
    pub(crate) fn owe(&self, job: &Job) {
        let Some(borrowed) = job.borrowed() else { return };
        let mut owing = self.owing.lock();
        if owing.contains_key(&*job.uid) {
            return;
        }
        if owing.len() >= MAX_OWING
            && let Some(other) = owing.keys().next().cloned()
        {
            owing.remove(&other);
        }
        let one = Owing {
            namespace: job.namespace.to_string(),
            name: job.name.to_string(),
            operation: job.operation.to_string(),
            objects: borrowed.objects.clone(),
        };
        owing.insert(job.uid.to_string(), one);
    }

    /// Whether the temporary objects of a Job may still exist, though its finalizer is gone.
    pub(crate) fn owes(&self, job: &Job) -> bool {
        self.owing.lock().contains_key(&*job.uid)
    }

    /// Takes back everything that the Job borrows.
    pub(crate) async fn take_back(&self, job: &Job) -> Result<()> {
        let Some(borrowed) = job.borrowed() else { return Ok(()) };
        self.take_back_all(&job.id(), &borrowed.objects).await
    }

    /// Takes back everything that Jobs of this Operation have borrowed and that were never given back: the Jobs may be gone.
    pub(crate) async fn take_back_of(&self, operation_uid: &str) -> Result<()> {
        let owing: Vec<(String, Owing)> = {
            let owing = self.owing.lock();
            let of = owing.iter().filter(|(_, one)| one.operation == operation_uid);
            of.map(|(uid, one)| (uid.clone(), one.clone())).collect()
        };
        for (uid, Owing { namespace, name, objects, .. }) in owing {
            self.take_back_all(&JobId { namespace: &namespace, name: &name, uid: &uid }, &objects).await?;
        }
        Ok(())
    }

    async fn take_back_all(&self, job: &JobId<'_>, objects: &[ObjectRef]) -> Result<()> {
        // What gives rights goes first.
        for object in objects.iter().rev() {
            match self.take_back_one(job, object).await {
                Ok(()) => {}
                // Somebody took hookhost's rights away, or a policy of the cluster says no. With a namespace it goes with the Job;
                // and the Job must be able to go.
                Err(Error::Api(
                    error @ (client::Error::Forbidden { .. }
                    | client::Error::Denied { .. }
                    | client::Error::Rejected { .. }),
                )) => {
                    let error = error.to_string();
                    tracing::warn!(
                        job_namespace = job.namespace,
                        job = job.name,
                        error,
                        "a loan stays behind"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        self.owing.lock().remove(job.uid);
        Ok(())
    }

    async fn take_back_one(&self, job: &JobId<'_>, object: &ObjectRef) -> Result<()> {
        let Seen { found, metadata } = self.look(object).await?;
        let Some(metadata) = metadata else { return Ok(()) };
        let without_us = json!({
            "ownerReferences": [{"$patch": "delete", "uid": job.uid}],
            "annotations": {CONTENT: null, HOLDER: null, CLAIM: null},
        });
        match found {
            // It would go with the Job, and is somebody's now.
            Found::TakenOver { owners } if owners.iter().any(|uid| uid == job.uid) => {
                self.writes.patch_loan(object, &metadata, without_us).await
            }
            Found::Leaving { is_created: true } => self.let_go(object, &metadata).await,
            Found::Missing | Found::Leaving { .. } | Found::Kept | Found::TakenOver { .. } => Ok(()),
            found @ Found::Lent { .. } if !object.kind.is_namespaced() => {
                match found.is_lent_to(object.kind, job) {
                    true => self.delete(object, &metadata).await,
                    false => Ok(()),
                }
            }
            // Whoever owns it by now: who has it lent says so itself.
            Found::Lent { .. } if self.is_shared(job, object, &metadata).await? => {
                let owners = json!({"ownerReferences": [{"$patch": "delete", "uid": job.uid}]});
                self.writes.patch_loan(object, &metadata, owners).await
            }
            Found::Lent { .. } => self.delete(object, &metadata).await,
        }
    }

    /// Deletes a temporary object. A role gives its rights until it is gone, and the next run waits for it, so nobody's finalizer keeps
    /// it: none can be added once it is being deleted. A claim is Kubernetes' own to keep, as long as pods mount it.
    async fn delete(&self, object: &ObjectRef, metadata: &ObjectMeta) -> Result<()> {
        self.writes.delete_loan(object, metadata).await?;
        self.let_go(object, metadata).await
    }

    /// Takes all finalizers off a temporary object that is being deleted.
    async fn let_go(&self, object: &ObjectRef, metadata: &ObjectMeta) -> Result<()> {
        let is_kept = metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        if object.kind == Kind::PersistentVolumeClaim || !is_kept {
            return Ok(());
        }
        let any_form = ObjectMeta { uid: metadata.uid.clone(), ..ObjectMeta::default() };
        match self.writes.patch_loan(object, &any_form, json!({"finalizers": null})).await {
            Err(Error::Api(client::Error::NotFound { .. })) => Ok(()),
            patched => patched,
        }
    }

    /// Whether another Job borrows the object: one that is there, and says so itself, as hookhost made it. Anybody may add an
    /// owner.
    async fn is_shared(&self, job: &JobId<'_>, object: &ObjectRef, metadata: &ObjectMeta) -> Result<bool> {
        let keys = self.keyring.needed()?;
        let owners = metadata.owner_references.iter().flatten();
        for owner in owners.filter(|owner| owner.kind == "Job" && owner.uid != job.uid) {
            let other = self.reader.job(job.namespace, &owner.name).await?;
            let borrows = |other: &Job| {
                let borrowed = other.borrowed();
                other.uid == owner.uid
                    && other.is_genuine(&keys)
                    && borrowed.is_some_and(|borrowed| borrowed.objects.contains(object))
            };
            if other.as_ref().is_some_and(borrows) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes what acts on the whole cluster and was left by runs that are gone.
    pub(crate) async fn sweep(&self, cluster_objects: &[ClusterObject]) -> Result<()> {
        for object in cluster_objects.iter().map(ClusterObject::object) {
            let Seen { found, metadata } = self.look(object).await?;
            if let (Found::Lent { holder, .. }, Some(metadata)) = (found, metadata)
                && !self.is_held(holder.as_deref()).await?
            {
                self.delete(object, &metadata).await?;
                tracing::warn!(object = object.to_string(), "deleted what a run had left behind");
            }
        }
        Ok(())
    }

    /// Whether the Job that an object without a namespace is lent to is still there.
    pub(crate) async fn is_held(&self, holder: Option<&str>) -> Result<bool> {
        let Some(JobId { namespace, name, uid }) = holder.and_then(JobId::of_holder) else {
            return Ok(false);
        };
        let job = self.reader.job(namespace, name).await?;
        Ok(job.is_some_and(|job| job.uid == uid))
    }
}

/// Whether the API server can say beforehand that it would make this: roles, and bindings to roles that are there already.
fn can_be_rehearsed(loan: &Loan, all: &[Loan]) -> bool {
    let manifest = loan.manifest.value();
    let is_bound = |role: &Loan| binds(&manifest, role.object.kind, &role.object.name);
    match loan.object.kind {
        Kind::Role | Kind::ClusterRole => true,
        Kind::RoleBinding | Kind::ClusterRoleBinding => !all.iter().any(is_bound),
        _ => false,
    }
}

/// What became of a loan, if it became nothing.
fn refusal<K>(object: &ObjectRef, created: Created<K>) -> Option<Refusal> {
    match created {
        Created::New(_) | Created::Taken => None,
        Created::Refused { message, why } => {
            let message = format!(
                "the API server does not let hookhost make the {object}, which the hook needs: {}",
                text::printable(&message)
            );
            Some(match why {
                Why::Invalid => Refusal::fail(Reason::ClosureRefused, message),
                Why::Admission => Refusal::wait(Reason::AdmissionDenied, message),
                Why::Forbidden => {
                    Refusal::wait(Reason::AccessForbidden, format!("{message}{}", advice(object, &message)))
                }
            })
        }
    }
}

/// What would let hookhost make it, by the API server's words.
fn advice(object: &ObjectRef, message: &str) -> &'static str {
    if message.contains("attempting to grant RBAC permissions not currently held") {
        // hookhost has more in a namespace than in the whole cluster.
        match object.kind {
            Kind::ClusterRoleBinding => {
                ". Whoever installed hookhost can let it give that role: the ClusterRole in the Helm value closure.clusterObjects, \
                 too, and closure.grantAnyRole"
            }
            _ => ". Whoever installed hookhost can let it make such roles (Helm value closure.grantAnyRole)",
        }
    } else if message.contains("cannot create resource") {
        match object.kind.is_namespaced() {
            true => {
                ". Whoever installed hookhost can let it make such objects in this namespace (Helm value closure.namespaces)"
            }
            false => {
                ". Whoever installed hookhost can let it make this object (Helm value closure.clusterObjects)"
            }
        }
    } else {
        ""
    }
}
