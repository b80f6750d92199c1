//! *Writing* is everything that the reconciler changes in the cluster: the Job, its finalizer, the Operation's status.
//! Nothing else of it writes, and nothing of the chart's or of Helm's is ever written.

use hookhost_core::clone::FINALIZER;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::client::{self, Call, Verb, Writer};
use crate::error::{Error, Result};
use crate::watch::{Job, job_resource, operation_resource};

/// Who the API server notes as the writer of a field.
const MANAGER: &str = "hookhost";

/// Writes what the reconciler decides.
#[derive(Clone)]
pub(crate) struct Writes {
    client: kube::Client,
    writer: Writer,
}

/// What became of a Job that was to be created.
pub(crate) enum Created {
    /// It is there now.
    New(Box<DynamicObject>),
    /// There is one of that name already.
    Taken,
    /// The API server, or a webhook or quota of it, says no, in these words. `is_final`: the same Job will always be
    /// refused.
    Refused { message: String, is_final: bool },
}

impl Writes {
    pub(crate) fn new(client: kube::Client, writer: Writer) -> Writes {
        Writes { client, writer }
    }

    /// Whether this process may write now.
    pub(crate) fn is_allowed(&self) -> bool {
        self.writer.guard().is_ok()
    }

    /// Creates the Job.
    pub(crate) async fn create_job(&self, namespace: &str, job: Value) -> Result<Created> {
        let job: DynamicObject = serde_json::from_value(job)?;
        let name = job.metadata.name.clone().unwrap_or_default();
        let call = Call::of_resource(Verb::Create, &job_resource(), Some(namespace), &name);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let jobs = self.jobs(namespace);
        match self.writer.send(&call, jobs.create(&params, &job)).await {
            Ok(created) => Ok(Created::New(Box::new(created))),
            Err(client::Error::AlreadyExists { .. }) => Ok(Created::Taken),
            Err(client::Error::Rejected { message, .. }) => Ok(Created::Refused { message, is_final: true }),
            // A quota may have room later, a webhook may be told better; a missing RBAC rule may be added.
            Err(client::Error::Forbidden { message, .. }) => {
                Ok(Created::Refused { message, is_final: false })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the Job with its pods, if it is still this very Job.
    pub(crate) async fn delete_job(&self, job: &Job) -> Result<()> {
        let call = Call::of_resource(Verb::Delete, &job_resource(), Some(&job.namespace), &job.name);
        let uid = Preconditions { uid: Some(job.uid.clone()), resource_version: None };
        // In the background the pods would run on to their end: our finalizer keeps the Job, and with it the pods.
        let params = DeleteParams::foreground().preconditions(uid);
        let jobs = self.jobs(&job.namespace);
        match self.writer.send(&call, jobs.delete(&job.name, &params)).await {
            Ok(_) | Err(client::Error::NotFound { .. } | client::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes our finalizer off a Job whose result is safe; gives back its new form, none if it is gone.
    pub(crate) async fn release_job(&self, job: &Job) -> Result<Option<DynamicObject>> {
        // The one entry of the list, whatever else is in it by now: a Job that is being deleted changes all the time.
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER], "uid": job.uid}});
        let call = Call::of_resource(Verb::Patch, &job_resource(), Some(&job.namespace), &job.name);
        let jobs = self.jobs(&job.namespace);
        let params = params();
        match self.writer.send(&call, jobs.patch(&job.name, &params, &Patch::Strategic(&patch))).await {
            Ok(job) => Ok(Some(job)),
            Err(client::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes an Operation's status over the form that it was made from; a newer form is a conflict.
    pub(crate) async fn status(&self, operation: &DynamicObject, status: &Value) -> Result<DynamicObject> {
        let metadata = &operation.metadata;
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let call = Call::of_resource(Verb::Patch, &operation_resource(), Some(namespace), name)
            .subresource("status");
        let patch = json!({
            "metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid},
            "status": status,
        });
        let operations: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &operation_resource());
        let (params, patch) = (params(), Patch::Merge(&patch));
        Ok(self.writer.send(&call, operations.patch_status(name, &params, &patch)).await?)
    }

    fn jobs(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &job_resource())
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// Whether the object was changed by somebody since it was read.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(client::Error::Conflict { .. }))
}
