//! A *differential* run reads many texts with hookhost and with Helm's own packages (helmread), and tells where the two
//! differ: one refuses what the other reads, or reads another value.
//!
//! The texts are made of the YAML in tests/fixtures and of hooks in the shapes of public charts, by changes that people and
//! templates make: lines moved, indented, cut off, joined with those of another text, and what YAML takes for something put
//! in between. They depend on the seed and on nothing else.

mod shapes;
mod texts;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hookhost_helm::yaml;
use serde_json::Value;
use testbed::Programs;

use self::texts::Texts;
use crate::run::say;

/// How many texts, and which.
#[derive(Args, Clone, Debug)]
pub(crate) struct Differential {
    /// Texts to read at most
    #[arg(long, default_value_t = 1_000_000)]
    texts: u64,
    /// Seconds to read for at most
    #[arg(long)]
    seconds: Option<u64>,
    /// Which texts: the same seed makes the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Differential {
    /// What the test run does.
    pub(crate) const TEST: Differential = Differential { texts: u64::MAX, seconds: Some(60), seed: 1 };
}

/// Texts that are under way to helmread: as many as keep it busy, and fit into a pipe with their answers.
const UNDER_WAY: usize = 16;

/// Differences that are shown in full.
const SHOWN: usize = 20;

/// Reads the texts; an error where the two differ.
pub(crate) fn differential(run: &Differential) -> Result<()> {
    let programs = Programs::build(say)?;
    say("── read what Helm reads, and nothing else");
    let start = Instant::now();
    let mut texts = Texts::new(run.seed)?;
    let mut helm = Helm::start(&programs.helmread())?;
    let (mut count, mut read, mut found) = (0, 0_u64, Vec::new());
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let is_over = |count: u64| {
        count >= run.texts || run.seconds.is_some_and(|most| start.elapsed() >= Duration::from_secs(most))
    };
    loop {
        while helm.under_way() < UNDER_WAY && !is_over(count) {
            helm.send(texts.next())?;
            count += 1;
        }
        let Some((text, helms)) = helm.answer()? else { break };
        let ours = yaml::read(&text);
        read += u64::from(ours.is_ok());
        if let Some(difference) = compare(&ours, &helms) {
            match difference.reason().or_else(|| chance(&programs, &difference, &text)) {
                Some(reason) => *known.entry(reason).or_default() += 1,
                None => found.push((difference, text)),
            }
        }
    }
    say(&format!(
        "{count} texts in {:.0} s, seed {}: {read} of them read, {} differ, and those on purpose:",
        start.elapsed().as_secs_f64(),
        run.seed,
        found.len()
    ));
    for (reason, count) in &known {
        say(&format!("{count:>7} {reason}"));
    }
    ensure!(read > count / 10, "nearly all texts are refused: they show nothing");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (difference, _) in &found {
        *kinds.entry(difference.kind()).or_default() += 1;
    }
    for (kind, count) in &kinds {
        say(&format!("{count:>7} {kind}"));
    }
    // The shortest say most.
    found.sort_by_key(|(_, text)| text.len());
    for (difference, text) in found.iter().take(SHOWN) {
        say(&format!("{text:?}\n  {difference}"));
    }
    if found.is_empty() { Ok(()) } else { bail!("{} texts are read otherwise than by Helm", found.len()) }
}

/// What Helm's packages made of a text: its values, or why there are none.
type Helms = Result<Vec<Value>, String>;

/// How the two differ.
enum Difference {
    /// hookhost refuses it.
    Refused { ours: yaml::YamlError, helms: Vec<Value> },
    /// Helm refuses it.
    Tolerated { ours: Vec<Value>, helms: String },
    /// Both read it, to other values.
    Otherwise { ours: Vec<Value>, helms: Vec<Value> },
}

impl Difference {
    /// Why they differ, where that is on purpose: hookhost's bounds in depth and memory are narrower than Go's.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Difference::Refused { ours, .. } if ours.problem.is_bound() => {
                Some("refused: beyond a bound of hookhost's")
            }
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Difference::Refused { .. } => "refused, and read by Helm",
            Difference::Tolerated { .. } => "read, and refused by Helm",
            Difference::Otherwise { .. } => "read otherwise than by Helm",
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Difference::Refused { ours, helms } => {
                write!(f, "refused: {ours}\n  Helm: {}", Value::from(helms.clone()))
            }
            Difference::Tolerated { ours, helms } => {
                write!(f, "read: {}\n  Helm: {helms}", Value::from(ours.clone()))
            }
            Difference::Otherwise { ours, helms } => {
                write!(f, "read: {}\n  Helm: {}", Value::from(ours.clone()), Value::from(helms.clone()))
            }
        }
    }
}

fn compare(ours: &Result<Vec<Value>, yaml::YamlError>, helms: &Helms) -> Option<Difference> {
    match (ours, helms) {
        (Err(_), Err(_)) => None,
        (Err(ours), Ok(helms)) => Some(Difference::Refused { ours: ours.clone(), helms: helms.clone() }),
        (Ok(ours), Err(helms)) => Some(Difference::Tolerated { ours: ours.clone(), helms: helms.clone() }),
        (Ok(ours), Ok(helms)) if same(ours, helms) => None,
        (Ok(ours), Ok(helms)) => Some(Difference::Otherwise { ours: ours.clone(), helms: helms.clone() }),
    }
}

/// Whether Helm reads a text one time so and one time otherwise: of two keys that are one in JSON, Go keeps either.
fn chance(programs: &Programs, difference: &Difference, text: &str) -> Option<&'static str> {
    let Difference::Otherwise { ours, .. } = difference else { return None };
    let mut helm = Helm::start(&programs.helmread()).ok()?;
    (0..32).find_map(|_| {
        helm.send(text.to_owned()).ok()?;
        let (_, again) = helm.answer().ok()??;
        again
            .is_ok_and(|again| same(ours, &again))
            .then_some("read by Helm to this value or another, by chance")
    })
}

fn same(ours: &[Value], helms: &[Value]) -> bool {
    ours.len() == helms.len() && ours.iter().zip(helms).all(|(ours, helms)| ours == helms)
}

/// helmread, which answers one text after the other.
struct Helm {
    sender: std::process::ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
    under_way: VecDeque<String>,
    child: std::process::Child,
}

impl Helm {
    fn start(helmread: &Path) -> Result<Helm> {
        let mut child = Command::new(helmread)
            .arg("yaml")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start helmread")?;
        let (sender, answers) = (child.stdin.take(), child.stdout.take());
        let (sender, answers) = sender.zip(answers).context("helmread has no pipes")?;
        Ok(Helm { sender, answers: BufReader::new(answers), under_way: VecDeque::new(), child })
    }

    fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn send(&mut self, text: String) -> Result<()> {
        self.sender.write_all(text.as_bytes())?;
        self.sender.write_all(b"\0")?;
        self.under_way.push_back(text);
        Ok(())
    }

    /// The oldest text that is under way, and its answer.
    fn answer(&mut self) -> Result<Option<(String, Helms)>> {
        let Some(text) = self.under_way.pop_front() else { return Ok(None) };
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("helmread has ended, or answers {line:?}"))?;
        let helms = match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => match answer["json"].take() {
                Value::Array(values) => Ok(values),
                _ => bail!("helmread answers {line:?}"),
            },
        };
        Ok(Some((text, helms)))
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
