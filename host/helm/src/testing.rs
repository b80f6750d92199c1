//! What the tests of several modules build on; those of the crate hookhost-core include this file.

use hookhost_helm::hook::{Hook, check};
use hookhost_helm::record::{LastRun, StoredHook};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// A hook that Helm ran before an upgrade, as if listed of a release in `release_namespace`.
pub(crate) fn hook(manifest: Value, release_namespace: &str) -> Hook {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = Some(text("/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    let namespace = own.unwrap_or_else(|| release_namespace.to_owned());
    Hook {
        is_elsewhere: namespace != release_namespace,
        namespace,
        name: text("/metadata/name"),
        kind: text("/kind"),
        api_version: text("/apiVersion"),
        path: "shop/templates/hooks.yaml".to_owned(),
        events: vec!["pre-upgrade".to_owned()],
        weight: 0,
        delete_policies: Vec::new(),
        last_run: LastRun::default(),
        runnable: check(&manifest),
        manifest: manifest.into(),
    }
}

/// A hook as Helm stored it, which Helm runs before an upgrade.
pub(crate) fn stored_hook(name: &str, kind: &str, manifest: impl Into<String>) -> StoredHook {
    StoredHook {
        name: name.to_owned(),
        kind: kind.to_owned(),
        path: format!("shop/templates/{name}.yaml"),
        events: vec!["pre-upgrade".to_owned()],
        weight: 0,
        delete_policies: Vec::new(),
        last_run: LastRun::default(),
        manifest: manifest.into(),
    }
}

/// Any JSON, a few levels deep, with these texts and keys.
pub(crate) fn any_json(
    texts: impl Strategy<Value = String> + 'static,
    keys: impl Strategy<Value = String> + Clone + 'static,
) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        // One beyond 63 bits becomes a float on its way to the API server.
        any::<i64>().prop_map(Value::from),
        // A whole float reads as an integer: so do Kubernetes and JSON see it.
        any::<f64>()
            .prop_filter("finite, not whole", |f| f.is_finite() && f.fract() != 0.0)
            .prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let entries = prop::collection::vec((keys.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            entries.prop_map(|entries| Value::Object(Map::from_iter(entries))),
        ]
    })
}
