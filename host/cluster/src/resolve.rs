//! To *resolve* an Operation is to find the release whose hook it names, and to read that release's record.
//!
//! ```text
//! ApplicationInstance ─► HelmRelease ─► owner ─► record, verified by Flux's digest
//!                        HelmRelease ─► owner ─► record, verified by Flux's digest
//!                        plain release ───────► record
//! ```
//!
//! The controller and `hookhost plan` resolve with this code. They differ in a [`Source`], which may have asked for an object already,
//! and in [`Rules`], which are what the administrator has configured. The decisions themselves are functions of
//! [`hookhost_core::target`].

mod location;
mod missing;

use std::future::Future;

use hookhost_core::operation::{Operation, TargetRef};
use hookhost_core::refusal::Refusal;
use hookhost_core::target::{
    self, HelmRelease, Instance, ObjectName, Readiness, RecordRef, TargetError, TargetKind,
};
use hookhost_core::{Reason, request};
use hookhost_helm::record::Record;
pub use location::Location;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::read::{HELM_RELEASES_BYTES, Reader, StoredRecord, Unread};
use crate::records::Held;
use crate::resource::Kind;

/// Why nothing was resolved.
#[derive(Debug)]
pub enum Halt {
    /// The Operation does not run now.
    Rejected(Refusal),
    /// An object could not be read.
    Failed(Error),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Halt {
        Halt::Rejected(refusal)
    }
}

impl From<TargetError> for Halt {
    fn from(error: TargetError) -> Halt {
        Halt::Rejected(error.into())
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        match error {
            Error::Target(error) => error.into(),
            error => Halt::Failed(error),
        }
    }
}

/// An object whose changes may change what an Operation resolves to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Awaited {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Awaited {
    /// An object.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Awaited {
        Awaited { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Where objects are read.
pub trait Source: Sync {
    /// Reads what was not read ahead.
    fn reader(&self) -> &Reader;

    /// An ApplicationInstance; none if there is none of that name.
    fn instance(&self, at: &ObjectName) -> impl Future<Output = Result<Option<Value>>> + Send {
        self.reader().target(Kind::ApplicationInstance, &at.namespace, &at.name)
    }

    /// A HelmRelease; none if there is none of that name.
    fn helm_release(&self, at: &ObjectName) -> impl Future<Output = Result<Option<Value>>> + Send {
        self.reader().target(Kind::HelmRelease, &at.namespace, &at.name)
    }

    /// The Secret of a record, and whether the Secret of the next revision exists, where both were read ahead.
    fn record_ahead(&self, _at: &RecordRef<'_>) -> Option<(Option<StoredRecord>, bool)> {
        None
    }
}

impl Source for Reader {
    fn reader(&self) -> &Reader {
        self
    }
}

/// What the administrator has configured. The defaults are those of a person who asks without a controller's configuration.
pub trait Rules: Sync {
    /// Whether targets of this kind are served.
    fn serves(&self, _kind: TargetKind) -> bool {
        true
    }

    /// Whether a release in this namespace is used now.
    ///
    /// # Errors
    /// Why not.
    fn check_namespace(&self, _namespace: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether hookhost acts in this namespace at all, which it may do though it starts nothing there now.
    fn is_managed(&self, _namespace: &str) -> bool {
        true
    }

    /// Whether the Operation is approved, where that is required.
    ///
    /// # Errors
    /// It is not.
    fn check_approval(&self, _operation: &Operation) -> Result<(), Refusal> {
        Ok(())
    }

    /// The service account as which Flux applies releases whose HelmRelease names none.
    fn flux_service_account(&self) -> Option<&str> {
        None
    }

    /// Whether a plain release may be used though the HelmReleases of its namespace cannot be read, by this error.
    fn may_skip_helm_releases(&self, _error: &Error) -> bool {
        false
    }
}

/// Resolves one Operation.
pub struct Resolver<'a, S, R> {
    /// Where objects are read.
    pub source: &'a S,
    /// What is configured.
    pub rules: &'a R,
    /// Namespace of the Operation.
    pub namespace: &'a str,
    /// Filled with the objects that are read, whose changes may change the result.
    pub awaited: &'a mut Vec<Awaited>,
}

impl<'a, S: Source, R: Rules> Resolver<'a, S, R> {
    /// For an Operation of this namespace.
    pub fn new(
        source: &'a S,
        rules: &'a R,
        namespace: &'a str,
        awaited: &'a mut Vec<Awaited>,
    ) -> Resolver<'a, S, R> {
        Resolver { source, rules, namespace, awaited }
    }

    /// The target, once it is as ready as it has to be, and the location of its release's record.
    ///
    /// # Errors
    /// There is no such target; it is not ready, not served, not approved; or it could not be read.
    pub async fn target(
        &mut self,
        operation: &Operation,
        readiness: Readiness,
    ) -> Result<(request::Target, Location), Halt> {
        let TargetRef { kind, name, .. } = &operation.target_ref;
        let own = ObjectName { namespace: self.namespace.to_owned(), name: name.clone() };
        let mut described =
            request::Target { kind: kind.clone(), name: name.clone(), ..request::Target::default() };
        let kind = TargetKind::of(&operation.target_ref)?;
        if kind != TargetKind::ApplicationInstance {
            if !self.rules.serves(kind) {
                return Err(target::disabled(kind).into());
            }
            self.rules.check_approval(operation)?;
        }
        let (release, instance) = match kind {
            TargetKind::ApplicationInstance => {
                let instance = self.ready_instance(operation, &own, readiness).await?;
                described.labels.clone_from(&instance.labels);
                described.annotations.clone_from(&instance.annotations);
                (instance.helm_release.clone(), Some(instance))
            }
            TargetKind::HelmRelease => (own, None),
            TargetKind::Release => return Ok((described, self.plain_release(&own).await?)),
        };
        self.rules.check_namespace(&release.namespace)?;
        self.note(Kind::HelmRelease, &release);
        let Some(object) = self.source.helm_release(&release).await? else {
            // For an instance it may not be there yet; a target of its own must be.
            return Err(match kind {
                TargetKind::HelmRelease => self.missing(&release, kind).await,
                _ => target::no_helm_release(&release).into(),
            });
        };
        let release = HelmRelease::from_json(&object)?;
        self.check_owner(operation, &release, instance.as_ref(), readiness).await?;
        let location = Location::of(&object, &release, self.rules.flux_service_account())?;
        if kind == TargetKind::HelmRelease {
            (described.labels, described.annotations) = (release.labels, release.annotations);
        }
        Ok((described, location))
    }

    /// The ApplicationInstance that the Operation names, if the Operation may use it.
    async fn ready_instance(
        &mut self,
        operation: &Operation,
        at: &ObjectName,
        readiness: Readiness,
    ) -> Result<Instance, Halt> {
        self.note(Kind::ApplicationInstance, at);
        let Some(object) = self.source.instance(at).await? else {
            return Err(self.missing(at, TargetKind::ApplicationInstance).await);
        };
        let instance = Instance::from_json(&object)?;
        instance.check(operation.type_of, readiness)?;
        self.rules.check_approval(operation)?;
        Ok(instance)
    }

    /// Applies the rules of the ApplicationInstance that owns a HelmRelease, however the Operation names the release. `named` is the
    /// instance that the Operation names; its own rules have been applied.
    async fn check_owner(
        &mut self,
        operation: &Operation,
        release: &HelmRelease,
        named: Option<&Instance>,
        readiness: Readiness,
    ) -> Result<(), Halt> {
        let Some(owner) = &release.owner else { return Ok(()) };
        if let Some(named) = named {
            return Ok(owner.check_is(release, named)?);
        }
        // Operators make a HelmRelease beside its instance, and Kubernetes knows no owner in another namespace.
        let at = ObjectName { namespace: release.namespace.clone(), name: owner.name.clone() };
        self.note(Kind::ApplicationInstance, &at);
        let reader = self.source.reader();
        let object = reader.target(Kind::ApplicationInstance, &at.namespace, &at.name).await?;
        let instance = object.as_ref().map(Instance::from_json).transpose()?;
        Ok(owner.check(release, instance.as_ref(), operation.type_of, readiness)?)
    }

    /// The location of the record of a plain Helm release: its own namespace, which is the Operation's.
    async fn plain_release(&self, at: &ObjectName) -> Result<Location, Halt> {
        let ObjectName { namespace, name } = at;
        let reader = self.source.reader();
        match reader.refuse_plain(namespace, name, HELM_RELEASES_BYTES).await {
            Ok(Some(refusal)) => return Err(refusal.into()),
            Ok(None) => {}
            Err(error) if self.rules.may_skip_helm_releases(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let newest = reader.newest_revision(namespace, name).await?;
        if newest.is_none() {
            return Err(self.missing(at, TargetKind::Release).await);
        }
        let revision = target::deployed_revision(name, newest.as_slice())?;
        Ok(Location::plain(at, revision))
    }

    /// Selects from the record, if it is the one that Flux wrote and Helm is not at work on the release. Nothing else of the record
    /// is left in memory; `bytes` counts what is.
    ///
    /// # Errors
    /// The record is not there, not the one that was meant, or has not what is selected.
    pub async fn select<T: Send + 'static>(
        &self,
        location: &Location,
        select: impl FnOnce(&Record) -> Result<T, Refusal> + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Held<T>, Halt> {
        self.rules.check_namespace(&location.namespace)?;
        let reader = self.source.reader();
        let at = location.record();
        // Helm begins an upgrade by storing the next revision, long before the HelmRelease reports it.
        let (name, successor) = (at.secret_name(), at.successor_name());
        let ask = async || {
            futures::try_join!(
                reader.stored_record(at.namespace, &name),
                reader.has_record(at.namespace, &successor),
            )
        };
        let settled = |(stored, is_upgrading): (Option<StoredRecord>, bool)| {
            if is_upgrading {
                return Err(target::successor_exists(&at));
            }
            stored.ok_or_else(|| target::no_record(&at))
        };
        let mut stored = settled(match self.source.record_ahead(&at) {
            Some(ahead) => ahead,
            None => ask().await?,
        })?;
        let reading = reader.turn_to_read(self.namespace).await;
        if !stored.is_fresh() && !self.is_still(&stored, &at).await? {
            drop(stored);
            stored = settled(ask().await?)?;
        }
        match reader.record(stored, reading, &at, select, bytes).await? {
            Ok(selected) => Ok(selected),
            Err(Unread::Refused(refusal)) => Err(refusal.into()),
            Err(Unread::Tampered(_)) if location.has_moved(reader).await? => {
                let message =
                    format!("Flux has just changed the HelmRelease of the release {}", location.release);
                Err(Refusal::retry_after(1, Reason::ReleaseBusy, message).into())
            }
            Err(Unread::Tampered(tampered)) => Err(tampered.into()),
        }
    }

    /// Whether a record has not changed since it was read, and Helm has not begun to upgrade the release since.
    async fn is_still(&self, stored: &StoredRecord, at: &RecordRef<'_>) -> Result<bool, Halt> {
        let (reader, name, successor) = (self.source.reader(), at.secret_name(), at.successor_name());
        let (is_current, is_upgrading) = futures::try_join!(
            reader.is_current(stored, at.namespace, &name),
            reader.has_record(at.namespace, &successor),
        )?;
        match is_upgrading {
            true => Err(target::successor_exists(at).into()),
            false => Ok(is_current),
        }
    }

    fn note(&mut self, kind: Kind, at: &ObjectName) {
        self.awaited.push(Awaited::new(kind, &at.namespace, &at.name));
    }
}
