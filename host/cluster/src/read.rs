//! *Reading* is asking the API server for one object by name, when it is needed: what decides a run must be what is there
//! now, not what a cache has.

mod record;

use std::collections::BTreeSet;
use std::sync::Arc;

use hookhost_core::keys;
use hookhost_core::kind as needed;
use hookhost_core::outcome::{LogSource, PodRef};
use hookhost_core::stored::{StoredJob, stored_pod};
use hookhost_core::target::{self, ToCreate};
use hookhost_core::{Reason, dependency, loan, outcome, refusal::Refusal};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{GetParams, LogParams, PostParams, Request};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource};
pub use record::{StoredRecord, Unread};
use serde_json::Value;

use crate::buffer;
use crate::client::{self, Call, Verb};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::operation::Whole;
use crate::records::{Kept, Records};
use crate::resource::{self, Kind, job_resource, pod_resource};
use crate::stream::Selection;

/// Bytes that are read of the end of a container's log: far more than a condition shows.
const LOG_BYTES: i64 = 64 << 10;

/// How the kubelet's answer begins, with status 200, where the container's runtime has removed the log.
const NO_LOG: &str = "unable to retrieve container logs for ";

/// Pods of a Job that are kept of a list: so many that have ended, and so many that have not. A Job with more of them has failed
/// or succeeded many times, which its own conditions report.
const MAX_PODS: usize = 200;

/// Bytes of them, for each of the two sorts.
const KEPT_BYTES: usize = 512 << 10;

/// Bytes of pods that are read at once: of some two thousand of the usual size. Whoever may create pods may give any number of them
/// the labels of a run.
const PODS_BYTES: usize = 16 << 20;

/// Bytes of the HelmReleases of a namespace that are read to tell whether one of them makes a release: of some ten thousand of the
/// usual size.
pub const HELM_RELEASES_BYTES: usize = 64 << 20;

/// The keys of a Secret or config map.
pub type Keys = BTreeSet<String>;

/// Whose pods are asked for.
#[derive(Clone, Copy, Debug)]
pub enum PodsOf<'a> {
    /// A Job's, by its UID: in the label that the API server gives them, which an orphaning deletion leaves.
    Job(&'a str),
    /// An Operation's, by its UID: in the label that hookhost gives them.
    Operation(&'a str),
}

/// Which pods are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that have not ended.
    AtWork,
}

/// Pods, cut down to what is read of them.
pub struct Pods {
    pub pods: Vec<Arc<Value>>,
    /// Whether there were too many to read all of them.
    pub is_cut: bool,
}

impl Pods {
    /// The pods, if it is known of all whether they have ended; or one has not, so that of the others it need not be known.
    pub fn complete(self, namespace: &str) -> Result<Vec<Arc<Value>>> {
        if self.is_cut && self.pods.iter().all(|pod| outcome::pod_has_ended(pod)) {
            return Err(Error::TooManyPods { namespace: namespace.to_owned(), allowed: PODS_BYTES });
        }
        Ok(self.pods)
    }
}

/// Reads objects by name.
#[derive(Clone)]
pub struct Reader {
    client: kube::Client,
    records: Records,
}

impl Reader {
    pub fn new(client: kube::Client) -> Reader {
        Reader { client, records: Records::default() }
    }

    /// What decides of a target or HelmRelease; none if there is none of that name.
    pub async fn target(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
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
            let request = request.map_err(kube::Error::BuildRequest)?;
            let text = buffer::text(&self.client, request).await?;
            let text = text.text()?;
            buffer::apart(text.len(), || read(text)).map_err(kube::Error::SerdeError)
        };
        found(client::read(call, object).await)
    }

    /// Why a release of this name, whose records are in this namespace, is no plain Helm release, by the HelmReleases there.
    pub async fn refuse_plain(
        &self,
        namespace: &str,
        release: &str,
        bytes: usize,
    ) -> Result<Option<Refusal>> {
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
        match client::read(&call, all.list_up_to(bytes, read)).await {
            Ok(true) => Ok(refusal),
            Ok(false) => {
                let message = format!(
                    "the HelmReleases of the namespace {namespace} have more than {bytes} bytes, so it is not looked \
                     for the one that may have made the release: name a HelmRelease or an ApplicationInstance as the target"
                );
                Ok(refusal.or_else(|| Some(Refusal::fail(Reason::ValidationFailed, message))))
            }
            // Where there is no Flux, nothing is Flux's.
            Err(client::Error::KindMissing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether what is to be created for a run of an Operation of this namespace may be kept: see [`Records::keep`].
    pub fn keep(&self, wanted_in: &str, bytes: usize) -> Result<Kept, Refusal> {
        self.records.keep(wanted_in, bytes)
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
        let resource = resource::needed_resource(kind);
        let namespace = Some(namespace).filter(|_| kind.is_namespaced());
        let call = Call::of_resource(Verb::Get, &resource, namespace, name);
        let request = Request::new(DynamicObject::url_path(&resource, namespace)).get_metadata(name, params);
        self.ask(&call, request, |text| Ok(read(text))).await
    }

    /// Whether there is an object that a pod needs, as the parameters say.
    pub async fn exists(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
        params: &GetParams,
    ) -> Result<bool> {
        Ok(self.get_metadata(kind, namespace, name, params, |_| ()).await?.is_some())
    }

    /// Whether there is a SecretProviderClass; none where that cannot be told: for want of the right, or of its kind.
    pub async fn provider_class_exists(&self, namespace: &str, name: &str) -> Result<Option<bool>> {
        let resource = resource::provider_class_resource();
        match self.get(&resource, namespace, name, &GetParams::default(), |_| Ok(())).await {
            Ok(found) => Ok(Some(found.is_some())),
            Err(Error::Api(client::Error::Forbidden { .. } | client::Error::KindMissing { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What of the metadata of an object says what it is to a run, as it is now; none if there is none of that name.
    pub async fn needed(&self, kind: needed::Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        let params = GetParams::default();
        Ok(self.get_metadata(kind, namespace, name, &params, loan::stored).await?.flatten())
    }

    /// What is made of a whole object that a pod needs, as it is now; none if there is none of that name.
    pub async fn whole<T>(
        &self,
        kind: needed::Kind,
        namespace: &str,
        name: &str,
        read: impl FnOnce(&str) -> T,
    ) -> Result<Option<T>> {
        let read = |text: &str| Ok(read(text));
        self.get(&resource::needed_resource(kind), namespace, name, &GetParams::default(), read).await
    }

    /// Those keys of a Secret or config map that are wanted, none of what is in them; no keys of another kind's object, which need not
    /// be read whole. None if there is none of that name. Inside, none if they are more than `most`.
    pub async fn keys(
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
        self.get(&resource::needed_resource(kind), namespace, name, params, read).await
    }

    /// Whether a user in these groups may create such an object, as the API server says now. Nothing is stored by asking.
    pub async fn may_create(&self, user: &str, groups: &[String], what: &ToCreate) -> Result<bool> {
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
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<Job>> {
        let read = |text: &str| Ok(Job::read(text).ok_or(Error::Unreadable { what: "a Job" }));
        self.get(&job_resource(), namespace, name, &GetParams::default(), read).await?.transpose()
    }

    /// All of a Job that hookhost has just made; none if there is none of that name.
    pub async fn whole_job(&self, namespace: &str, name: &str) -> Result<Option<DynamicObject>> {
        let read = |text: &str| {
            let whole = StoredJob::whole(text).and_then(|job| serde_json::from_value(job).ok());
            Ok(whole.ok_or(Error::Unreadable { what: "a Job as hookhost makes them" }))
        };
        self.get(&job_resource(), namespace, name, &GetParams::default(), read).await?.transpose()
    }

    /// An Operation; none if there is none of that name.
    pub async fn operation(&self, namespace: &str, name: &str) -> Result<Option<Whole>> {
        let read = |text: &str| Ok(Whole::read(text));
        let resource = resource::operation_resource();
        Ok(self.get(&resource, namespace, name, &GetParams::default(), read).await?.flatten())
    }

    /// A namespace's metadata; none if there is none of that name.
    pub async fn namespace(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let call = Call::new::<Namespace>(Verb::Get, None, name);
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespace = found(client::read(&call, api.get_metadata(name)).await)?;
        Ok(namespace.map(|namespace| namespace.metadata))
    }

    /// The pods of a Job or an Operation.
    pub async fn pods(&self, namespace: &str, of: PodsOf<'_>, which: Which) -> Result<Pods> {
        let call = Call::new::<Pod>(Verb::List, Some(namespace), "");
        let selector = match of {
            PodsOf::Job(uid) => format!("{}={uid}", keys::CONTROLLER_UID),
            PodsOf::Operation(uid) => format!("{}={uid}", keys::OPERATION),
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

    /// The end of a container's log, or of that from before its last restart; none where it cannot be read.
    pub async fn log(&self, source: &LogSource, lines: u32) -> Option<String> {
        let LogSource { pod: PodRef { namespace, name: pod }, container, previous, .. } = source;
        let call = Call::new::<Pod>(Verb::Get, Some(namespace), pod).subresource("log");
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            previous: *previous,
            tail_lines: Some(lines.into()),
            limit_bytes: Some(LOG_BYTES),
            ..LogParams::default()
        };
        match client::read(&call, api.logs(pod, &params)).await {
            // The kubelet's own words in the place of a log that is gone.
            Ok(log) if log.starts_with(NO_LOG) => None,
            Ok(log) => Some(log),
            Err(error) => {
                // The result is worth telling without it: a pod may be gone, a node may be down.
                tracing::info!(namespace, pod, container, error = crate::error::chain(&error), "no log");
                None
            }
        }
    }
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
