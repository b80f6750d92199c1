//! The *load*: so many Operations a second for so long, each for a hook of its own, on a cluster in which no pod runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use e2e::Host;
use futures::StreamExt;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::{Options, Programs};
use tokio::task::JoinSet;

use crate::audit::Audit;
use crate::{
    PATIENCE, QUIET, Result, Site, UNLIMITED, figure, operation, percentile, release_name, say, target,
};

/// Releases, and hooks of each. Each hook is run once, since while it runs it would wait for itself.
const RELEASES: usize = 100;
const HOOKS: usize = 20;
const OPERATIONS: usize = RELEASES * HOOKS;
/// From one Operation to the next: 50 a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Operations for each bare Job, which comes in the middle between two of them.
const PER_BARE_JOB: usize = 5;
/// The median and the 99th percentile that are allowed, as multiples of a bare Job's.
const MAX_RATIOS: [(usize, f64); 2] = [(50, 2.0), (99, 5.0)];
/// hookhost's memory that is allowed, in MiB.
const MAX_MEMORY: f64 = 100.0;
/// How long hookhost is looked at once it is idle.
const IDLE: Duration = Duration::from_secs(20);

/// Puts the load on hookhost and prints how it took it.
pub(crate) fn measure(programs: &Programs) -> Result<()> {
    let values = json!({"hooks": {"ok": {"script": "echo done", "spares": HOOKS - 1}}});
    let site = Site::new(Options::controllers(), programs, "load", RELEASES, &values)?;
    let Site { cluster, runtime, .. } = &site;
    let apis = Apis {
        operations: site.api("ops.vworkspace.io", "v1alpha1", "Operation", "operations"),
        jobs: site.api("batch", "v1", "Job", "jobs"),
    };
    let mut host = Host::as_admin(cluster, &["--log-level=info", "--lease-namespace=default"], UNLIMITED);
    let is_ready = || host.log().contains("\"msg\":\"ready\"").then_some(());
    cluster.eventually("hookhost is ready", PATIENCE, is_ready)?;

    say("── make Operations");
    let Times { ours, ours_from_sent, bare } = runtime.block_on(apis.load())?;
    figure("Operation's create answered until its Job is seen", &ours)?;
    figure("Operation's create sent until its Job is seen", &ours_from_sent)?;
    figure("bare Job's create sent until it is seen", &bare)?;
    for (percent, at_most) in MAX_RATIOS {
        let ratio = percentile(&ours, percent).as_secs_f64() / percentile(&bare, percent).as_secs_f64();
        target(&format!("Operation to Job / bare Job, {percent}th percentile"), ratio, at_most, "x")?;
    }
    let without = runtime.block_on(apis.without_their_job())?;
    target(&format!("of {OPERATIONS} Operations, without their one Job"), without as f64, 0.0, "")?;

    say("── wait until all is said, then watch it idle");
    let mut audit = Audit::new(cluster)?;
    let mut quiet_since = Instant::now();
    cluster.eventually("hookhost has nothing to do", PATIENCE, || {
        let is_quiet = audit.read().is_ok_and(|requests| requests.iter().all(|request| request.is_idle()));
        if !is_quiet {
            quiet_since = Instant::now();
        }
        (quiet_since.elapsed() > QUIET).then_some(())
    })?;
    std::thread::sleep(IDLE);
    let requests = audit.read()?;
    for request in requests.iter().filter(|request| !request.is_idle()).take(3) {
        say(&format!("not idle: {request}"));
    }
    let per_second = requests.iter().filter(|request| !request.is_idle()).count() as f64 / IDLE.as_secs_f64();
    target("requests a second when idle, but watches and the Lease", per_second, 0.0, "")?;
    target("hookhost's memory, at most", most_memory(&host)?, MAX_MEMORY, " MiB")?;
    host.terminate(cluster);
    Ok(())
}

/// The most memory that hookhost ever had, in MiB.
fn most_memory(host: &Host) -> Result<f64> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{}/status", host.pid())))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// When each Job was seen, by its name.
type Seen = Arc<Mutex<HashMap<String, Instant>>>;

/// When something was asked for, and when that was answered.
struct Asked {
    name: String,
    sent: Instant,
    answered: Instant,
}

/// Times that were measured, sorted.
struct Times {
    /// From the answer to the create of an Operation until its Job was seen.
    ours: Vec<Duration>,
    /// From the request for it.
    ours_from_sent: Vec<Duration>,
    /// From the request for a bare Job until it was seen.
    bare: Vec<Duration>,
}

/// What the load makes.
#[derive(Clone)]
struct Apis {
    operations: Api<DynamicObject>,
    jobs: Api<DynamicObject>,
}

impl Apis {
    /// Makes the Operations, and bare Jobs in between, and waits until every Job was seen.
    async fn load(&self) -> Result<Times> {
        let (seen, watcher) = self.watch().await?;
        let bare_job = bare_job();
        let (mut operations, mut jobs) = (JoinSet::new(), JoinSet::new());
        let begin = tokio::time::Instant::now();
        for number in 0..OPERATIONS {
            let at = begin + PAUSE * u32::try_from(number)?;
            tokio::time::sleep_until(at).await;
            let object = operation(
                &format!("run-{number}"),
                &release_name(number % RELEASES),
                &hook(number / RELEASES),
            );
            operations.spawn(create(self.operations.clone(), object));
            if number % PER_BARE_JOB == 0 {
                let mut object = bare_job.clone();
                object["metadata"]["name"] = format!("bare-{number}").into();
                tokio::time::sleep_until(at + PAUSE / 2).await;
                jobs.spawn(create(self.jobs.clone(), object));
            }
        }
        let operations: Vec<Asked> = operations.join_all().await.into_iter().collect::<Result<_>>()?;
        let jobs: Vec<Asked> = jobs.join_all().await.into_iter().collect::<Result<_>>()?;
        let all = operations.len() + jobs.len();
        let count = || seen.lock().unwrap_or_else(PoisonError::into_inner).len();
        let waiting = Instant::now();
        while count() < all && waiting.elapsed() < PATIENCE && !watcher.is_finished() {
            tokio::time::sleep(PAUSE).await;
        }
        watcher.abort();
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let until_seen = |asked: &[Asked], from: fn(&Asked) -> Instant| {
            let mut times: Vec<Duration> = asked
                .iter()
                .filter_map(|one| Some(seen.get(&one.name)?.saturating_duration_since(from(one))))
                .collect();
            times.sort_unstable();
            times
        };
        Ok(Times {
            ours: until_seen(&operations, |asked| asked.answered),
            ours_from_sent: until_seen(&operations, |asked| asked.sent),
            bare: until_seen(&jobs, |asked| asked.sent),
        })
    }

    /// Notes when each Job is there first, in a task of its own.
    async fn watch(&self) -> Result<(Seen, tokio::task::JoinHandle<()>)> {
        let seen = Seen::default();
        let from = self.jobs.list_metadata(&ListParams::default()).await?;
        let from = from.metadata.resource_version.unwrap_or_default();
        let events = self.jobs.watch_metadata(&WatchParams::default(), &from).await?;
        let noting = seen.clone();
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(event)) = events.next().await {
                if let WatchEvent::Added(job) = event {
                    let now = Instant::now();
                    noting.lock().unwrap_or_else(PoisonError::into_inner).insert(job.name_any(), now);
                }
            }
        });
        Ok((seen, task))
    }

    /// How many Operations have not exactly one Job, by the label on it.
    async fn without_their_job(&self) -> Result<usize> {
        let mut jobs: HashMap<String, usize> = HashMap::new();
        for job in self.jobs.list_metadata(&ListParams::default()).await?.items {
            if let Some(of) = job.labels().get("ops.vworkspace.io/operation") {
                *jobs.entry(of.clone()).or_default() += 1;
            }
        }
        let operations = self.operations.list_metadata(&ListParams::default()).await?;
        let has_one = |operation: &PartialObjectMeta<DynamicObject>| {
            operation.uid().and_then(|uid| jobs.get(&uid).copied()) == Some(1)
        };
        let with = operations.items.iter().filter(|operation| has_one(operation)).count();
        Ok(OPERATIONS - with)
    }
}

/// Creates an object, by the clock.
async fn create(api: Api<DynamicObject>, object: Value) -> Result<Asked> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let sent = Instant::now();
    api.create(&PostParams::default(), &object).await?;
    Ok(Asked { name: object.name_any(), sent, answered: Instant::now() })
}

/// A Job like those that hookhost makes of the hook, for nobody.
fn bare_job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"labels": {"bench": "bare"}},
        "spec": {
            "backoffLimit": 1, "activeDeadlineSeconds": 1800, "ttlSecondsAfterFinished": 86400,
            "template": {
                "metadata": {"labels": {"app": "shop-0"}},
                "spec": {
                    "serviceAccountName": "shop-0", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "main", "image": "localhost/busybox:1", "command": ["sh", "-c", "echo done"],
                        "env": [
                            {"name": "RELEASE", "valueFrom": {"configMapKeyRef": {"name": "shop-0", "key": "release"}}},
                            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop-0", "key": "password"}}},
                        ],
                    }],
                },
            },
        },
    })
}

/// The name of a hook of a release, without the release's.
fn hook(number: usize) -> String {
    if number == 0 { "ok".to_owned() } else { format!("ok-spare-{number}") }
}
