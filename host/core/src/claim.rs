//! A *claim* is the proof on an object that hookhost made it, and that what hookhost reads back from it is what it wrote: a
//! MAC in an annotation, by a key that only hookhost has.
//!
//! ```text
//! Job               v1.UID.MAC    UID of the Operation; over that, the Job's place, what it runs, and hookhost's annotations
//! temporary object  v1.MAC        over its place, its content's digest and, where it has no namespace, the Job it is for
//! start of a Job    v1.MAC        over its place and UID: the value of the annotation OPENED
//!                                 MAC = hex(HMAC-SHA256(key, SHA256(what it is about)))
//! ```
//!
//! # What a Job runs
//! The claim is made before the Job is there, over what is sent to the API server, and has to hold for what the API server makes of
//! it: it fills in defaults, writes quantities in its own way, and leaves out what it does not know. So it is over the pod's spec
//! and the completions without what the API server sets (a table by place, in `pod`), without what may be changed later, and
//! without empty fields. Where that does not suffice, because an admission webhook has changed the Job, the claim does not hold
//! for what was created, and whoever has created it makes it again over that.
//!
//! # What it does not say
//! A copy of the Job under the same name, made after the first is gone, has the same claim. It runs the same.

mod pod;
#[cfg(test)]
mod tests;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json::entry;
use crate::keys::CLOSURE;
use crate::keys::{CLAIM, DECISION, STEP};
use crate::object::ObjectRef;
use crate::outcome::source_hook;
use hookhost_helm::hook::JOB_CONTROLLER;
use hookhost_helm::text::{digest_of_hex, hex};
use hookhost_helm::workload::at;

/// Bytes of a key: as many as SHA-256 gives, more do not make a MAC stronger.
pub const KEY_BYTES: usize = 32;

/// HMAC-SHA256 fills each key up with zeros to a block of the hash.
const BLOCK_BYTES: usize = 64;

/// What every claim of this format begins with.
const VERSION: &str = "v1";

/// Bytes of a claim that is read. A UID has 36 and the MAC 64.
pub(crate) const CLAIM_BYTES: usize = 512;

/// A key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; BLOCK_BYTES]);

impl Key {
    /// The key of these bytes; none if they are not as many as a key has.
    pub fn new(bytes: &[u8]) -> Option<Key> {
        let mut block = [0; BLOCK_BYTES];
        block.get_mut(..KEY_BYTES)?.copy_from_slice(Some(bytes).filter(|bytes| bytes.len() == KEY_BYTES)?);
        Some(Key(block))
    }

    fn mac(&self, subject: &Subject) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.0.into());
        mac.update(&subject.0);
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The keys of a hookhost: it makes claims with one, and believes those of the one before, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// By this one claims are made.
    pub current: Key,
    /// Claims of this one are believed, while keys are changed.
    pub previous: Option<Key>,
}

impl Keys {
    fn make(&self, subject: &Subject) -> String {
        hex(self.current.mac(subject).finalize().into_bytes())
    }

    /// The claim of a Job for this Operation, as it is to be created or is.
    pub fn claim_job(&self, operation_uid: &str, job: &Value) -> String {
        let subject = Subject::of_job(operation_uid, job, spec(job));
        format!("{VERSION}.{operation_uid}.{}", self.make(&subject))
    }

    /// The claim of a temporary object. `holder` is the Job that it is for, where it has no namespace.
    pub fn claim_loan(&self, object: &ObjectRef, content: &str, holder: Option<&str>) -> String {
        format!("{VERSION}.{}", self.make(&Subject::of_loan(object, content, holder)))
    }

    /// Whether this is the claim of that temporary object.
    pub fn is_loan(&self, claim: &str, object: &ObjectRef, content: &str, holder: Option<&str>) -> bool {
        Claim::parse(claim, |operation| {
            operation.is_none().then(|| Subject::of_loan(object, content, holder))
        })
        .is_some_and(|claim| claim.is_genuine(self))
    }

    /// What says of a Job that it was let start.
    pub fn opened(&self, namespace: &str, name: &str, uid: &str) -> String {
        format!("{VERSION}.{}", self.make(&Subject::of_start(namespace, name, uid)))
    }
}

/// What a claim is about, by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject([u8; 32]);

impl Subject {
    fn new(kind: &str, parts: &[&[u8]]) -> Subject {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            // No two lists of parts are the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(kind.as_bytes());
        parts.iter().for_each(|part| add(part));
        Subject(digest.finalize().into())
    }

    fn of_job(operation_uid: &str, job: &Value, spec: &Value) -> Subject {
        let metadata = |field| at(job, field).and_then(Value::as_str).unwrap_or_default().as_bytes();
        let annotation = |key| entry(job, "annotations", key).unwrap_or_default().as_bytes();
        let hook = source_hook(job);
        Subject::new(
            "Job",
            &[
                operation_uid.as_bytes(),
                metadata("metadata.namespace"),
                metadata("metadata.name"),
                hook.as_deref().unwrap_or_default().as_bytes(),
                annotation(DECISION),
                annotation(CLOSURE),
                annotation(STEP),
                &what_runs(spec),
            ],
        )
    }

    fn of_loan(object: &ObjectRef, content: &str, holder: Option<&str>) -> Subject {
        let ObjectRef { kind, namespace, name } = object;
        let parts = [kind.as_str(), namespace, name, content, holder.unwrap_or_default()];
        Subject::new("temporary object", &parts.map(str::as_bytes))
    }

    fn of_start(namespace: &str, name: &str, uid: &str) -> Subject {
        Subject::new("start", &[namespace, name, uid].map(str::as_bytes))
    }
}

/// What an object claims: not believed before it is compared with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    operation: Option<String>,
    subject: Subject,
    mac: [u8; 32],
}

impl Claim {
    /// A Job's; none where it has none, or what is none. `spec` is the Job's, which need not be in `job`.
    pub fn of_job(job: &Value, spec: &Value) -> Option<Claim> {
        let claim = entry(job, "annotations", CLAIM)?;
        Claim::parse(claim, |operation| Some(Subject::of_job(operation?, job, spec)))
    }

    /// Whether a Job is, in all that its claim is over, still what was created for this Operation.
    pub fn is_unchanged(operation_uid: &str, created: &Value, now: &Value) -> bool {
        let subject = |job| Subject::of_job(operation_uid, job, spec(job));
        subject(created) == subject(now)
    }

    /// What a Job of this place and UID has in [`OPENED`](crate::keys::OPENED).
    pub fn of_start(value: &str, namespace: &str, name: &str, uid: &str) -> Option<Claim> {
        Claim::parse(value, |operation| operation.is_none().then(|| Subject::of_start(namespace, name, uid)))
    }

    fn parse(text: &str, subject: impl FnOnce(Option<&str>) -> Option<Subject>) -> Option<Claim> {
        let (head, mac) = Some(text).filter(|text| text.len() <= CLAIM_BYTES)?.rsplit_once('.')?;
        let operation = match head.split_once('.') {
            None if head == VERSION => None,
            Some((VERSION, operation)) if !operation.is_empty() => Some(operation),
            _ => return None,
        };
        Some(Claim {
            subject: subject(operation)?,
            mac: digest_of_hex(mac)?,
            operation: operation.map(str::to_owned),
        })
    }

    /// The UID of the Operation that the Job says it is for.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// Whether it was made by one of these keys, for this very object as it is. Compared in constant time.
    pub fn is_genuine(&self, keys: &Keys) -> bool {
        let is_by = |key: &Key| key.mac(&self.subject).verify_slice(&self.mac).is_ok();
        is_by(&keys.current) || keys.previous.as_ref().is_some_and(is_by)
    }
}

fn spec(job: &Value) -> &Value {
    job.get("spec").unwrap_or(&Value::Null)
}

/// The digest of what a Job's spec says is run, and when that is done.
fn what_runs(spec: &Value) -> [u8; 32] {
    let mut digest = Sha256::new();
    let pod = at(spec, "template.spec").and_then(Value::as_object);
    pod::hash_pod(pod.unwrap_or(&serde_json::Map::new()), &mut digest);
    // The second is the first's name of old; the API server sets both.
    let names = ["serviceAccountName", "serviceAccount"].into_iter().filter_map(|field| pod?.get(field));
    let account = names.filter(|name| !name.is_null()).find(|name| name.as_str() != Some(""));
    // Without both, one pod that succeeds is what the API server takes it to mean.
    let one = Value::from(1);
    let number = |field| spec.get(field).filter(|number| !number.is_null());
    let completions = number("completions").or_else(|| number("parallelism").is_none().then_some(&one));
    let indexed = spec.get("completionMode").filter(|mode| *mode == "Indexed");
    for field in [account, completions, indexed, spec.get("successPolicy")] {
        pod::hash_value(field.unwrap_or(&Value::Null), &mut digest);
    }
    // hookhost sends neither, and of a Job with one of them other pods count than those that it describes.
    let manual = spec.get("manualSelector").filter(|manual| **manual == true);
    let managed_by = spec.get("managedBy").filter(|by| !by.is_null() && **by != JOB_CONTROLLER);
    for field in [manual, managed_by].into_iter().flatten() {
        pod::hash_value(field, &mut digest);
    }
    digest.finalize().into()
}
