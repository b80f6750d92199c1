//! The metadata of an object *as stored*, cut down to what is read of them: whoever may create such an object may give it 1.5 MiB
//! of labels.

use serde_json::{Map, Value};

use super::TAKEN_OVER;
use crate::json::{Pairs, bytes, each_entry, each_item, pairs, scalar};
use crate::keys::{CLAIM, CONTENT, HOLDER};
use crate::operation::limits::TEXT_BYTES;

/// Jobs that own an object and are read. Each is a run that shares it; whoever writes more of them onto it may as well delete it.
const MAX_OWNERS: usize = 64;

/// Of the text of an object what [`Found::of`](super::Found::of) reads of its metadata, with what a patch or deletion of it needs;
/// none if the text is not that of an object of Kubernetes.
pub fn stored(text: &str) -> Option<Value> {
    const TEXTS: [&str; 5] = ["name", "namespace", "uid", "resourceVersion", "deletionTimestamp"];
    let Pairs(top) = serde_json::from_str(text).ok()?;
    let (_, metadata) = top.into_iter().find(|(key, _)| key == "metadata")?;
    let Pairs(metadata) = pairs(metadata)?;
    let mut kept = Map::new();
    for (key, value) in metadata {
        let value = match &*key {
            "annotations" => {
                let mut annotations = Map::new();
                each_entry(value, |key, value| {
                    if TAKEN_OVER.contains(&&*key) {
                        // That it is there is all that counts.
                        annotations.insert(key.into_owned(), "".into());
                    } else if [CONTENT, HOLDER, CLAIM].contains(&&*key) && bytes(value) <= TEXT_BYTES {
                        annotations.insert(key.into_owned(), scalar(value));
                    }
                });
                annotations.into()
            }
            "ownerReferences" => {
                let mut owners = Vec::new();
                each_item(value, |owner| {
                    if owners.len() < MAX_OWNERS {
                        owners.extend(job(owner));
                    }
                });
                owners.into()
            }
            "finalizers" => {
                // That there is one is all that counts.
                let mut finalizers = Vec::new();
                each_item(value, |finalizer| {
                    if finalizers.is_empty() && bytes(finalizer) <= TEXT_BYTES {
                        finalizers.push(scalar(finalizer));
                    }
                });
                finalizers.into()
            }
            key if TEXTS.contains(&key) && bytes(value) <= TEXT_BYTES => scalar(value),
            _ => continue,
        };
        kept.insert(key.into_owned(), value);
    }
    Some(kept.into())
}

/// The reference to an owner, if that is a Job.
fn job(owner: &serde_json::value::RawValue) -> Option<Value> {
    const TEXTS: [&str; 4] = ["apiVersion", "kind", "name", "uid"];
    let Pairs(all) = pairs(owner)?;
    let read = all.into_iter().filter(|(key, value)| TEXTS.contains(&&**key) && bytes(value) <= TEXT_BYTES);
    let read: Map<String, Value> = read.map(|(key, value)| (key.into_owned(), scalar(value))).collect();
    (read.len() == TEXTS.len() && read["kind"] == "Job").then_some(read.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Kind;
    use crate::loan::{Found, JobId, Loan, Manifest};
    use crate::object::ObjectRef;
    use crate::testing::keys;

    fn owner(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": false})
    }

    #[test]
    fn what_an_object_is_to_a_run_is_the_same_cut_down_however_large_it_is() {
        let object = ObjectRef { kind: Kind::ConfigMap, namespace: "acme".into(), name: "shop".into() };
        let loan = Loan {
            object: object.clone(),
            manifest: Manifest::of(&json!({"metadata": {"annotations": {}}})),
            content: "sha256:0".into(),
        };
        let job = JobId { namespace: "acme", name: "run", uid: "uid-run" };
        let mut lent = loan.made_for(&job, &keys());
        lent["metadata"]["annotations"][CONTENT] = json!("sha256:0");
        let labels: Map<String, Value> = (0..100_000).map(|n| (format!("l{n}"), json!(""))).collect();
        lent["metadata"]["labels"] = labels.into();
        lent["metadata"]["resourceVersion"] = json!("7");
        lent["data"] = json!({"key": "value"});
        let mut taken_over = lent.clone();
        taken_over["metadata"]["annotations"][TAKEN_OVER[1]] = json!("{}".repeat(1000));
        let mut leaving = lent.clone();
        leaving["metadata"]["deletionTimestamp"] = json!("2026-05-28T14:00:00Z");
        let mut kept = lent.clone();
        kept["metadata"]["annotations"][CLAIM] = json!("v1.forged");
        for whole in [lent, taken_over, leaving, kept] {
            let cut = stored(&whole.to_string()).unwrap();
            assert!(cut.to_string().len() < 1024, "{cut}");
            assert_eq!(cut["resourceVersion"], "7");
            let found = |metadata: &Value| Found::of(&object, Some(metadata), &keys());
            assert_eq!(found(&cut), found(&whole["metadata"]));
        }
    }

    #[test]
    fn of_owners_only_jobs_count_and_so_many() {
        let mut owners: Vec<Value> = (0..1000).map(|n| owner("Job", &format!("j{n}"))).collect();
        owners.insert(0, owner("ReplicaSet", "r"));
        let cut = stored(&json!({"metadata": {"ownerReferences": owners}}).to_string()).unwrap();
        let names = cut["ownerReferences"].as_array().unwrap().iter().map(|owner| &owner["name"]);
        assert!(
            names.eq((0..MAX_OWNERS).map(|n| format!("j{n}")).collect::<Vec<_>>().iter().map(|n| n.as_str()))
        );
    }
}
