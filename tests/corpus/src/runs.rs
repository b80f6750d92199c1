//! The *runs* of a round are its Operations, some at a time, each until its end.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use testbed::Cluster;

use super::end::{End, Progress, Way, pod_waits};
use super::watch::Watch;

/// Operations that are under way at a time: most of a pod's life is waiting, but not all.
const AT_A_TIME: usize = 12;

/// How long a run may take. With all those beside it, it takes a few seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a run has to be blocked for the same reason until that is its end. What is just being made is there sooner.
const BLOCKED_FOR: Duration = Duration::from_secs(10);

/// A hook: the place of its record in the corpus, and its own in the record.
pub(super) type Place = (usize, usize);

/// What is to be run, and what is under way.
pub(super) struct Runs<'a> {
    cluster: &'a Cluster,
    watch: Watch<'a>,
    waiting: VecDeque<(Place, Value)>,
    /// By namespace and name.
    underway: HashMap<[String; 2], Run>,
}

/// One that is under way.
struct Run {
    place: Place,
    since: Instant,
    blocked: Option<(Instant, End)>,
    operation: Value,
}

impl<'a> Runs<'a> {
    /// These Operations, none of them made yet.
    pub(super) fn new(cluster: &'a Cluster, operations: Vec<(Place, Value)>) -> Result<Runs<'a>> {
        let watch = Watch::start(cluster)?;
        Ok(Runs { cluster, watch, waiting: operations.into(), underway: HashMap::new() })
    }

    /// Makes them and follows each to its end, of which `ended` is told.
    pub(super) fn play(mut self, mut ended: impl FnMut(Place, End)) -> Result<()> {
        while !self.waiting.is_empty() || !self.underway.is_empty() {
            if self.underway.len() <= AT_A_TIME / 2 {
                self.make(&mut ended)?;
            }
            if let Some(operation) = self.watch.next(self.until_next())? {
                self.see(operation, &mut ended);
            }
            self.give_up(&mut ended);
        }
        Ok(())
    }

    /// Makes as many as there may be under way.
    fn make(&mut self, ended: &mut impl FnMut(Place, End)) -> Result<()> {
        let room = (AT_A_TIME - self.underway.len()).min(self.waiting.len());
        let next: Vec<(Place, Value)> = self.waiting.drain(..room).collect();
        let refused = apply_each(self.cluster, next.iter().map(|(_, operation)| vec![operation]).collect())?;
        for ((place, operation), refused) in next.into_iter().zip(refused) {
            match refused {
                Some(message) => ended(place, End::new(Way::Failed, "not accepted", &message)),
                None => {
                    let run = Run { place, since: Instant::now(), blocked: None, operation };
                    self.underway.insert(key(&run.operation), run);
                }
            }
        }
        Ok(())
    }

    /// When the next one may have to be given up, if nothing is heard of it.
    fn until_next(&self) -> Duration {
        let now = Instant::now();
        let next = self.underway.values().map(|run| run.until().saturating_duration_since(now)).min();
        next.unwrap_or_default()
    }

    fn see(&mut self, operation: Value, ended: &mut impl FnMut(Place, End)) {
        let key = key(&operation);
        let Some(run) = self.underway.get_mut(&key) else { return };
        match Progress::of(&operation) {
            Progress::Over(end) => {
                ended(run.place, end);
                self.underway.remove(&key);
                return;
            }
            Progress::Blocked(end) => match &mut run.blocked {
                Some((_, known)) if known.reason == end.reason => *known = end,
                blocked => *blocked = Some((Instant::now(), end)),
            },
            Progress::Underway => run.blocked = None,
        }
        run.operation = operation;
    }

    /// Gives up those whose time is over. They are deleted, so that others get their room.
    fn give_up(&mut self, ended: &mut impl FnMut(Place, End)) {
        let now = Instant::now();
        for (key, run) in self.underway.extract_if(|_, run| run.until() <= now) {
            let end = match run.blocked {
                Some((_, end)) => end,
                None => End::new(Way::Stuck, "no end in time", &why(self.cluster, &run.operation)),
            };
            let [namespace, name] = key;
            let delete = ["delete", "operation", &name, "--namespace", &namespace, "--wait=false"];
            let _ = self.cluster.kubectl(&delete);
            ended(run.place, end);
        }
    }
}

impl Run {
    /// Until when it has time.
    fn until(&self) -> Instant {
        let last = self.since + PATIENCE;
        match &self.blocked {
            Some((since, end)) if !end.passes() => last.min(*since + BLOCKED_FOR),
            _ => last,
        }
    }
}

fn key(operation: &Value) -> [String; 2] {
    ["/metadata/namespace", "/metadata/name"]
        .map(|path| operation.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// What a run that does not end says of itself.
fn why(cluster: &Cluster, operation: &Value) -> String {
    let [namespace, _] = key(operation);
    let uid = operation.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let selector = format!("--selector=ops.vworkspace.io/operation={uid}");
    let pods = cluster.kubectl(&["get", "pods", "--namespace", &namespace, &selector, "--output=json"]);
    let pods: Value = pods.ok().and_then(|pods| serde_json::from_str(&pods).ok()).unwrap_or_default();
    let pods: Vec<String> = pods["items"].as_array().into_iter().flatten().map(pod_waits).collect();
    let status = operation.pointer("/status").cloned().unwrap_or_default();
    if pods.is_empty() { format!("it has no pod; its status is {status}") } else { pods.join("; ") }
}

/// Applies each of these groups of objects, all at once if the cluster takes them; of each that it does not take, why.
pub(super) fn apply_each(cluster: &Cluster, groups: Vec<Vec<&Value>>) -> Result<Vec<Option<String>>> {
    let all: Vec<&Value> = groups.iter().flatten().copied().collect();
    if all.is_empty() || apply(cluster, &all)?.is_none() {
        return Ok(vec![None; groups.len()]);
    }
    groups.iter().map(|group| apply(cluster, group)).collect()
}

/// Applies objects; gives back what the cluster has against it. What is unknown is left out as Helm's own client does, and
/// the whole is not kept in an annotation, which a large record would not fit into.
fn apply(cluster: &Cluster, objects: &[&Value]) -> Result<Option<String>> {
    let file = cluster.kubeconfig().with_file_name("objects.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, list.to_string())?;
    let file = format!("--filename={}", file.display());
    let applied =
        cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "--validate=ignore", &file]);
    Ok(applied.err().map(|error| error.to_string()))
}
