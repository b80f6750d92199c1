//! The *screen* is what the person before the demo sees: each command as they would type it, then what it prints.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{command, say};

/// Runs shell lines in front of the person, in the repository's top folder.
pub(super) struct Screen {
    /// What each line finds: PATH, KUBECONFIG and the like.
    environment: Vec<(OsString, OsString)>,
}

impl Screen {
    /// Lines with this environment, and with these folders of programs before or behind those of PATH.
    pub(super) fn new(like: &Command, first: &[PathBuf], last: &[PathBuf]) -> Result<Screen> {
        let mut environment: Vec<(OsString, OsString)> =
            like.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
        let given = environment.iter().find(|(key, _)| key == "PATH").map(|(_, path)| path.clone());
        let path = given.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let folders = first.iter().cloned().chain(std::env::split_paths(&path)).chain(last.iter().cloned());
        environment.retain(|(key, _)| key != "PATH");
        environment.push(("PATH".into(), std::env::join_paths(folders)?));
        Ok(Screen { environment })
    }

    /// A program with that environment.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = command(program);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// A heading, then what is shown below it.
    pub(super) fn title(&self, title: &str) {
        say(&format!("\n# {title}"));
    }

    /// Types a line, which must succeed.
    pub(super) fn types(&self, line: &str) -> Result<()> {
        self.types_and_exits(line, 0)
    }

    /// Types a line that must end with this exit code.
    pub(super) fn types_and_exits(&self, line: &str, code: i32) -> Result<()> {
        say(&format!("$ {line}"));
        let status = self.shell(line).status().context("cannot run a shell")?;
        if status.code() != Some(code) {
            bail!("this ended with {status}, not with exit code {code}:\n  {line}");
        }
        if code != 0 {
            say(&format!("(exit code {code})"));
        }
        Ok(())
    }

    /// Runs a line that is not worth showing; gives back what it printed.
    pub(super) fn quietly(&self, line: &str) -> Result<String> {
        crate::run::output(&mut self.shell(line))
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = self.command("sh");
        shell.args(["-e", "-c", line]);
        shell
    }
}

/// A path as it is typed in the repository's top folder.
pub(super) fn typed(path: &Path) -> String {
    path.strip_prefix(crate::run::root()).unwrap_or(path).display().to_string()
}
