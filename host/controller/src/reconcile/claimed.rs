//! A Job is *claimed* once its claim holds for it as it was created. Mostly the claim that it was sent with does; where an admission
//! webhook has changed what the Job runs, another is made over that, by a second write.
//!
//! Meanwhile the Job controller writes the Job, too, so that this write meets conflicts. Each is answered by reading the Job again,
//! and its newer form is claimed only if it is still, in all that the claim is over, what the API server said it had created: what
//! somebody else has made of it is not hookhost's.
//!
//! If hookhost ends before it is done, nobody can prove whose the Job is: the Operation waits, and its hook runs no second time.

use std::time::Duration;

use hookhost_core::claim::{Claim, Keys};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::read::Reader;
use hookhost_cluster::text::to_json;
use hookhost_cluster::write::Writes;

/// How long it is tried: longer than an API server takes to start again. As long as it lasts the Operation keeps its place among
/// those that are reconciled.
const WITHIN: Duration = Duration::from_secs(60);

/// Pauses after a try: the first, since the Job controller writes a new Job two or three times in a row and then not for seconds;
/// and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// The Job that was just created for the Operation of this UID, with a claim that holds.
pub(super) async fn claimed(
    reader: &Reader,
    writes: &Writes,
    keys: &Keys,
    operation_uid: &str,
    created: DynamicObject,
) -> Result<DynamicObject> {
    let json = to_json(&created);
    if holds(&json, keys) {
        return Ok(created);
    }
    let (namespace, name) = (created.namespace().unwrap_or_default(), created.name_any());
    tracing::info!(
        job_namespace = namespace,
        job = name,
        "the API server, or an admission webhook, changed the Job when it was created: its claim is made again over that"
    );
    let claim = keys.claim_job(operation_uid, &json);
    let until = Instant::now() + WITHIN;
    let [mut pause, longest] = PAUSES;
    let mut job = created;
    loop {
        let error = match writes.claim_job(&job, claim.clone()).await {
            Err(Error::Api(error)) if error.is_transient() => error,
            written => return written,
        };
        if Instant::now() + pause > until {
            return Err(error.into());
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        match reader.whole_job(&namespace, &name).await {
            Ok(Some(now)) => {
                let is_it = now.metadata.uid == job.metadata.uid;
                let newer = to_json(&now);
                if !is_it || !Claim::is_unchanged(operation_uid, &json, &newer) {
                    return Err(error.into());
                }
                // The try before may have been done, though its answer was lost.
                if holds(&newer, keys) {
                    return Ok(now);
                }
                job = now;
            }
            // The form that is known will do, or meet a conflict.
            Err(Error::Api(error)) if error.is_transient() => {}
            Ok(None) => return Err(error.into()),
            Err(error) => return Err(error),
        }
    }
}

fn holds(job: &Value, keys: &Keys) -> bool {
    let spec = job.get("spec").unwrap_or(&Value::Null);
    Claim::of_job(job, spec).is_some_and(|claim| claim.is_genuine(keys))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hookhost_core::claim::{KEY_BYTES, Key};
    use hookhost_core::keys::CLAIM;
    use http::{Method, Request, Response};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::metrics::Metrics;
    use hookhost_cluster::lease::Claim as Lease;
    use hookhost_cluster::writer::Writer;

    const UID: &str = "op-uid";

    fn keys() -> Keys {
        Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None }
    }

    /// A Job that was sent with a claim, and of which an admission webhook has changed the image.
    fn changed() -> Value {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"namespace": "org", "name": "op", "uid": "job-uid", "resourceVersion": "1", "annotations": {}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        });
        job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job(UID, &job));
        job["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror/i");
        job
    }

    /// What an API server has, whose Job controller writes the Job after each of so many reads.
    struct Server {
        job: Value,
        writes_left: u32,
        patches: u32,
        /// What somebody else does to the Job when it is first read.
        meddle: fn(&mut Value),
    }

    impl Server {
        fn version(&mut self, up: u64) {
            let version: u64 = self.job["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            self.job["metadata"]["resourceVersion"] = json!((version + up).to_string());
        }

        fn answer(&mut self, method: &Method, body: &Value) -> (u16, Value) {
            if method == Method::GET {
                (self.meddle)(&mut self.job);
                let read = self.job.clone();
                if self.writes_left > 0 {
                    self.writes_left -= 1;
                    self.version(1);
                    self.job["status"] = json!({"active": self.writes_left});
                }
                return (200, read);
            }
            self.patches += 1;
            if body["metadata"]["resourceVersion"] != self.job["metadata"]["resourceVersion"] {
                return (
                    409,
                    json!({"status": "Failure", "code": 409, "reason": "Conflict", "message": "changed"}),
                );
            }
            self.version(1);
            self.job["metadata"]["annotations"][CLAIM] = body["metadata"]["annotations"][CLAIM].clone();
            (200, self.job.clone())
        }
    }

    async fn claimed_on(server: &Arc<Mutex<Server>>) -> Result<DynamicObject> {
        let created = server.lock().unwrap().job.clone();
        // The Job controller is faster than the claim.
        server.lock().unwrap().version(1);
        let shared = server.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = shared.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&bytes).unwrap_or_default();
                let (code, answer) = server.lock().unwrap().answer(&head.method, &body);
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let client = kube::Client::new(service, "default");
        let writer = Writer::new(Lease::without_lease(), Metrics::new());
        let (reader, writes) = (Reader::new(client.clone()), Writes::new(client, writer));
        claimed(&reader, &writes, &keys(), UID, serde_json::from_value(created).unwrap()).await
    }

    fn server(writes_left: u32, meddle: fn(&mut Value)) -> Arc<Mutex<Server>> {
        Arc::new(Mutex::new(Server { job: changed(), writes_left, patches: 0, meddle }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_written_again_and_again_is_claimed_in_the_end() {
        let server = server(8, |_| {});
        let job = claimed_on(&server).await.unwrap();
        assert!(holds(&to_json(&job), &keys()), "{job:?}");
        assert!(holds(&server.lock().unwrap().job, &keys()));
        assert_eq!(server.lock().unwrap().patches, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_never_left_alone_is_given_up_after_a_minute() {
        let begun = Instant::now();
        let server = server(u32::MAX, |_| {});
        let error = claimed_on(&server).await.unwrap_err();
        assert!(error.to_string().contains("changed meanwhile"), "{error}");
        assert!(begun.elapsed() <= WITHIN, "{:?}", begun.elapsed());
        let patches = server.lock().unwrap().patches;
        assert!((20..50).contains(&patches), "with pauses: {patches}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_else_makes_of_the_job_meanwhile_is_not_claimed() {
        let image: fn(&mut Value) =
            |job| job["spec"]["template"]["spec"]["containers"][0]["image"] = json!("theirs");
        let decision: fn(&mut Value) =
            |job| job["metadata"]["annotations"]["ops.vworkspace.io/decision"] = json!("{}");
        let another: fn(&mut Value) = |job| job["metadata"]["uid"] = json!("another");
        for meddle in [image, decision, another] {
            let server = server(0, meddle);
            assert!(claimed_on(&server).await.is_err());
            let server = server.lock().unwrap();
            assert_eq!((server.patches, holds(&server.job, &keys())), (1, false));
        }
    }
}
