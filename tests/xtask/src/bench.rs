//! A *target* is a ratio that hookhost must reach against something everyone knows: Helm's own reading of a record, a
//! plain JSON round trip, `helm version`.
//!
//! Both sides of a ratio are measured in one run, in turns, so that the machine's mood touches both alike. A target that
//! is short is printed, not failed: whether a change is too slow is for people to judge.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testbed::{Helm, Programs};

use crate::demo;
use crate::policies::{self, Profile};
use crate::run::{cargo, command, output, say, step, target};

/// Turns of each side when the two sides are processes of their own.
const TURNS: usize = 40;

/// One line of a bench: a target or, without one, a figure.
struct Line {
    name: String,
    measured: String,
    /// What was measured and what it must not be above.
    target: Option<(f64, f64)>,
    /// Of both: "x" for a ratio.
    unit: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { name, measured, target, unit } = self;
        write!(f, "{name:<52} {measured:>24}")?;
        match target {
            Some((ratio, at_most)) => {
                write!(f, "  at most {at_most:.3}{unit}  {}", if ratio <= at_most { "ok" } else { "short" })
            }
            None => Ok(()),
        }
    }
}

type Bench = fn() -> Result<Vec<Line>>;

/// The benches, by the name that `cargo xtask bench NAME` takes.
const BENCHES: [(&str, Bench); 5] = [
    ("decision", decision),
    ("record", record),
    ("plan", plan),
    ("controller", controller),
    ("hostile", hostile),
];

/// Measures one bench, or all.
#[expect(clippy::print_stdout, reason = "the lines are this task's result")]
pub(crate) fn bench(only: Option<&str>) -> Result<()> {
    let wanted: Vec<_> = BENCHES.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if wanted.is_empty() {
        bail!(
            "there is no bench {}; there are {}",
            only.unwrap_or_default(),
            BENCHES.map(|(name, _)| name).join(", ")
        );
    }
    for (_, measure) in wanted {
        for line in measure()? {
            println!("{line}");
        }
    }
    Ok(())
}

/// One decision in the sandbox, against a reused instance, an ordinary allocator and a plain JSON round trip.
fn decision() -> Result<Vec<Line>> {
    policies::build(Profile::Release)?;
    say("── measure decisions");
    let mut bench = cargo();
    bench
        .args(["bench", "--quiet", "--package", "hookhost-sandbox", "--bench", "decision", "--"])
        .arg(policies::dir());
    let printed = output(bench.stderr(Stdio::inherit()))?;
    printed.lines().filter(|line| line.starts_with('{')).map(parse).collect()
}

/// A line of a bench program: `{"name", "measured", "atMost"}` or `{"name", "p50Micros", "p99Micros"}`.
fn parse(line: &str) -> Result<Line> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("not a bench's line: {line}"))?;
    let number = |key| value.get(key).and_then(Value::as_f64);
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match (number("measured"), number("atMost"), number("p50Micros"), number("p99Micros")) {
        (Some(measured), Some(at_most), ..) => {
            let unit = value.get("unit").and_then(Value::as_str).unwrap_or("x").to_owned();
            Ok(Line {
                name,
                measured: format!("{measured:.3}{unit}"),
                target: Some((measured, at_most)),
                unit,
            })
        }
        (.., Some(p50), Some(p99)) => {
            let measured = format!("{p50:.1} µs, p99 {p99:.1}");
            Ok(Line { name, measured, target: None, unit: String::new() })
        }
        _ => bail!("not a bench's line: {line}"),
    }
}

/// The controller on a real cluster: how soon it acts, what it writes, what it holds, and that it is quiet when idle.
fn controller() -> Result<Vec<Line>> {
    crate::cluster::programs_for(crate::cluster::whole())?;
    of_cluster("measure the controller (minutes)", "controller")
}

/// The controller under what hostile users and charts can do, within the chart's limits. Needs root, for the limits.
fn hostile() -> Result<Vec<Line>> {
    if !testbed::is_root() {
        say("without root a process cannot be held to limits, so hostile loads are not measured");
        return Ok(Vec::new());
    }
    crate::cluster::programs_for(crate::cluster::whole())?;
    let mut lines = of_cluster("put hostile loads on the controller (minutes)", "hostile")?;
    lines.push(namespaces()?);
    Ok(lines)
}

/// How often a namespace is deleted in the middle of runs: the test run has no time for so many.
const NAMESPACES: u32 = 20;

/// The end-to-end test of namespaces that are deleted in the middle of runs, by itself and with all its rounds.
fn namespaces() -> Result<Line> {
    policies::build(Profile::Dev)?;
    let test = "rights::a_namespace_that_is_deleted_while_ten_hooks_run_is_gone_within_half_a_minute";
    let mut rounds = cargo();
    rounds.args(["test", "--workspace", "--test", "e2e", "--quiet", "--", "--exact", "--nocapture", test]);
    step(
        &format!("delete {NAMESPACES} namespaces, one after the other, in the middle of runs"),
        rounds.env("HOOKHOST_E2E_NAMESPACES", NAMESPACES.to_string()),
    )?;
    Ok(Line {
        name: "namespaces with ten runs gone within half a minute".to_owned(),
        measured: format!("{NAMESPACES} of {NAMESPACES}"),
        target: None,
        unit: String::new(),
    })
}

/// A bench program of the end-to-end tests, with the hookhost of the same profile.
fn of_cluster(what: &str, name: &str) -> Result<Vec<Line>> {
    policies::build(Profile::Release)?;
    say(&format!("── {what}"));
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "e2e", "--bench", name]);
    let printed = output(bench.stderr(Stdio::inherit()))?;
    printed.lines().filter(|line| line.starts_with('{')).map(parse).collect()
}

/// Listing the hooks of a large record, against Helm's own Go package decoding the same record.
fn record() -> Result<Vec<Line>> {
    let programs = Programs::build(say)?;
    say("── measure reading a record");
    let record = target().join("large-record.yaml");
    step("make a record near the limit of a Secret", record_bench().arg("make").arg(&record))?;
    let (mut ours, mut helms) = (Vec::new(), Vec::new());
    // In turns, since each side is a process: what slows one slows its neighbour.
    for _ in 0..5 {
        ours.push(median_ns(&output(record_bench().arg(&record).stderr(Stdio::inherit()))?)?);
        helms.push(median_ns(&output(command(programs.helmread()).arg("bench").arg(&record).arg("15"))?)?);
    }
    let (ours, helms) = (median(ours), median(helms));
    let mut lines = pair("hooks of a large record listed", "Helm's Go package decoding it", ours, helms, 0.2);
    // Both are of one process and one record, one after the other.
    let printed = output(record_bench().arg("many").stderr(Stdio::inherit()))?;
    let (decode, closure) = (field_ns(&printed, "median_ns")?, field_ns(&printed, "closure_median_ns")?);
    lines.extend(pair(
        "closure of a hook among 200",
        "listing the 200 from their record",
        closure,
        decode,
        1.0,
    ));
    Ok(lines)
}

/// hookhost-core's bench of one record; what it is to do follows as arguments.
fn record_bench() -> Command {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "hookhost-core", "--bench", "record", "--"]);
    bench
}

fn median_ns(printed: &str) -> Result<Duration> {
    field_ns(printed, "median_ns")
}

fn field_ns(printed: &str, field: &str) -> Result<Duration> {
    let last = printed.lines().rfind(|line| line.starts_with('{')).context("a bench printed no result")?;
    let value: Value = serde_json::from_str(last)?;
    let ns = value.get(field).and_then(Value::as_f64);
    let ns = ns.with_context(|| format!("a bench printed no {field}"))?;
    Ok(Duration::from_secs_f64(ns / 1e9))
}

/// `hookhost plan` with three policies as a whole process, warm, against `helm version`.
fn plan() -> Result<Vec<Line>> {
    let hookhost = policies::build(Profile::Release)?;
    let programs = Programs::build(say)?;
    say("── measure whole processes");
    let plan = || {
        let mut plan = command(&hookhost);
        plan.args(demo::plan_args());
        plan
    };
    let helm = || {
        let mut helm = command(programs.helm(Helm::Four));
        helm.arg("version");
        helm
    };
    let (mut ours, mut helms) = (Vec::new(), Vec::new());
    // The first turn warms the caches of both.
    for turn in 0..=TURNS {
        let (a, b) = (timed(plan())?, timed(helm())?);
        if turn > 0 {
            ours.push(a);
            helms.push(b);
        }
    }
    Ok(pair("hookhost plan, three policies", "helm version", median(ours), median(helms), 1.0))
}

fn timed(mut command: Command) -> Result<Duration> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed();
    if !status.success() {
        bail!("{} failed ({status})", crate::run::line(&command));
    }
    Ok(took)
}

/// The two sides of a ratio and the ratio.
fn pair(ours: &str, theirs: &str, our_time: Duration, their_time: Duration, at_most: f64) -> Vec<Line> {
    let figure = |name: &str, time: Duration| Line {
        name: name.to_owned(),
        measured: format!("{time:.2?}"),
        target: None,
        unit: String::new(),
    };
    let ratio = our_time.as_secs_f64() / their_time.as_secs_f64();
    let name = format!("{ours} / {theirs}");
    vec![
        figure(ours, our_time),
        figure(theirs, their_time),
        Line { name, measured: format!("{ratio:.3}x"), target: Some((ratio, at_most)), unit: "x".to_owned() },
    ]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
