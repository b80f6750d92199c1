//! *Writing* is everything that the reconciler changes in the cluster: the Job, its finalizer, what it borrows, the
//! Operation's status; pods that a cancelled run has left; its finalizer on the RoleBindings. Nothing else of it writes, and
//! nothing of the chart's or of Helm's is ever written.

use hookhost_core::keys::CLAIM;
use hookhost_core::keys::FIELD_MANAGER;
use hookhost_core::keys::{FINALIZER, OPENED};
use hookhost_core::object::ObjectRef;
use hookhost_core::status;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource, ResourceExt};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use crate::buffer;
use crate::client::{self, Call, Verb};
use crate::error::{Error, Result};
use crate::job::Job;
use crate::operation::Whole;
use crate::resource::{binding_resource, job_resource, needed_resource, operation_resource, pod_resource};
use crate::writer::Writer;
use hookhost_core::keys::RIGHTS;
use hookhost_core::keys::UNATTENDED;

/// Writes what the reconciler decides.
#[derive(Clone)]
pub struct Writes {
    client: kube::Client,
    writer: Writer,
}

/// An object that is to be created, as it is sent: as values it would take many times as much as long as the API server takes.
pub struct NewObject {
    name: String,
    json: Vec<u8>,
}

impl NewObject {
    pub fn of(object: &Value) -> NewObject {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        NewObject { name, json: object.to_string().into_bytes() }
    }
}

/// What became of an object that was to be created.
pub enum Created<K = DynamicObject> {
    /// It is there now, and this was read of it.
    New(Box<K>),
    /// There is one of that name already.
    Taken,
    /// The API server says no, in these words.
    Refused { message: String, why: Why },
}

/// What is decided otherwise of a Job than when it was created, as a merge patch of its metadata and spec with a claim over that.
pub struct Renewed {
    pub patch: Value,
    /// The form of the Job that it was made from, and is for.
    pub version: String,
}

/// Why the API server does not create an object, or change it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The object is wrong: it will always be refused.
    Invalid,
    /// Admission denies it: whoever runs the webhook, policy or quota can let it through.
    Admission,
    /// A right is missing, or something that the object refers to; it may be added.
    Forbidden,
}

impl Why {
    /// Of an answer that is about the object, with the API server's words.
    pub fn of(error: &client::Error) -> Option<(Why, &str)> {
        match error {
            client::Error::Rejected { message, .. } => Some((Why::Invalid, message)),
            client::Error::Denied { message, .. } => Some((Why::Admission, message)),
            // A missing RBAC rule may be added, and so may the role of a binding, which is not found.
            client::Error::Forbidden { message, .. } | client::Error::NotFound { message, .. } => {
                Some((Why::Forbidden, message))
            }
            _ => None,
        }
    }
}

impl Writes {
    pub fn new(client: kube::Client, writer: Writer) -> Writes {
        Writes { client, writer }
    }

    /// Whether this process may write now.
    pub fn is_allowed(&self) -> bool {
        self.writer.guard().is_ok()
    }

    /// Creates the Job.
    pub async fn create_job(&self, namespace: &str, job: NewObject) -> Result<Created> {
        self.create(&job_resource(), Some(namespace), job, false).await
    }

    /// Creates what a Job borrows; `dry_run`: only asks the API server whether it would. Nothing is read of what it created.
    pub async fn create_loan(
        &self,
        object: &ObjectRef,
        new: NewObject,
        dry_run: bool,
    ) -> Result<Created<IgnoredAny>> {
        self.create(&needed_resource(object.kind), namespace_of(object), new, dry_run).await
    }

    async fn create<K: DeserializeOwned>(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        NewObject { name, json }: NewObject,
        dry_run: bool,
    ) -> Result<Created<K>> {
        let call = Call::of_resource(Verb::Create, resource, namespace, &name);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run };
        let request = Request::new(DynamicObject::url_path(resource, namespace)).create(&params, json);
        let created = async { self.client.request(request.map_err(kube::Error::BuildRequest)?).await };
        match self.writer.send(&call, created).await {
            Ok(created) => Ok(Created::New(Box::new(created))),
            Err(client::Error::AlreadyExists { .. }) => Ok(Created::Taken),
            Err(error) => match Why::of(&error) {
                Some((why, message)) => Ok(Created::Refused { message: message.to_owned(), why }),
                None => Err(error.into()),
            },
        }
    }

    /// Deletes the Job with its pods, if it is still this very Job.
    pub async fn delete_job(&self, job: &Job) -> Result<()> {
        let call = Call::of_resource(Verb::Delete, &job_resource(), Some(&job.namespace), &job.name);
        let uid = Preconditions { uid: Some(job.uid.clone()), resource_version: None };
        // In the background the pods would run on to their end: our finalizer keeps the Job, and with it the pods.
        let params = DeleteParams::foreground().preconditions(uid);
        match self.delete(&call, &job_resource(), &job.namespace, &job.name, &params).await {
            Ok(()) | Err(client::Error::NotFound { .. } | client::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a pod, if it is still this very pod.
    pub async fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let resource = pod_resource();
        let call = Call::of_resource(Verb::Delete, &resource, Some(namespace), name);
        let uid = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::default().preconditions(uid);
        match self.delete(&call, &resource, namespace, name, &params).await {
            Ok(()) | Err(client::Error::NotFound { .. } | client::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a Job or pod. Of the answer, which is all of it again, nothing is made.
    async fn delete(
        &self,
        call: &Call,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        params: &DeleteParams,
    ) -> Result<(), client::Error> {
        let request = Request::new(DynamicObject::url_path(resource, Some(namespace)));
        let deleted = async {
            let request = request.delete(name, params).map_err(kube::Error::BuildRequest)?;
            buffer::text(&self.client, request).await
        };
        self.writer.send(call, deleted).await.map(drop)
    }

    /// Takes hookhost's finalizer off a RoleBinding. If it is another one of that name by now, that is a conflict.
    pub async fn release_binding(&self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let resource = binding_resource();
        let call = Call::of_resource(Verb::Patch, &resource, Some(namespace), name);
        // The one entry of the list, whatever else is in it. An empty patch of what has none of it changes nothing.
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [RIGHTS], "uid": uid}});
        let (bindings, params) = (self.api(&resource, Some(namespace)), params());
        match self.writer.send(&call, bindings.patch_metadata(name, &params, &Patch::Strategic(&patch))).await
        {
            Ok(_) | Err(client::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a Job of which nothing has run, if it is still in this very form.
    pub async fn withdraw_job(&self, job: &Job) -> Result<()> {
        let call = Call::of_resource(Verb::Delete, &job_resource(), Some(&job.namespace), &job.name);
        let form = Preconditions { uid: Some(job.uid.clone()), resource_version: Some(job.version()) };
        let params = DeleteParams::background().preconditions(form);
        match self.delete(&call, &job_resource(), &job.namespace, &job.name, &params).await {
            Ok(()) | Err(client::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the claim of a Job again that something has changed while it was created; gives back its new form.
    pub async fn claim_job(&self, job: &DynamicObject, claim: String) -> Result<DynamicObject> {
        let metadata = &job.metadata;
        let (namespace, name) = (metadata.namespace.as_deref().unwrap_or_default(), job.name_any());
        // This very form: what the claim is over.
        let metadata = json!({
            "uid": metadata.uid, "resourceVersion": metadata.resource_version, "annotations": {CLAIM: claim},
        });
        let patch = json!({ "metadata": metadata });
        let call = Call::of_resource(Verb::Patch, &job_resource(), Some(namespace), &name);
        let (jobs, params) = (self.jobs(namespace), params());
        Ok(self.writer.send(&call, jobs.patch(&name, &params, &Patch::Merge(&patch))).await?)
    }

    /// Lets a Job start that was made suspended; `opened` says that hookhost has done so. Gives back its new form, none if it is
    /// gone.
    pub async fn open_job(&self, job: &Job, opened: String, renewed: Option<Renewed>) -> Result<Option<Job>> {
        let mut patch = json!({"metadata": {}, "spec": {}});
        if let Some(Renewed { patch: changes, version }) = renewed {
            patch = changes;
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        patch["metadata"]["uid"] = json!(job.uid);
        patch["metadata"]["annotations"][OPENED] = json!(opened);
        patch["spec"]["suspend"] = json!(false);
        self.patch_job(job, &Patch::Merge(&patch)).await
    }

    /// Patches a Job; gives back its new form, none if it is gone. As text: what others have written into it may be huge.
    async fn patch_job(&self, job: &Job, patch: &Patch<&Value>) -> Result<Option<Job>> {
        let resource = job_resource();
        let call = Call::of_resource(Verb::Patch, &resource, Some(&job.namespace), &job.name);
        let request = Request::new(DynamicObject::url_path(&resource, Some(&job.namespace)));
        let patched = async {
            let request = request.patch(&job.name, &params(), patch).map_err(kube::Error::BuildRequest)?;
            buffer::text(&self.client, request).await
        };
        match self.writer.send(&call, patched).await {
            Ok(text) => {
                let text = text.text().unwrap_or_default();
                let job = buffer::apart(text.len(), || Job::read(text));
                job.map(Some).ok_or(Error::Unreadable { what: "a Job" })
            }
            Err(client::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the metadata of a loan, if it is still in this form.
    pub async fn patch_loan(&self, object: &ObjectRef, form: &ObjectMeta, mut metadata: Value) -> Result<()> {
        metadata["uid"] = json!(form.uid);
        if let Some(version) = &form.resource_version {
            metadata["resourceVersion"] = json!(version);
        }
        let patch = json!({ "metadata": metadata });
        let (resource, namespace) = (needed_resource(object.kind), namespace_of(object));
        let call = Call::of_resource(Verb::Patch, &resource, namespace, &object.name);
        let (api, params) = (self.api(&resource, namespace), params());
        self.writer.send(&call, api.patch(&object.name, &params, &Patch::Strategic(&patch))).await?;
        Ok(())
    }

    /// Deletes a loan, if it is still in this form.
    pub async fn delete_loan(&self, object: &ObjectRef, form: &ObjectMeta) -> Result<()> {
        let (resource, namespace) = (needed_resource(object.kind), namespace_of(object));
        let call = Call::of_resource(Verb::Delete, &resource, namespace, &object.name);
        let form = Preconditions { uid: form.uid.clone(), resource_version: form.resource_version.clone() };
        let params = DeleteParams::background().preconditions(form);
        match self.writer.send(&call, self.api(&resource, namespace).delete(&object.name, &params)).await {
            Ok(_) | Err(client::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes our finalizer off a Job whose result is safe; gives back its new form, none if it is gone.
    pub async fn release_job(&self, job: &Job) -> Result<Option<Job>> {
        // The one entry of the list, whatever else is in it by now: a Job that is being deleted changes all the time.
        let mut patch =
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER], "uid": job.uid}});
        if job.is_unattended() {
            patch["metadata"]["annotations"] = json!({UNATTENDED: null});
        }
        self.patch_job(job, &Patch::Strategic(&patch)).await
    }

    /// Writes an Operation's status over the form that it was made from; a newer form is a conflict.
    pub async fn status(&self, operation: &DynamicObject, next: &Value) -> Result<Whole> {
        let metadata = &operation.metadata;
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let resource = operation_resource();
        let call = Call::of_resource(Verb::Patch, &resource, Some(namespace), name).subresource("status");
        let patch = json!({
            "metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid},
            "status": status::patch(operation.data.get("status").unwrap_or(&Value::Null), next),
        });
        let request = Request::new(DynamicObject::url_path(&resource, Some(namespace)));
        let written = async {
            let patch = request.patch_subresource("status", name, &params(), &Patch::Merge(&patch));
            // As text: what is in the Operation besides the status may be huge.
            buffer::text(&self.client, patch.map_err(kube::Error::BuildRequest)?).await
        };
        let written = self.writer.send(&call, written).await?;
        let text = written.text().unwrap_or_default();
        let whole = buffer::apart(text.len(), || Whole::read(text));
        whole.ok_or(Error::Unreadable { what: "an Operation" })
    }

    fn jobs(&self, namespace: &str) -> Api<DynamicObject> {
        self.api(&job_resource(), Some(namespace))
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }
}

fn namespace_of(object: &ObjectRef) -> Option<&str> {
    Some(object.namespace.as_str()).filter(|_| object.kind.is_namespaced())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Whether the object was changed by somebody since it was read.
pub fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(client::Error::Conflict { .. }))
}
