//! What hookhost's controller costs, on a real cluster, in two parts; an argument names one of them.
//!
//! `load`, with 50 Operations a second and no kubelet, so that none ends:
//! - *latency*: from the answer to an Operation's create until a watcher sees its Job, against bare Jobs like it that are
//!   created meanwhile (from their request until the same watcher sees them);
//! - *memory*: the most that hookhost ever had, with all those Operations in flight;
//! - *idleness*: requests of hookhost once nothing happens any more, from the API server's own audit log.
//!
//! `run`, with real containers:
//! - *writes* to the API server for one Operation, from the same log.
//!
//! `hookhost` is the one beside this bench: build it first, with the same profile. Prints JSON, a line for each target
//! (`name`, `measured`, `atMost`, and a `unit` where it is no ratio) and each figure (`name`, `p50Micros`, `p99Micros`).

#[path = "controller/audit.rs"]
mod audit;
#[path = "controller/load.rs"]
mod load;
#[path = "controller/run.rs"]
mod run;

use std::io::Write;
use std::time::{Duration, Instant};

use e2e::{GATE, Release, furnish, hookhost, release_yaml, source_yaml};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use testbed::{Cluster, Options, Programs};
use tokio::runtime::Runtime;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The source of the chart.
const SOURCE: &str = "shop";
/// Why the hosts of this bench are not as the chart installs them.
const UNLIMITED: &str =
    "a figure is of hookhost, not of a limit; without root there are no cgroups to limit it";
/// How long nothing must have happened for something to count as at rest.
const QUIET: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let programs = Programs::build(say)?;
    testbed::isolate()?;
    if is_wanted("load") {
        load::measure(&programs)?;
    }
    if is_wanted("run") && testbed::is_root() {
        run::measure(&programs)?;
    } else if is_wanted("run") {
        say("without root no pod runs, so the writes of a run are not counted");
    }
    Ok(())
}

/// A cluster with hookhost's CRDs and releases of the chart by Flux, each with an ApplicationInstance, in a gated namespace
/// of their own.
struct Site {
    cluster: Cluster,
    namespace: String,
    runtime: Runtime,
    client: kube::Client,
}

impl Site {
    /// One with so many releases. Its logs are in a folder of this name.
    fn new(options: Options, programs: &Programs, name: &str, count: usize, values: &Value) -> Result<Site> {
        let options = options.with_registry().with_flux().with_audit();
        // Beside the binaries; a path without "..", which Flux cannot cope with.
        let cluster = options.start(programs, &hookhost().with_file_name(format!("bench-{name}")))?;
        furnish(&cluster).map_err(|error| error.to_string())?;
        let namespace = cluster.namespace("bench")?;
        cluster.kubectl(&["label", "namespace", &namespace, GATE])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let client = runtime.block_on(connect(&cluster))?;
        let site = Site { cluster, namespace, runtime, client };
        say("── make releases");
        let wait = |what: [&str; 2]| {
            let args = [&["wait", "--for=condition=Ready", "--timeout=120s"][..], &what].concat();
            site.cluster.kubectl(&[&args[..], &["--namespace", &site.namespace]].concat())
        };
        // First the source: a HelmRelease that has to wait for it is looked at once more half a minute later.
        site.cluster.apply(&site.namespace, &source_yaml(SOURCE))?;
        wait(["ocirepository", SOURCE])?;
        let releases: Vec<_> =
            (0..count).map(|number| Release::new(&site.namespace, &release_name(number))).collect();
        let yaml = releases.iter().map(|release| release_yaml(release, SOURCE, values));
        site.cluster.apply(&site.namespace, &yaml.collect::<String>())?;
        for release in &releases {
            site.runtime.block_on(site.make_instance(release))?;
        }
        wait(["helmrelease", "--all"])?;
        site.runtime.block_on(site.settled())?;
        Ok(site)
    }

    /// Waits until Flux leaves its HelmReleases alone, which is a little after they are ready.
    async fn settled(&self) -> Result<()> {
        let api = self.api("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases");
        let begin = Instant::now();
        let (mut versions, mut since) = (Vec::new(), begin);
        while since.elapsed() < QUIET {
            if begin.elapsed() > PATIENCE {
                return Err("Flux does not come to rest".into());
            }
            let now = api.list_metadata(&ListParams::default()).await?.items;
            let now: Vec<_> = now.into_iter().map(|object| object.metadata.resource_version).collect();
            if now != versions {
                (versions, since) = (now, Instant::now());
            }
            tokio::time::sleep(QUIET / 10).await;
        }
        Ok(())
    }

    /// Objects of a kind in the namespace.
    fn api(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Makes the ApplicationInstance of a release, with the status that its operator would give it.
    async fn make_instance(&self, release: &Release) -> Result<()> {
        let Release { namespace, name, instance } = release;
        let object = serde_json::from_value(json!({
            "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance",
            "metadata": {"name": instance, "annotations": {"ops.vworkspace.io/migration": "helmHookJob"}},
            "spec": {
                "appRef": {"catalogId": "shop"},
                "chart": {"sourceType": "oci", "url": "oci://charts.example/shop", "name": "shop", "version": "1.0.0"},
                "release": {"name": name, "namespace": namespace},
            },
        }))?;
        let status = json!({"status": {
            "helmReleaseRef": {"name": name, "namespace": namespace},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Reconciled", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        let api = self.api("apps.vworkspace.io", "v1alpha1", "ApplicationInstance", "applicationinstances");
        api.create(&PostParams::default(), &object).await?;
        api.patch_status(instance, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }
}

/// A client of this bench's own, whose requests are not taken for hookhost's.
async fn connect(cluster: &Cluster) -> Result<kube::Client> {
    hookhost_cluster::client::install_crypto();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

fn release_name(number: usize) -> String {
    format!("shop-{number}")
}

/// An Operation on a hook of the chart, in the spec's shape.
fn operation(name: &str, release: &str, hook: &str) -> Value {
    json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": release},
            "type": "Migration", "engine": "helmHookJob",
            "parameters": {"hookName": format!("{release}-{hook}"), "activeDeadlineSeconds": 1800, "backoffLimit": 1},
        },
    })
}

/// Prints a target: what was measured, in `unit`, and what it must not be above.
fn target(name: &str, measured: f64, at_most: f64, unit: &str) -> Result<()> {
    print(&json!({"name": name, "measured": measured, "atMost": at_most, "unit": unit}))
}

/// Prints a figure: median and 99th percentile of these times.
fn figure(name: &str, times: &[Duration]) -> Result<()> {
    let micros = |percent| percentile(times, percent).as_secs_f64() * 1e6;
    print(&json!({"name": name, "p50Micros": micros(50), "p99Micros": micros(99)}))
}

/// The time that so many percent of these, which are sorted, are not above.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn print(line: &Value) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

#[expect(clippy::print_stderr, reason = "for the person who waits")]
fn say(line: &str) {
    eprintln!("{line}");
}
