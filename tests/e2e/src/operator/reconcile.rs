//! What the operator makes of one Operation, in the order of its own code: its finalizer, deletion, validation, the target, approval,
//! conflicts, the engine. It reads no label of an Operation.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use super::{After, Work};

/// The operator's finalizer.
const FINALIZER: &str = "ops.vworkspace.io/finalizer";

/// The label by which it finds an Operation's Jobs, hookhost's among them.
const OPERATION: &str = "ops.vworkspace.io/operation";

/// The label of its Jobs with the hook's name.
const HOOK_NAME: &str = "ops.vworkspace.io/hook-name";

const HELM_HOOK_JOB: &str = "helmHookJob";

/// After what blocks an Operation.
const BLOCKED: Duration = Duration::from_secs(30);

/// While an engine is at work.
const RUNNING: Duration = Duration::from_secs(5);

/// How long a Job may be missing that an engine has made.
const GRACE: i64 = 60;

/// How an engine's work stands.
enum Engine {
    Running,
    Missing,
    /// The Job belongs to another Operation.
    Strange,
    Done {
        failed: bool,
        message: String,
        job: String,
    },
}

type Result<T> = kube::Result<T>;

impl Work {
    pub(super) async fn reconcile(&self, mut operation: DynamicObject) -> Result<After> {
        if !operation.finalizers().iter().any(|it| it == FINALIZER) {
            operation.finalizers_mut().push(FINALIZER.to_owned());
            self.replace(&operation).await?;
            return Ok(After::Again);
        }
        if operation.metadata.deletion_timestamp.is_some() {
            if self.has_engine(&operation) {
                self.cancel(&operation).await?;
            }
            operation.finalizers_mut().retain(|it| it != FINALIZER);
            self.replace(&operation).await?;
            return Ok(After::Nothing);
        }
        if let Some(wrong) = self.validate(&operation) {
            return self.block(operation, "ValidationFailed", &wrong).await;
        }
        let instances = self.api(
            "apps.vworkspace.io",
            "v1alpha1",
            "ApplicationInstance",
            "applicationinstances",
            &self.namespace,
        );
        let Some(target) = instances.get_opt(text(&operation, "/spec/targetRef/name")).await? else {
            return self.block(operation, "TargetNotReady", "target ApplicationInstance not found").await;
        };
        let is_new = matches!(text(&operation, "/status/phase"), "" | "Pending");
        if is_new && let Some(missing) = approval(&operation) {
            return self.block(operation, "AwaitingApproval", missing).await;
        }
        if let Some(other) = self.conflict(&operation) {
            return self.block(operation, "ConflictingOperation", &other).await;
        }
        if !self.has_engine(&operation) {
            let message = format!("engine {:?} is not registered", text(&operation, "/spec/engine"));
            return self.block(operation, "DependencyMissing", &message).await;
        }
        if is_new {
            match self.materialize(&operation, &target).await? {
                Ok(()) => operation = self.start(operation, &target).await?,
                Err(wrong) => return self.fail(operation, &wrong).await,
            }
        }
        match self.engine_status(&operation, &target).await? {
            Engine::Running => {
                operation.data["status"]["phase"] = json!("Running");
                self.update_status(&operation).await?;
                Ok(After::In(RUNNING))
            }
            Engine::Missing if self.may_come(&operation) => Ok(After::In(RUNNING)),
            Engine::Missing => self.fail(operation, "engine workload missing").await,
            Engine::Strange => {
                self.fail(operation, "existing engine workload belongs to a different operation").await
            }
            Engine::Done { failed, message, job } => self.end(operation, failed, &message, &job).await,
        }
    }

    fn validate(&self, operation: &DynamicObject) -> Option<String> {
        let is = |path: &str, wanted: &str| text(operation, path) == wanted;
        if !is("/spec/targetRef/apiVersion", "apps.vworkspace.io/v1alpha1") {
            return Some("spec.targetRef.apiVersion must be apps.vworkspace.io/v1alpha1".to_owned());
        }
        if !is("/spec/targetRef/kind", "ApplicationInstance") {
            return Some("spec.targetRef.kind must be ApplicationInstance".to_owned());
        }
        if !self.build.checks_image || !is("/spec/engine", HELM_HOOK_JOB) {
            return None;
        }
        let mut missing = ["hookName", "image"].into_iter().filter(|of| parameter(operation, of).is_empty());
        missing.next().map(|missing| format!("parameters.{missing} is required"))
    }

    /// Another Operation in flight on the same target that this type has to wait for.
    fn conflict(&self, operation: &DynamicObject) -> Option<String> {
        let waits_for: &[&str] = match text(operation, "/spec/type") {
            "Upgrade" => &["Upgrade"],
            "Restore" => &["Upgrade", "Backup"],
            "Backup" => &["Restore"],
            _ => &[],
        };
        let is_before = |other: &&DynamicObject| {
            let is_accepted =
                conditions(other).any(|one| one["type"] == "Accepted" && one["status"] == "True");
            let is_in_flight = match text(other, "/status/phase") {
                "Running" | "Pending" => true,
                "" => is_accepted,
                _ => false,
            };
            other.name_any() != operation.name_any()
                && text(other, "/spec/targetRef/name") == text(operation, "/spec/targetRef/name")
                && is_in_flight
                && waits_for.contains(&text(other, "/spec/type"))
        };
        let other = self.known.values().find(is_before)?;
        Some(format!("conflicts with operation {:?} ({})", other.name_any(), text(other, "/spec/type")))
    }

    fn has_engine(&self, operation: &DynamicObject) -> bool {
        match text(operation, "/spec/engine") {
            HELM_HOOK_JOB => self.build.has_engine,
            engine => engine == "helm",
        }
    }

    async fn block(&self, mut operation: DynamicObject, reason: &str, message: &str) -> Result<After> {
        let status = &mut operation.data["status"];
        status["phase"] = json!("Pending");
        set(status, "Blocked", true, reason, message);
        set(status, "Accepted", false, reason, message);
        self.update_status(&operation).await?;
        Ok(After::In(BLOCKED))
    }

    async fn fail(&self, mut operation: DynamicObject, message: &str) -> Result<After> {
        let _ = self.cancel(&operation).await;
        let status = &mut operation.data["status"];
        status["phase"] = json!("Failed");
        status["finishedAt"] = json!(now());
        set(status, "Failed", true, "EngineFailed", message);
        self.update_status(&operation).await?;
        Ok(After::Nothing)
    }

    async fn start(&self, mut operation: DynamicObject, target: &DynamicObject) -> Result<DynamicObject> {
        let kind = if text(&operation, "/spec/engine") == HELM_HOOK_JOB { "Job" } else { "helm" };
        let engine =
            json!({"kind": kind, "name": job_name(&operation), "namespace": workload_namespace(target)});
        let status = &mut operation.data["status"];
        status["engineRef"] = engine;
        status["phase"] = json!("Running");
        status["startedAt"] = json!(now());
        set(status, "Accepted", true, "AdmissionPassed", "Operation accepted");
        set(status, "Running", true, "EngineStarted", "Engine is running");
        set(status, "Blocked", false, "Unblocked", "Operation started");
        self.update_status(&operation).await
    }

    /// Its outputs take the place of all that were there.
    async fn end(
        &self,
        mut operation: DynamicObject,
        failed: bool,
        message: &str,
        job: &str,
    ) -> Result<After> {
        if failed {
            let _ = self.cancel(&operation).await;
        }
        let (phase, reason) =
            if failed { ("Failed", "EngineFailed") } else { ("Succeeded", "EngineCompleted") };
        let status = &mut operation.data["status"];
        status["phase"] = json!(phase);
        status["finishedAt"] = json!(now());
        set(status, phase, true, reason, message);
        set(
            status,
            "Running",
            false,
            "EngineNotStarted",
            if failed { "Engine finished with failure" } else { "Engine completed" },
        );
        status["outputs"] = json!({"jobName": job});
        self.update_status(&operation).await?;
        Ok(After::Nothing)
    }

    fn may_come(&self, operation: &DynamicObject) -> bool {
        let started = text(operation, "/status/startedAt").parse::<Timestamp>();
        text(operation, "/status/phase") == "Running"
            && started.is_ok_and(|at| Timestamp::now().as_second() - at.as_second() < GRACE)
    }

    // === the engine ===

    /// Makes the Job of an Operation that names an image; an Upgrade of the engine helm changes nothing here.
    async fn materialize(
        &self,
        operation: &DynamicObject,
        target: &DynamicObject,
    ) -> Result<std::result::Result<(), String>> {
        if text(operation, "/spec/engine") != HELM_HOOK_JOB {
            return Ok(Ok(()));
        }
        for of in ["hookName", "image"] {
            if parameter(operation, of).is_empty() {
                return Ok(Err(format!(
                    "parameters.{of} is required until hook template resolution is implemented"
                )));
            }
        }
        let (hook, namespace) = (parameter(operation, "hookName"), workload_namespace(target));
        let jobs = self.jobs(namespace);
        let name = job_name(operation);
        if let Some(there) = jobs.get_opt(&name).await? {
            let is_its = there.labels().get(OPERATION) == operation.uid().as_ref();
            return Ok(is_its
                .then_some(())
                .ok_or("existing engine workload belongs to a different operation".to_owned()));
        }
        let labels = json!({"app.vworkspace.io/managed-by": "vworkspace-operator", OPERATION: operation.uid(), HOOK_NAME: hook});
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": labels, "annotations": {"helm.sh/hook": hook}},
            "spec": {
                "backoffLimit": operation.data.pointer("/spec/parameters/backoffLimit"),
                "activeDeadlineSeconds": operation.data.pointer("/spec/parameters/activeDeadlineSeconds"),
                "ttlSecondsAfterFinished": 86_400,
                "template": {"metadata": {"labels": labels}, "spec": {
                    "restartPolicy": "Never", "serviceAccountName": "vworkspace-operation-runner",
                    "containers": [{"name": "hook", "image": parameter(operation, "image")}]}},
            },
        });
        if namespace == self.namespace {
            // Not as its controller.
            job["metadata"]["ownerReferences"] = json!([{"apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
                "name": operation.name_any(), "uid": operation.uid()}]);
        }
        let job = serde_json::from_value(job).map_err(kube::Error::SerdeError)?;
        self.counted(jobs.create(&params(), &job).await)?;
        Ok(Ok(()))
    }

    async fn engine_status(&self, operation: &DynamicObject, target: &DynamicObject) -> Result<Engine> {
        if text(operation, "/spec/engine") != HELM_HOOK_JOB {
            // It never reports its end.
            return Ok(Engine::Running);
        }
        let (namespace, name) = self.location(operation, Some(target));
        let Some(job) = self.jobs(&namespace).get_opt(&name).await? else { return Ok(Engine::Missing) };
        if job.labels().get(OPERATION) != operation.uid().as_ref() {
            return Ok(Engine::Strange);
        }
        let ended = conditions(&job)
            .find(|one| one["status"] == "True" && (one["type"] == "Complete" || one["type"] == "Failed"));
        Ok(ended.map_or(Engine::Running, |one| Engine::Done {
            failed: one["type"] == "Failed",
            message: one["message"].as_str().unwrap_or_default().to_owned(),
            job: name,
        }))
    }

    /// Where it takes an Operation's Job to be: where engineRef says, whoever has written that.
    fn location(&self, operation: &DynamicObject, target: Option<&DynamicObject>) -> (String, String) {
        match (text(operation, "/status/engineRef/namespace"), text(operation, "/status/engineRef/name")) {
            ("", _) | (_, "") => {
                let namespace = target.map_or(self.namespace.as_str(), workload_namespace);
                (namespace.to_owned(), job_name(operation))
            }
            (namespace, name) => (namespace.to_owned(), name.to_owned()),
        }
    }

    /// Deletes the Job that engineRef names, else all with the Operation's label; without a propagation policy, so their pods go on.
    async fn cancel(&self, operation: &DynamicObject) -> Result<()> {
        if text(operation, "/spec/engine") != HELM_HOOK_JOB {
            return Ok(());
        }
        let (namespace, name) = self.location(operation, None);
        let jobs = self.jobs(&namespace);
        if jobs.get_opt(&name).await?.is_some() {
            self.counted(jobs.delete(&name, &DeleteParams::default()).await)?;
            return Ok(());
        }
        let label = format!("{OPERATION}={}", operation.uid().unwrap_or_default());
        for job in jobs.list(&ListParams::default().labels(&label)).await? {
            self.counted(jobs.delete(&job.name_any(), &DeleteParams::default()).await)?;
        }
        Ok(())
    }

    // === the API ===

    fn jobs(&self, namespace: &str) -> Api<DynamicObject> {
        self.api("batch", "v1", "Job", "jobs", namespace)
    }

    async fn replace(&self, operation: &DynamicObject) -> Result<()> {
        let replaced = self.operations().replace(&operation.name_any(), &params(), operation).await;
        self.counted(replaced).map(drop)
    }

    /// The whole status, whether or not it has changed.
    async fn update_status(&self, operation: &DynamicObject) -> Result<DynamicObject> {
        let replaced = self.operations().replace_status(&operation.name_any(), &params(), operation).await;
        self.counted(replaced)
    }
}

/// The approval that is missing. It has no key to check one by.
fn approval(operation: &DynamicObject) -> Option<&'static str> {
    let is_required = operation.data.pointer("/spec/approvals/required") == Some(&json!(true));
    match text(operation, "/spec/approvals/claim") {
        _ if !is_required => None,
        "" => Some("approval claim required"),
        _ => Some("approval claim present but operator approval-claim-secret is not configured"),
    }
}

fn set(status: &mut Value, of_type: &str, is: bool, reason: &str, message: &str) {
    let new = json!({"type": of_type, "status": if is { "True" } else { "False" }, "reason": reason, "message": message});
    let mut all = status["conditions"].as_array().cloned().unwrap_or_default();
    let at = all.iter().position(|one| one["type"] == of_type);
    let is_same = |one: &Value| ["status", "reason", "message"].iter().all(|of| one[of] == new[of]);
    if at.is_some_and(|at| is_same(&all[at])) {
        return;
    }
    let at = at.unwrap_or_else(|| {
        all.push(json!({}));
        all.len() - 1
    });
    for (field, value) in new.as_object().into_iter().flatten() {
        all[at][field] = value.clone();
    }
    all[at]["lastTransitionTime"] = json!(now());
    status["conditions"] = json!(all);
}

fn conditions(object: &DynamicObject) -> impl Iterator<Item = &Value> {
    object.data.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

/// Where the workloads of a target's Operations are.
fn workload_namespace(target: &DynamicObject) -> &str {
    match text(target, "/spec/release/namespace") {
        "" => target.metadata.namespace.as_deref().unwrap_or_default(),
        namespace => namespace,
    }
}

fn job_name(operation: &DynamicObject) -> String {
    let name = format!("{}--{}", operation.namespace().unwrap_or_default(), operation.name_any());
    if name.len() <= 63 { name } else { operation.uid().unwrap_or_default() }
}

fn parameter<'o>(operation: &'o DynamicObject, name: &str) -> &'o str {
    text(operation, &format!("/spec/parameters/{name}"))
}

fn text<'o>(object: &'o DynamicObject, path: &str) -> &'o str {
    object.data.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// As Kubernetes writes times.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

fn params() -> PostParams {
    PostParams { field_manager: Some("manager".to_owned()), ..PostParams::default() }
}
