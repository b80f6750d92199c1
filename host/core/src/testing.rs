//! What the tests of several modules build on.

use hookhost_helm::record::StoredHook;
use hookhost_helm::record::{Chart, Record};
use hookhost_helm::status::Status;
use serde_json::{Value, json};

use crate::claim::{KEY_BYTES, Key, Keys};

#[path = "../../helm/src/testing.rs"]
mod of_helm;

pub(crate) use of_helm::{any_json, hook, stored_hook};

/// The record of revision 1 of the release "shop" in the namespace "shop", with these hooks.
pub(crate) fn record(stored_hooks: Vec<StoredHook>) -> Record {
    Record {
        name: "shop".to_owned(),
        namespace: "shop".to_owned(),
        revision: 1,
        status: Status::Deployed,
        first_deployed: None,
        last_deployed: None,
        deleted: None,
        chart: Chart::default(),
        stored_hooks,
    }
}

/// Keys of claims.
pub(crate) fn keys() -> Keys {
    let current = Key::new(&[7; KEY_BYTES]).unwrap_or_else(|| unreachable!("as many bytes as a key has"));
    Keys { current, previous: None }
}

/// The Operation of the spec's worked example, not created yet.
pub(crate) fn spec_operation() -> Value {
    json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": "nextcloud-myteam-pre-upgrade-2026-05-28", "namespace": "org-myteam"},
        "spec": {
            "targetRef": {
                "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "nextcloud-myteam"
            },
            "type": "Migration",
            "engine": "helmHookJob",
            "parameters": {"hookName": "nextcloud-myteam-pre-upgrade", "activeDeadlineSeconds": 1800, "backoffLimit": 1}
        }
    })
}
