//! A *differential* run reads many texts with hookhost and with Helm's own packages (helmread), and tells where the two
//! differ: one refuses what the other reads, or reads another value.
//!
//! The texts are made of the YAML in tests/fixtures, by changes that people and templates make: lines moved, indented, cut
//! off, joined with those of another text, and what YAML takes for something put in between. They depend on the seed and on
//! nothing else.

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
            match difference.reason(&text).or_else(|| chance(&programs, &difference, &text)) {
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
    /// Why they differ, where that is known and accepted. Nothing that Helm reads is read to another value; what Helm refuses is
    /// in no record of it.
    fn reason(&self, text: &str) -> Option<&'static str> {
        use yaml::YamlProblem::{Control, Key, NotFinite, Parser, Syntax};
        let is_json = text.trim_start().starts_with('{');
        let has = |problem: &yaml::YamlProblem, known: &[&str]| matches!(problem, Syntax(why) if known.contains(&&**why));
        if text.starts_with("\u{feff}\u{feff}") {
            return Some("two byte order marks at the beginning, which make Go leave out characters");
        }
        match self {
            Difference::Refused { ours, .. } => match &ours.problem {
                problem if problem.is_bound() => Some("refused: beyond a bound of hookhost's"),
                NotFinite => Some("refused: infinity under a key that is given once more"),
                Parser => Some("refused: a tag with a comma within brackets, on which libyaml-safer panics"),
                problem if has(problem, &["found unexpected ':'"]) => {
                    Some("refused: within brackets, text that ends with a colon (libyaml since 0.2.2)")
                }
                problem
                    if has(
                        problem,
                        &["did not find expected whitespace or line break", "did not find expected tag URI"],
                    ) =>
                {
                    Some("refused: a tag with a comma or bracket in it (libyaml since 0.2.3)")
                }
                problem
                    if text.contains('?')
                        && (*problem == Key
                            || has(problem, &["mapping keys are not allowed in this context"])) =>
                {
                    Some("refused: within brackets, a question mark for a key (libyaml since 0.2.2)")
                }
                Key if text.contains(']') => {
                    Some("refused: a list with text right behind it, where Go's document ends")
                }
                Control(_) => Some("refused: a control character behind the document"),
                _ if ours.column > 1024 => {
                    Some("refused: a key of more than 1024 characters, without a question mark before it")
                }
                _ if is_json => {
                    Some("refused: what begins like JSON and goes on with numbers or with half a character")
                }
                _ => None,
            },
            Difference::Tolerated { helms, .. } => match &**helms {
                why if why.contains("found unknown escape character") => {
                    Some("read: the escape \\/ in double quotes (libyaml since 0.2.1)")
                }
                why if why.contains("did not find expected ',' or") => {
                    Some("read: within brackets, text with a question mark in it (libyaml since 0.2.2)")
                }
                why if why.contains("excessive aliasing") => Some("read: beyond a bound of Go's"),
                why if why.contains("long version number") => Some("read: a long version number after %YAML"),
                why if why.contains("as a !!timestamp") => Some("read: !!timestamp of what is no time"),
                why if is_json
                    && ["json: ", "invalid character", "unexpected EOF"]
                        .iter()
                        .any(|begin| why.starts_with(begin)) =>
                {
                    Some("read: as YAML, what begins like JSON and ends otherwise")
                }
                _ => None,
            },
            Difference::Otherwise { ours, helms } => {
                let objects = |values: &[Value]| {
                    values.iter().filter(|value| value.is_object()).cloned().collect::<Vec<_>>()
                };
                (is_json && objects(ours) == objects(helms))
                    .then_some("read otherwise: numbers right behind JSON, of which Helm makes nothing")
            }
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
