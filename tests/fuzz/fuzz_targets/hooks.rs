//! Any text is a hook's manifest: its objects are listed, those that can be run become a Job, and the Job reads back the
//! same from the YAML that a person is shown.
#![no_main]

use std::sync::LazyLock;

use hookhost_core::operation::Operation;
use hookhost_helm::record::Record;
use hookhost_core::request::{Inputs, Release, Request, Target};
use hookhost_helm::yaml;
use hookhost_core::plan;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// Objects of one manifest that are planned.
const PLANNED: usize = 8;

static OPERATION: LazyLock<Operation> = LazyLock::new(|| {
    let operation = json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
        "metadata": {"name": "migrate-now", "namespace": "shop", "uid": "4f6a2c1e-7d5b-4a7e-9b0c-1c2d3e4f5a6b"},
        "spec": {
            "targetRef": {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "shop"},
            "type": "Migration", "engine": "helmHookJob", "parameters": {"hookName": "shop-migrate"},
        },
    });
    Operation::from_json(operation).expect("a good Operation")
});

/// The record of a release with a hook of this manifest, as Helm stores it.
fn record(manifest: &str) -> Option<Record> {
    let hook = json!({
        "name": "shop-migrate", "kind": "Job", "path": "shop/templates/migrate.yaml", "manifest": manifest,
        "events": ["pre-upgrade"],
    });
    let release = json!({
        "name": "shop", "namespace": "shop", "version": 1, "info": {"status": "deployed"}, "hooks": [hook],
        "chart": {"metadata": {"name": "shop", "version": "1.0.0"}},
    });
    // Only one that is too large is none.
    Record::read(release.to_string().as_bytes()).ok()
}

fuzz_target!(|manifest: &str| {
    let Some(record) = record(manifest) else { return };
    let hooks = record.hooks();
    for hook in hooks.iter().take(PLANNED) {
        let request = Request::build(Inputs {
            operation: &OPERATION,
            approved_by: None,
            target: Target::default(),
            release: Release::from(&record),
            hook,
            hooks: &hooks,
            organisation: "acme".into(),
            cluster_id: "c1".into(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
        });
        let Ok(plan) = request.map_err(drop).and_then(|request| plan::plan(&request, &[]).map_err(drop))
        else {
            continue;
        };
        let _ = plan.to_json();
        if let Some(job) = &plan.job {
            assert_eq!(yaml::read_one(&yaml::write(job)).as_ref(), Ok(job));
        }
    }
});
