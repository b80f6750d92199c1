//! *Fixtures* are real input for tests: release records that real Helms wrote on a real API server, beside what Helm
//! itself reads in them. While they are made, what hookhost would run is compared with what Helm created. See tests/fixtures/README.md.

mod scenarios;
mod stand_in;
mod templates;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testbed::{Cluster, Helm, Programs};

use crate::cluster;
use crate::run::{line, output, root, say, target};
use scenarios::{ALL, Scenario, Step};
use stand_in::StandIn;
use templates::{Compared, Created};

/// How long Helm may take for one command, hooks included. Nothing here needs more than a few seconds.
const TIMEOUT: &str = "60s";

/// Names of the records of each chart.
type Kept = BTreeMap<&'static str, Vec<String>>;

/// Makes all fixtures anew, in `into` or in tests/fixtures itself.
pub(crate) fn fixtures(into: Option<&Path>) -> Result<()> {
    let programs = cluster::programs()?;
    let home = root().join("tests/fixtures");
    let into = into.unwrap_or(&home);
    testbed::isolate()?;
    let (mut kept, mut compared) = (Kept::new(), Compared::default());
    for helm in Helm::ALL {
        let records = into.join("records").join(helm.name());
        if records.exists() {
            fs::remove_dir_all(&records).with_context(|| format!("cannot remove {}", records.display()))?;
        }
        create(&records)?;
        let state = target().join("fixtures");
        create(&state)?;
        let cluster = Cluster::start(&programs, &state)?;
        let created = Created::default();
        let _stand_in = StandIn::start(&cluster, &created)?;
        for scenario in ALL {
            say(&format!("── {} {}", helm.name(), scenario.release));
            let stage = Stage {
                helm,
                cluster: &cluster,
                programs: &programs,
                records: &records,
                scenario,
                created: &created,
            };
            stage
                .play(&mut kept, &mut compared)
                .with_context(|| format!("{} {}", helm.name(), scenario.release))?;
        }
    }
    let Compared { with_read, with_created } = compared;
    if with_created == 0 {
        bail!("no Job of Helm's was seen: the watch of the stand-in has not begun");
    }
    say(&format!(
        "with the API server's defaults, what hookhost would run is what Helm reads of {with_read} hooks, and what Helm created in \
         {with_created} cases"
    ));
    yaml_answers(&programs, &home.join("yaml"), &into.join("yaml"))?;
    write(&into.join("MANIFEST.md"), &manifest(&home, &kept)?)
}

/// One scenario with one Helm on one cluster.
struct Stage<'a> {
    helm: Helm,
    cluster: &'a Cluster,
    programs: &'a Programs,
    records: &'a Path,
    scenario: &'static Scenario,
    created: &'a Created,
}

impl Stage<'_> {
    fn play(&self, kept: &mut Kept, compared: &mut Compared) -> Result<()> {
        self.namespace()?;
        let scratch = target().join("fixtures/chart");
        let chart = self.chart(&scratch)?;
        for step in self.scenario.steps {
            match step {
                Step::Do(words) => {
                    output(&mut self.command(words, &chart))?;
                    compared.with_created += self.compare_created(words)?;
                }
                Step::Fails(words) => {
                    let mut command = self.command(words, &chart);
                    if output(&mut command).is_ok() {
                        bail!("{} was to fail, but succeeded", line(&command));
                    }
                }
                Step::Cut(words, job) => self.cut(words, job, &chart)?,
                Step::Keep(revision) => self.keep(*revision, "yaml", kept, compared)?,
                Step::Json(revision) => self.keep(*revision, "json", kept, compared)?,
            }
        }
        Ok(())
    }

    /// A namespace has a default service account, which a controller would have made.
    fn namespace(&self) -> Result<()> {
        let namespace = self.scenario.namespace;
        let mut kubectl = self.cluster.command(self.programs.kubectl());
        if output(kubectl.args(["get", "namespace", namespace])).is_ok() {
            return Ok(());
        }
        for words in [
            &["create", "namespace", namespace][..],
            &["create", "serviceaccount", "default", "--namespace", namespace][..],
        ] {
            output(self.cluster.command(self.programs.kubectl()).args(words))?;
        }
        Ok(())
    }

    /// The chart's folder; with noise, a copy of it.
    fn chart(&self, scratch: &Path) -> Result<PathBuf> {
        let chart = root().join("tests/fixtures/charts").join(self.scenario.chart);
        if self.scenario.noise == 0 {
            return Ok(chart);
        }
        if scratch.exists() {
            fs::remove_dir_all(scratch)?;
        }
        output(Command::new("cp").arg("-r").arg(chart).arg(scratch))?;
        fs::write(scratch.join("noise.bin"), noise(self.scenario.noise))?;
        Ok(scratch.to_owned())
    }

    /// `words` with what Helm needs besides.
    fn command(&self, words: &str, chart: &Path) -> Command {
        let mut words = words.split(' ');
        let verb = words.next().unwrap_or_default();
        let mut command = self.cluster.command(self.programs.helm(self.helm));
        command.args([verb, self.scenario.release]);
        if matches!(verb, "install" | "upgrade") {
            command.arg(chart);
        }
        command.args(["--namespace", self.scenario.namespace, "--timeout", TIMEOUT]).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Compares the hooks that a command has run with what hookhost would run of the newest record.
    fn compare_created(&self, words: &str) -> Result<usize> {
        let Scenario { release, namespace, .. } = self.scenario;
        let verb = words.split(' ').next().unwrap_or_default();
        if words.contains("--no-hooks") || verb == "uninstall" {
            return Ok(0);
        }
        let mut kubectl = self.cluster.command(self.programs.kubectl());
        let selector = format!("owner=helm,name={release}");
        kubectl.args(["get", "secrets", "--namespace", namespace, "--selector", &selector, "--output=json"]);
        let secrets: Value = serde_json::from_str(&output(&mut kubectl)?)?;
        let revision =
            |secret: &&Value| secret["metadata"]["labels"]["version"].as_str()?.parse::<u32>().ok();
        let newest = secrets["items"].as_array().into_iter().flatten().max_by_key(revision);
        let newest = newest.context("the release has no record")?.to_string();
        templates::compare_created(self.cluster, namespace, newest.as_bytes(), verb, self.created)
    }

    /// Runs a command until it has created a Job, and kills it there.
    fn cut(&self, words: &str, job: &str, chart: &Path) -> Result<()> {
        let mut helm = self.command(words, chart).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let job = format!("job/{}-{job}", self.scenario.release);
        let mut wait = self.cluster.command(self.programs.kubectl());
        let wait = wait.args(["wait", "--for=create", &job, "--timeout", TIMEOUT]);
        let created = output(wait.args(["--namespace", self.scenario.namespace]));
        // Not a clean end: that is the point.
        helm.kill()?;
        helm.wait()?;
        created.map(drop)
    }

    /// Keeps a record, what Helm prints of its hooks, and what Helm's packages read in it; and compares the hooks with what hookhost
    /// would run.
    fn keep(&self, revision: u32, format: &str, kept: &mut Kept, compared: &mut Compared) -> Result<()> {
        let Scenario { chart, release, namespace, .. } = self.scenario;
        let secret = format!("sh.helm.release.v1.{release}.v{revision}");
        let mut kubectl = self.cluster.command(self.programs.kubectl());
        let record = output(kubectl.args(["get", "secret", &secret, "-n", namespace, "-o", format]))?;
        let stem = format!("{release}.v{revision}");
        let file = self.records.join(format!("{stem}.{format}"));
        write(&file, &record)?;

        let mut helm = self.cluster.command(self.programs.helm(self.helm));
        helm.args(["get", "hooks", release, "-n", namespace, "--revision", &revision.to_string()]);
        write(&self.records.join(format!("{stem}.hooks.yaml")), &output(&mut helm)?)?;
        let mut helmread = Command::new(self.programs.helmread());
        let hooks = output(helmread.arg("hooks").arg(&file))?;
        write(&self.records.join(format!("{stem}.hooks.json")), &hooks)?;
        compared.with_read += templates::compare_read(self.cluster, namespace, &file, &hooks)?;

        let mut status = self.cluster.command(self.programs.kubectl());
        status.args(["get", "secret", &secret, "-n", namespace, "-o", "jsonpath={.metadata.labels.status}"]);
        let status = output(&mut status)?;
        kept.entry(chart).or_default().push(format!("{}/{stem}.{format} ({status})", self.helm.name()));
        Ok(())
    }
}

/// Bytes that look random and are the same each time (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// Writes NAME.json beside each NAME.yaml: what Helm's YAML library makes of it.
fn yaml_answers(programs: &Programs, documents: &Path, into: &Path) -> Result<()> {
    create(into)?;
    let mut files = Vec::new();
    for entry in documents.read_dir().with_context(|| format!("cannot read {}", documents.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    let answers = output(Command::new(programs.helmread()).arg("yaml").args(&files))?;
    for (file, answer) in files.iter().zip(answers.lines()) {
        let name = file.file_stem().unwrap_or_default();
        write(&into.join(name).with_extension("json"), &format!("{answer}\n"))?;
    }
    Ok(())
}

/// The table of charts, what each is for, and its records.
fn manifest(home: &Path, kept: &Kept) -> Result<String> {
    let mut text = "# Charts, hazards, records\n\nWritten by `cargo xtask fixtures`.\n\n\
                    | chart | for | records (status in Helm) |\n|---|---|---|\n"
        .to_owned();
    for (chart, records) in kept {
        let file = home.join("charts").join(chart).join("Chart.yaml");
        let text_of_chart =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let Some(hazard) = text_of_chart.lines().next().and_then(|line| line.strip_prefix("# For: ")) else {
            bail!("{}: the first line must say what the chart is for: \"# For: …\"", file.display());
        };
        writeln!(text, "| {chart} | {hazard} | {} |", records.join("<br>"))?;
    }
    Ok(text)
}

fn create(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_chart_has_a_scenario_and_every_scenario_its_records() {
        let home = root().join("tests/fixtures");
        let folders: BTreeSet<String> = fs::read_dir(home.join("charts"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let played: BTreeSet<String> = ALL.iter().map(|scenario| scenario.chart.to_owned()).collect();
        assert_eq!(folders, played);
        for helm in Helm::ALL {
            for Scenario { release, steps, .. } in ALL {
                for step in *steps {
                    let (revision, format) = match step {
                        Step::Keep(revision) => (revision, "yaml"),
                        Step::Json(revision) => (revision, "json"),
                        _ => continue,
                    };
                    for end in [format, "hooks.yaml", "hooks.json"] {
                        let file = home
                            .join("records")
                            .join(helm.name())
                            .join(format!("{release}.v{revision}.{end}"));
                        assert!(file.exists(), "{} is missing: cargo xtask fixtures", file.display());
                    }
                }
            }
        }
    }
}
