//! Reading release *records*: the Secrets in which Helm stores them, each within its share of the budget of all records.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use hookhost_core::Reason;
use hookhost_core::kind::Kind;
use hookhost_core::refusal::Refusal;
use hookhost_core::target::{self, RecordRef};
use hookhost_helm::record::Record;
use hookhost_helm::text::quote;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::ApiResource;
use serde::Deserialize;

use super::Reader;
use crate::client::{self, Call, Verb};
use crate::error::{Error, Result};
use crate::records::{Held, Reading};
use crate::resource;
use crate::stream::Selection;

/// Helm's type of a release's Secret.
const RELEASE_TYPE: &str = "helm.sh/release.v1";

/// The key of the record in it.
const RELEASE_KEY: &str = "release";

/// Bytes of the metadata of a release's records that are read to find the newest. Helm keeps ten, of a KiB each.
const RECORDS_METADATA_BYTES: usize = 16 << 20;

/// What a release's Secret holds, as far as it is read. Whoever may write Secrets may give one any number of keys and labels.
#[derive(Deserialize)]
struct SecretText {
    metadata: Version,
    #[serde(rename = "type")]
    type_: Option<String>,
    data: Option<SecretData>,
}

/// The metadata of an object, as far as they tell one of its forms from another.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    uid: String,
    resource_version: String,
}

/// An object of which only its metadata are read.
#[derive(Deserialize)]
struct Versioned {
    metadata: Version,
}

#[derive(Deserialize)]
struct SecretData {
    /// [`RELEASE_KEY`].
    release: Option<ByteString>,
}

/// How old the answer with a record may be when its turn to be read comes. Beyond, it is asked for again: Helm may have begun to
/// upgrade the release meanwhile.
const FRESH: Duration = Duration::from_secs(1);

/// The Secret of a release's record.
pub struct StoredRecord {
    secret: SecretText,
    asked: Instant,
}

impl StoredRecord {
    /// Whether it is as new as it has to be.
    pub fn is_fresh(&self) -> bool {
        self.asked.elapsed() < FRESH
    }
}

/// The labels of a release's Secret, as far as they are read.
#[derive(Deserialize)]
struct Labelled<'j> {
    #[serde(borrow)]
    metadata: LabelledMeta<'j>,
}

#[derive(Deserialize)]
struct LabelledMeta<'j> {
    #[serde(borrow, default)]
    labels: Labels<'j>,
}

#[derive(Default, Deserialize)]
struct Labels<'j> {
    #[serde(borrow)]
    version: Option<Cow<'j, str>>,
    #[serde(borrow)]
    status: Option<Cow<'j, str>>,
}

/// Secrets.
fn secret_resource() -> ApiResource {
    resource::needed_resource(Kind::Secret)
}

/// Why nothing could be selected of a record.
pub enum Unread {
    /// It cannot be used, or has not what is wanted.
    Refused(Refusal),
    /// It is not the one that Flux wrote.
    Tampered(Refusal),
}

impl<R: Into<Refusal>> From<R> for Unread {
    fn from(refusal: R) -> Unread {
        Unread::Refused(refusal.into())
    }
}

impl Reader {
    /// What a release's Secret holds; none if there is none of that name.
    pub async fn stored_record(&self, namespace: &str, name: &str) -> Result<Option<StoredRecord>> {
        let asked = Instant::now();
        let read = |text: &str| serde_json::from_str::<SecretText>(text);
        let secret = self.get(&secret_resource(), namespace, name, &GetParams::default(), read).await?;
        Ok(secret.map(|secret| StoredRecord { secret, asked }))
    }

    /// Whether the Secret of that name is still what was read. Only its metadata are asked for.
    pub async fn is_current(&self, stored: &StoredRecord, namespace: &str, name: &str) -> Result<bool> {
        let read = |text: &str| serde_json::from_str::<Versioned>(text).ok();
        let now = self.get_metadata(Kind::Secret, namespace, name, &GetParams::default(), read).await?;
        Ok(now.flatten().is_some_and(|now| now.metadata == stored.secret.metadata))
    }

    /// Waits until a record may be read for an Operation of this namespace.
    pub async fn turn_to_read(&self, wanted_in: &str) -> Reading {
        self.records.begin(wanted_in).await
    }

    /// What `select` makes of the record in a release's Secret, if that is the record which was meant, and the one that Flux
    /// wrote where it did. The record itself is gone by then. `bytes` says what is kept of it.
    pub async fn record<T: Send + 'static>(
        &self,
        StoredRecord { secret, .. }: StoredRecord,
        reading: Reading,
        at: &RecordRef<'_>,
        select: impl FnOnce(&Record) -> Result<T, Refusal> + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Result<Held<T>, Unread>> {
        let value = match record_value(secret, at) {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(Unread::Refused(refusal))),
        };
        let (namespace, release, revision) = (at.namespace.to_owned(), at.release.to_owned(), at.revision);
        let snapshot = at.snapshot.cloned();
        let work = move || {
            let snapshot = snapshot.as_ref();
            let at = RecordRef { namespace: &namespace, release: &release, revision, snapshot };
            let record = read_record(value, &at)?;
            Ok(select(&record)?)
        };
        let held = reading.read(work, |found: &Result<T, Unread>| found.as_ref().map_or(0, bytes)).await?;
        Ok(held.ok())
    }

    /// Whether there is a record of that name. Only its metadata are asked for, and nothing is made of them.
    pub async fn has_record(&self, namespace: &str, name: &str) -> Result<bool> {
        Ok(self.get_metadata(Kind::Secret, namespace, name, &GetParams::default(), |_| ()).await?.is_some())
    }

    /// Revision and status of the newest record of a release, as the Secrets' labels tell. Needs the right to list Secrets, so it
    /// is for installations that allow plain Helm releases only.
    pub async fn newest_revision(&self, namespace: &str, release: &str) -> Result<Option<(u32, String)>> {
        let call = Call::new::<Secret>(Verb::List, Some(namespace), "");
        let selection = Selection::new(self.client.clone(), &secret_resource(), Some(namespace))
            .labels(&format!("owner=helm,name={release}"))
            .metadata();
        let mut newest: Option<(u32, String)> = None;
        let read = |text: &str| {
            let Ok(Labelled { metadata }) = serde_json::from_str(text) else { return };
            let Some(revision) = metadata.labels.version.and_then(|version| version.parse().ok()) else {
                return;
            };
            if newest.as_ref().is_none_or(|(known, _)| *known < revision) {
                newest = Some((revision, metadata.labels.status.unwrap_or_default().into_owned()));
            }
        };
        match client::read(&call, selection.list_up_to(RECORDS_METADATA_BYTES, read)).await? {
            true => Ok(newest),
            false => Err(Error::Unreadable { what: "a release's records: there are too many" }),
        }
    }
}

/// The record's bytes in a release's Secret.
fn record_value(secret: SecretText, at: &RecordRef<'_>) -> Result<ByteString, Refusal> {
    let unusable = |problem: String| {
        let (namespace, name) = (at.namespace, at.secret_name());
        let message = format!("the Secret {namespace}/{name} {problem}, so it is no release record");
        Refusal::fail(Reason::ReleaseRecordInvalid, message)
    };
    let found = secret.type_.unwrap_or_default();
    if found != RELEASE_TYPE {
        return Err(unusable(format!("is of type {}, not {RELEASE_TYPE}", quote(&found))));
    }
    let value = secret.data.and_then(|data| data.release);
    value.ok_or_else(|| unusable(format!("has no key \"{RELEASE_KEY}\"")))
}

/// The record of these bytes, with every check that it is the one which was meant.
fn read_record(value: ByteString, at: &RecordRef<'_>) -> Result<Record, Unread> {
    let (record, verification) = match at.snapshot {
        Some(snapshot) => {
            Record::read_verified(&value.0, snapshot).map(|(record, how)| (record, Some(how)))?
        }
        None => (Record::read_secret_value(&value.0)?, None),
    };
    drop(value);
    target::check_record(&record, at)?;
    if let Some(verification) = verification {
        target::check_verified(at, &verification).map_err(Unread::Tampered)?;
    }
    Ok(record)
}
