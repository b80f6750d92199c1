//! Release records as Helm stores them, for releases that nobody installed.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::world::{World, ok};

/// A hook: name, kind and manifest.
pub(super) struct Hook {
    name: String,
    kind: &'static str,
    manifest: String,
}

impl Hook {
    /// A Job that does nothing.
    pub(super) fn job(name: &str) -> Hook {
        let manifest = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {{template: {{spec: {{restartPolicy: Never, \
             containers: [{{name: main, image: localhost/busybox:1, command: [\"true\"]}}]}}}}}}\n"
        );
        Hook { name: name.to_owned(), kind: "Job", manifest }
    }

    /// An object that a few kilobytes hold and that fills memory once it is read: a list of so many short words.
    pub(super) fn list(name: &str, elements: usize) -> Hook {
        let list = vec!["a"; elements].join(",");
        let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\nx: [{list}]\n");
        Hook { name: name.to_owned(), kind: "ConfigMap", manifest }
    }
}

/// Stores the record of a plain release with these hooks, deployed; gives back the bytes that are stored.
pub(super) fn store(world: &World, namespace: &str, release: &str, hooks: &[Hook]) -> usize {
    let time = "2026-05-28T14:00:00Z";
    let hooks: Vec<Value> = hooks
        .iter()
        .map(|hook| {
            json!({"name": hook.name, "kind": hook.kind, "path": "shop/templates/hooks.yaml", "manifest": hook.manifest,
                "events": ["pre-rollback"], "weight": 0, "delete_policies": ["before-hook-creation"]})
        })
        .collect();
    let record = json!({
        "name": release, "namespace": namespace, "version": 1, "manifest": "", "hooks": hooks,
        "info": {"status": "deployed", "first_deployed": time, "last_deployed": time},
        "chart": {"metadata": {"name": "shop", "version": "1.0.0", "apiVersion": "v2"}},
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    ok(gzip.write_all(record.to_string().as_bytes()));
    let stored = STANDARD.encode(ok(gzip.finish()));
    let labels = json!({"owner": "helm", "name": release, "version": "1", "status": "deployed"});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": format!("sh.helm.release.v1.{release}.v1"), "labels": labels},
        "data": {"release": STANDARD.encode(&stored)},
    });
    world.apply(namespace, &secret);
    stored.len()
}
