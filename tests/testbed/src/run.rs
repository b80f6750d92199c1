//! To *run* a helper program is to wait for its end and take what it printed, or what it complained about.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::{Error, Result};

/// What a command printed, without the newline at the end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let result = command.stdin(Stdio::null()).output();
    finish(command, result)
}

/// The same for a command that reads `input`.
pub(crate) fn output_of(command: &mut Command, input: &str) -> Result<String> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let result = child.and_then(|child| feed(child, input));
    finish(command, result)
}

/// Writes on a thread of its own: a program that prints before it has read everything would wait for us, and we for it.
fn feed(mut child: Child, input: &str) -> std::io::Result<std::process::Output> {
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })
}

fn finish(command: &Command, result: std::io::Result<std::process::Output>) -> Result<String> {
    let failed = |reason: String| Error::Command { command: line(command), reason };
    let output = result.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said =
            [output.stderr, output.stdout].map(|said| String::from_utf8_lossy(&said).trim().to_owned());
        let reason = said.into_iter().find(|said| !said.is_empty());
        return Err(failed(reason.unwrap_or_else(|| output.status.to_string())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
