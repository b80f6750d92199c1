//! `hookhost policy bench`: what an evaluation of a policy takes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use hookhost_core::Request;
use hookhost_helm::yaml;
use hookhost_sandbox::{Compiler, PreparedRequest, Sandbox};
use serde::Serialize;

use crate::exit::{Format, Outcome};
use crate::output::{self, Table};
use crate::policies;

/// The request that is used where none is given: a migration hook of a small chart.
const EXAMPLE: &str = include_str!("../../templates/request.yaml");

/// How long evaluations are repeated: enough for thousands of them, short for the person who waits.
const DURATION: Duration = Duration::from_secs(1);
/// Evaluations that are kept at most; bounds the memory of a very fast policy's bench.
const MOST: usize = 200_000;
/// Evaluations before the first that counts: the caches of the processor and of the sandbox fill.
const WARM_UP: usize = 50;

/// Measure what an evaluation takes: time, instructions, memory
///
/// Each evaluation is made as a host makes it, in a fresh instance. Times depend on this machine; fuel (instructions
/// executed) and peak memory do not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy bench target/policies/deadline-cap.wasm
  hookhost policy bench deadline-cap.wasm --request request.yaml --settings settings.yaml -o json")]
pub(crate) struct Args {
    /// The policy's file, or the name of a stock policy
    #[arg(value_name = "FILE.wasm|NAME")]
    policy: PathBuf,
    /// The request as YAML or JSON [default: one of a small chart's migration]
    #[arg(short, long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The policy's settings as YAML or JSON [default: none]
    #[arg(short, long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How to print the figures
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// What an evaluation takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    evaluations: usize,
    p50_micros: f64,
    p99_micros: f64,
    fuel: u64,
    peak_memory_bytes: usize,
    size_bytes: usize,
}

/// Measures and prints.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { policy, request, settings, output } = args;
    let settings = policies::settings(settings.as_ref())?;
    let request = match request {
        Some(path) => policies::request(&path)?,
        None => policies::typed(yaml::read_one(EXAMPLE)?, "the example request")?,
    };
    let figures = measure(&policy, &request, &settings)?;
    match output {
        Format::Json => output::json(&figures)?,
        Format::Table => {
            let Figures { evaluations, p50_micros, p99_micros, fuel, peak_memory_bytes, size_bytes } =
                figures;
            let mut table = Table::new(&["P50", "P99", "FUEL", "PEAK MEMORY", "SIZE", "EVALUATIONS"]);
            table.row([
                &format!("{p50_micros:.1} µs"),
                &format!("{p99_micros:.1} µs"),
                &fuel.to_string(),
                &format!("{} KiB", peak_memory_bytes.div_ceil(1024)),
                &format!("{} KiB", size_bytes.div_ceil(1024)),
                &evaluations.to_string(),
            ]);
            output::result(&table.render())?;
        }
    }
    Ok(Outcome::Done)
}

fn measure(path: &Path, request: &Request, settings: &str) -> Result<Figures> {
    let name = path.display().to_string();
    let failed = |error: hookhost_sandbox::Error| {
        policies::logs(error.logs());
        policies::problem(format!("{name} gave no decision"), error)
    };
    let setup = |error| policies::problem("cannot make the sandbox", error);
    let prepared =
        PreparedRequest::new(request).map_err(|error| policies::problem("cannot ask a policy", error))?;

    let metered = policies::cached(Sandbox::metered(Compiler::this_program()).map_err(setup)?);
    let (policy, wasm) = policies::load(&metered, path)?;
    policies::check_settings(&policy, &name, settings)?;
    let cost = policy.evaluate(&prepared, settings).map_err(failed)?.cost;

    let pooled = policies::cached(Sandbox::new(Compiler::this_program()).map_err(setup)?);
    let (policy, _) = policies::load(&pooled, path)?;
    for _ in 0..WARM_UP {
        policy.evaluate(&prepared, settings).map_err(failed)?;
    }
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < DURATION && times.len() < MOST {
        let before = Instant::now();
        policy.evaluate(&prepared, settings).map_err(failed)?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| {
        let time = times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        time.map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Ok(Figures {
        evaluations: times.len(),
        p50_micros: at(50),
        p99_micros: at(99),
        fuel: cost.fuel.unwrap_or_default(),
        peak_memory_bytes: cost.peak_memory,
        size_bytes: wasm.len(),
    })
}
