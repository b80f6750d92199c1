//! A *usage error* is an error in what was typed, found before any command begins. clap finds it and words it; how it
//! is printed is the same as for every other error.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;
use hookhost_core::Reason;

use crate::exit::{self, ErrorFormat};
use crate::problem::Problem;

/// Ends what cannot begin: prints the help or version that was asked for, or what is wrong with the arguments.
pub(crate) fn finish(error: clap::Error, typed: impl IntoIterator<Item = OsString>) -> ExitCode {
    if asks_for_json(typed) && !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return exit::finish(Err(problem(&error).into()), ErrorFormat::Json);
    }
    // Where stdout or stderr is gone there is nobody to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Whether JSON was asked for, as far as that can be known of arguments that are wrong.
fn asks_for_json(typed: impl IntoIterator<Item = OsString>) -> bool {
    let mut typed = typed.into_iter().take_while(|argument| argument != "--");
    while let Some(argument) = typed.next() {
        let value = match argument.as_encoded_bytes() {
            b"-o" | b"--output" => typed.next(),
            b"-ojson" | b"-o=json" | b"--output=json" => return true,
            _ => None,
        };
        if value.as_deref() == Some(OsStr::new("json")) {
            return true;
        }
    }
    false
}

/// What clap says: the error in its first paragraph, then tips and the usage.
fn problem(error: &clap::Error) -> Problem {
    let text = error.render().to_string();
    let (what, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let what = what.trim().strip_prefix("error: ").unwrap_or(what.trim());
    let what: Vec<&str> = what.lines().map(str::trim).collect();
    let next: Vec<&str> = rest.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Problem::new(Reason::UsageInvalid, what.join(" ")).with_advice(next.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_in_every_way_that_clap_takes() {
        let asks = |typed: &str| asks_for_json(typed.split(' ').map(OsString::from));
        for typed in
            ["plan -o json", "plan -ojson", "-o=json plan", "plan --output json", "plan --output=json x"]
        {
            assert!(asks(typed), "{typed}");
        }
        for typed in ["plan", "plan json", "plan -o yaml json", "plan -- -o json", "plan -o"] {
            assert!(!asks(typed), "{typed}");
        }
    }
}
