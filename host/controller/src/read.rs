//! *Reading* is asking the API server for one object by name, when it is needed: what decides a run must be what is there
//! now, not what a cache has.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use hookhost_core::kind as needed;
use hookhost_core::record::Record;
use hookhost_core::stored::{StoredJob, stored_pod};
use hookhost_core::target::{self, RecordRef, ToCreate};
use hookhost_core::text::quote;
use hookhost_core::{Reason, clone, dependency, loan, outcome, refusal::Refusal};
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{GetParams, ListParams, LogParams, PostParams, Request};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Error::InitialListFailed;
use kube::runtime::watcher::Event;
use kube::{Api, Resource};
use serde::Deserialize;
use serde_json::Value;

use crate::client::{self, Call, Verb};
use crate::error::{Error, Result};
use crate::records::{Held, Kept, Reading, Records};
use crate::watch::{self, Job, Kind, Selection, Whole, job_resource, pod_resource};

/// Helm's type of a release's Secret.
const RELEASE_TYPE: &str = "helm.sh/release.v1";

/// The key of the record in it.
const RELEASE_KEY: &str = "release";

/// Bytes that are read of the end of a container's log: far more than a condition shows.
const LOG_BYTES: i64 = 64 << 10;

/// Pods that are kept of those that are asked for: so many that have ended, and so many that have not. A Job with more pods than this has failed or
/// succeeded many times, and its own conditions tell how.
const MAX_PODS: usize = 200;

/// Bytes of them, for each of the two sorts.
const KEPT_BYTES: usize = 512 << 10;

/// Bytes of pods that are read at once: of some two thousand of the usual size. Whoever may create pods may give any number of them
/// the labels of a run.
const PODS_BYTES: usize = 16 << 20;

/// The keys of a Secret or config map.
pub(crate) type Keys = BTreeSet<String>;

/// Whose pods are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PodsOf<'a> {
    /// A Job's, by its UID: in the label that the API server gives them, which an orphaning deletion leaves.
    Job(&'a str),
    /// An Operation's, by its UID: in the label that hookhost gives them.
    Operation(&'a str),
}

/// Which pods are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All.
    All,
    /// Those that have not ended.
    AtWork,
}

/// Pods, cut down to what is read of them.
pub(crate) struct Pods {
    pub(crate) pods: Vec<Arc<Value>>,
    /// Whether there were too many to read all of them.
    pub(crate) is_cut: bool,
}

impl Pods {
    /// The pods, if it is known of all whether they have ended; or one has not, so that of the others it need not be known.
    pub(crate) fn complete(self, namespace: &str) -> Result<Vec<Arc<Value>>> {
        if self.is_cut && self.pods.iter().all(|pod| outcome::pod_has_ended(pod)) {
            return Err(Error::TooManyPods { namespace: namespace.to_owned(), allowed: PODS_BYTES });
        }
        Ok(self.pods)
    }
}

/// What a release's Secret holds, as far as it is read. Whoever may write Secrets may give one any number of keys and labels.
#[derive(Deserialize)]
struct SecretText {
    #[serde(rename = "type")]
    type_: Option<String>,
    data: Option<SecretData>,
}

#[derive(Deserialize)]
struct SecretData {
    /// [`RELEASE_KEY`].
    release: Option<ByteString>,
}

/// The Secret of a release's record, with the right to read that.
pub(crate) struct StoredRecord {
    secret: SecretText,
    reading: Reading,
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
    watch::needed_resource(needed::Kind::Secret)
}

/// Reads objects by name.
#[derive(Clone)]
pub(crate) struct Reader {
    client: kube::Client,
    records: Records,
}

/// Why nothing could be selected of a record.
pub(crate) enum Unread {
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
    pub(crate) fn new(client: kube::Client) -> Reader {
        Reader { client, records: Records::new() }
    }

    /// What decides of a target or HelmRelease; none if there is none of that name.
    pub(crate) async fn target(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        let of = kind.target();
        let read = |text: &str| Ok(target::stored(of, text));
        let found = self.get(&kind.resource(), namespace, name, &GetParams::default(), read).await?;
        Ok(found.transpose()?.flatten())
    }

    /// What is made of the text of an object; none if there is none of that name. Whoever may create it decides how large it is.
    async fn get<T>(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        params: &GetParams,
        read: impl FnOnce(&str) -> Result<T, serde_json::Error>,
    ) -> Result<Option<T>> {
        let call = Call::of_resource(Verb::Get, resource, Some(namespace), name);
        let request = Request::new(DynamicObject::url_path(resource, Some(namespace))).get(name, params);
        self.ask(&call, request, read).await
    }

    async fn ask<T>(
        &self,
        call: &Call,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        read: impl FnOnce(&str) -> Result<T, serde_json::Error>,
    ) -> Result<Option<T>> {
        let object = async {
            let text = self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
            read(&text).map_err(kube::Error::SerdeError)
        };
        found(client::read(call, object).await)
    }

    /// Reads the text of each object of a selection, of which `call` says what it is.
    async fn each(&self, call: &Call, selection: Selection, mut read: impl FnMut(&str) + Send) -> Result<()> {
        let nothing = |text: &str| -> Option<()> {
            read(text);
            None
        };
        let mut events = std::pin::pin!(selection.stream(nothing));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::InitDone) => break,
                Ok(_) => {}
                Err(InitialListFailed(error)) => return Err(client::Error::explain(call, error).into()),
                Err(_) => return Err(Error::Unreadable { what: "a list" }),
            }
        }
        Ok(())
    }

    /// Why a release of this name, whose records are in this namespace, is no plain Helm release, by the HelmReleases there.
    pub(crate) async fn refuse_plain(&self, namespace: &str, release: &str) -> Result<Option<Refusal>> {
        let resource = Kind::HelmRelease.resource();
        let call = Call::of_resource(Verb::List, &resource, Some(namespace), "");
        let all = Selection::new(self.client.clone(), &resource, Some(namespace));
        // Of those that refuse, one is enough.
        let mut refusal = None;
        let read = |text: &str| {
            if refusal.is_none() {
                refusal = target::refuse_plain(text, namespace, release).err();
            }
        };
        match self.each(&call, all, read).await {
            Ok(()) => Ok(refusal),
            // Where there is no Flux, nothing is Flux's.
            Err(Error::Api(client::Error::KindMissing { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a release's Secret holds; none if there is none of that name. `wanted_in` says in which namespace the Operation is that it
    /// is read for: it waits until a record may be read for that one.
    pub(crate) async fn stored_record(
        &self,
        wanted_in: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<StoredRecord>> {
        let reading = self.records.begin(wanted_in).await;
        let read = |text: &str| serde_json::from_str::<SecretText>(text);
        let secret = self.get(&secret_resource(), namespace, name, &GetParams::default(), read).await?;
        Ok(secret.map(|secret| StoredRecord { secret, reading }))
    }

    /// What `select` makes of the record in a release's Secret, if that is the record which was meant, and the one that Flux
    /// wrote where it did. The record itself is gone by then. `bytes` says what is kept of it.
    pub(crate) async fn record<T: Send + 'static>(
        &self,
        stored: StoredRecord,
        at: &RecordRef<'_>,
        select: impl FnOnce(&Record) -> Result<T, Refusal> + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Result<Held<T>, Unread>> {
        let StoredRecord { secret, reading } = stored;
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

    /// Whether what is to be created for a run of an Operation of this namespace may be kept: see [`Records::keep`].
    pub(crate) fn keep(&self, wanted_in: &str, bytes: usize) -> Result<Kept, Refusal> {
        self.records.keep(wanted_in, bytes)
    }

    /// Whether there is a record of that name. Only its metadata are asked for, and nothing is made of them.
    pub(crate) async fn has_record(&self, namespace: &str, name: &str) -> Result<bool> {
        Ok(self
            .get_metadata(needed::Kind::Secret, namespace, name, &GetParams::default(), |_| ())
            .await?
            .is_some())
    }

    /// Revision and status of the newest record of a release, as the Secrets' labels tell. Needs the right to list Secrets, so it
    /// is for installations that allow plain Helm releases only.
    pub(crate) async fn newest_revision(
        &self,
        namespace: &str,
        release: &str,
    ) -> Result<Option<(u32, String)>> {
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
        self.each(&call, selection, read).await?;
        Ok(newest)
    }

    /// What is made of the metadata of what a pod needs, as the parameters say: as they are now, or were a moment ago; none if there
    /// is none of that name. `namespace` is empty for kinds that have none.
    async fn get_metadata<T>(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
        params: &GetParams,
        read: impl FnOnce(&str) -> T,
    ) -> Result<Option<T>> {
        let resource = watch::needed_resource(kind);
        let namespace = Some(namespace).filter(|_| kind.is_namespaced());
        let call = Call::of_resource(Verb::Get, &resource, namespace, name);
        let request = Request::new(DynamicObject::url_path(&resource, namespace)).get_metadata(name, params);
        self.ask(&call, request, |text| Ok(read(text))).await
    }

    /// Whether there is an object that a pod needs, as the parameters say.
    pub(crate) async fn exists(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
        params: &GetParams,
    ) -> Result<bool> {
        Ok(self.get_metadata(kind, namespace, name, params, |_| ()).await?.is_some())
    }

    /// What of the metadata of an object says what it is to a run, as it is now; none if there is none of that name.
    pub(crate) async fn needed(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        let params = GetParams::default();
        Ok(self.get_metadata(kind, namespace, name, &params, loan::stored).await?.flatten())
    }

    /// What is made of a whole object that a pod needs, as it is now; none if there is none of that name.
    pub(crate) async fn whole<T>(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
        read: impl FnOnce(&str) -> T,
    ) -> Result<Option<T>> {
        let read = |text: &str| Ok(read(text));
        self.get(&watch::needed_resource(kind), namespace, name, &GetParams::default(), read).await
    }

    /// Those keys of a Secret or config map that are wanted, none of what is in them; no keys of another kind's object, which need not
    /// be read whole. None if there is none of that name. Inside, none if they are more than `most`.
    pub(crate) async fn keys(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
        params: &GetParams,
        most: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Option<Keys>>> {
        if !matches!(kind, needed::Kind::Secret | needed::Kind::ConfigMap) {
            return Ok(self.exists(kind, namespace, name, params).await?.then(|| Some(Keys::new())));
        }
        let read = |text: &str| Ok(dependency::keys(text, most, is_wanted));
        self.get(&watch::needed_resource(kind), namespace, name, params, read).await
    }

    /// Whether a user in these groups may create such an object, as the API server says now. Nothing is stored by asking.
    pub(crate) async fn may_create(&self, user: &str, groups: &[String], what: &ToCreate) -> Result<bool> {
        let attributes = ResourceAttributes {
            verb: Some("create".to_owned()),
            group: Some(what.group.clone()),
            resource: Some(what.resource.clone()),
            namespace: Some(what.namespace.clone()),
            // No name: nor does who creates something ask for one.
            ..ResourceAttributes::default()
        };
        let mut review = LocalSubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.to_owned()),
                groups: Some(groups.to_vec()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..LocalSubjectAccessReview::default()
        };
        review.metadata.namespace = Some(what.namespace.clone());
        let call = Call::new::<LocalSubjectAccessReview>(Verb::Create, Some(&what.namespace), "");
        let api: Api<LocalSubjectAccessReview> = Api::namespaced(self.client.clone(), &what.namespace);
        let answer = client::read(&call, api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// A Job, whosever it is; none if there is none of that name.
    pub(crate) async fn job(&self, namespace: &str, name: &str) -> Result<Option<Job>> {
        let Some((text, _place)) = self.job_text(namespace, name).await? else { return Ok(None) };
        Job::read(&text).map(Some).ok_or(Error::Unreadable { what: "a Job" })
    }

    async fn job_text(&self, namespace: &str, name: &str) -> Result<Option<(String, watch::Place)>> {
        let resource = job_resource();
        let call = Call::of_resource(Verb::Get, &resource, Some(namespace), name);
        let request = Request::new(DynamicObject::url_path(&resource, Some(namespace)));
        let text = async {
            let request = request.get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
            watch::text(&self.client, request).await
        };
        found(client::read(&call, text).await)
    }

    /// All of a Job that hookhost has just made; none if there is none of that name.
    pub(crate) async fn whole_job(&self, namespace: &str, name: &str) -> Result<Option<DynamicObject>> {
        let Some((text, _place)) = self.job_text(namespace, name).await? else { return Ok(None) };
        let whole = StoredJob::whole(&text).and_then(|job| serde_json::from_value(job).ok());
        whole.map(Some).ok_or(Error::Unreadable { what: "a Job as hookhost makes them" })
    }

    /// An Operation; none if there is none of that name.
    pub(crate) async fn operation(&self, namespace: &str, name: &str) -> Result<Option<Whole>> {
        let read = |text: &str| Ok(Whole::read(text));
        let resource = watch::operation_resource();
        Ok(self.get(&resource, namespace, name, &GetParams::default(), read).await?.flatten())
    }

    /// A namespace's metadata; none if there is none of that name.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let call = Call::new::<Namespace>(Verb::Get, None, name);
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = found(client::read(&call, api.get_metadata(name)).await)?;
        Ok(namespace.map(|namespace| namespace.metadata))
    }

    /// The pods of a Job or an Operation.
    pub(crate) async fn pods(&self, namespace: &str, of: PodsOf<'_>, which: Which) -> Result<Pods> {
        let call = Call::new::<Pod>(Verb::List, Some(namespace), "");
        let selector = match of {
            PodsOf::Job(uid) => format!("{}={uid}", outcome::CONTROLLER_UID),
            PodsOf::Operation(uid) => format!("{}={uid}", clone::OPERATION),
        };
        let mut selection =
            Selection::new(self.client.clone(), &pod_resource(), Some(namespace)).labels(&selector);
        if which == Which::AtWork {
            selection = selection.fields("status.phase!=Succeeded,status.phase!=Failed");
        }
        let (mut at_work, mut ended) = ((Vec::new(), 0), (Vec::new(), 0));
        let mut is_any_left_out = false;
        let keep = |text: &str| {
            let Some(pod) = stored_pod(text) else { return };
            // Anybody can give a pod the label, but not the Job for its owner where it has another.
            if let PodsOf::Job(uid) = of
                && outcome::job_uid_of_pod(&pod) != Some(uid)
            {
                return;
            }
            let has_ended = outcome::pod_has_ended(&pod);
            let (pods, bytes) = if has_ended { &mut ended } else { &mut at_work };
            *bytes += pod.to_string().len();
            if pods.len() < MAX_PODS && *bytes <= KEPT_BYTES {
                pods.push(Arc::new(pod));
            } else {
                // One that has ended hides nothing.
                is_any_left_out |= !has_ended;
            }
        };
        let is_whole = client::read(&call, selection.list_up_to(PODS_BYTES, keep)).await?;
        let (mut pods, _) = at_work;
        pods.extend(ended.0);
        Ok(Pods { pods, is_cut: !is_whole || is_any_left_out })
    }

    /// The end of a container's log; empty where there is none any more.
    pub(crate) async fn log(&self, namespace: &str, pod: &str, container: &str, lines: u32) -> String {
        let call = Call::new::<Pod>(Verb::Get, Some(namespace), pod).subresource("log");
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines.into()),
            limit_bytes: Some(LOG_BYTES),
            ..LogParams::default()
        };
        match client::read(&call, api.logs(pod, &params)).await {
            Ok(log) => log,
            Err(error) => {
                // The result is worth telling without it: a pod may be gone, a node may be down.
                tracing::info!(namespace, pod, container, error = crate::error::chain(&error), "no log");
                String::new()
            }
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

/// None for what is not there; a kind that is not there is an error.
fn found<T>(answer: Result<T, client::Error>) -> Result<Option<T>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(client::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
