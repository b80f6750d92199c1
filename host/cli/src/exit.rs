//! An *exit code* is what a script learns of a command's end. All of them are decided in [`code`] and nowhere else.

use std::process::ExitCode;

use anyhow::Error;
use clap::ValueEnum;
use hookhost_core::Reason;

use crate::output;
use crate::problem::Problem;

/// The codes, as every `--help` of the top command shows them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed: a bad input, a broken policy, a failed test, build or run
  2  usage: the arguments cannot be right, or something must be installed or set up first
  3  denied by a policy, by policies that contradict each other, or by the cluster's admission
  4  held by a policy, or blocked for now
  5  not found: no such hook, or no release or target to take it from
  6  timed out
130  left by Ctrl-C before its end

The result goes to stdout, everything else to stderr. With -o json errors are JSON too:
  {\"error\":{\"reason\":\"HookNotFound\",\"message\":\"…\"}}";

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was asked for is done.
    Done,
    /// The work was done and its result, already printed, is a failure: a policy's test cases.
    Failed,
    /// The answer, already printed, is a denial.
    Denied,
    /// The answer, already printed, is a hold.
    Held,
    /// The result, already printed, is that there is nothing to run.
    NotFound,
    /// The time for it is over; what was found so far is printed.
    TimedOut,
    /// The person who waited went away before its end.
    Interrupted,
}

/// How errors are to be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// For people: `hookhost: what: cause`, then the next step.
    Text,
    /// For programs.
    Json,
}

/// How a result is printed: a table for people, or JSON for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs; the fields stay as they are
    Json,
}

impl Format {
    /// How errors beside such a result are printed.
    pub(crate) fn errors(self) -> ErrorFormat {
        match self {
            Format::Table => ErrorFormat::Text,
            Format::Json => ErrorFormat::Json,
        }
    }
}

/// Prints the error, if there is one, and turns the result into the process's exit code.
pub(crate) fn finish(result: Result<Outcome, Error>, errors: ErrorFormat) -> ExitCode {
    if let Err(error) = &result {
        match errors {
            ErrorFormat::Text => print_text(error),
            ErrorFormat::Json => print_json(error),
        }
    }
    ExitCode::from(code(&result))
}

/// The one place where exit codes come from.
fn code(result: &Result<Outcome, Error>) -> u8 {
    let reason = match result {
        Ok(Outcome::Done) => return 0,
        Ok(Outcome::Failed) => return 1,
        Ok(Outcome::Denied) => return 3,
        Ok(Outcome::Held) => return 4,
        Ok(Outcome::NotFound) => return 5,
        Ok(Outcome::TimedOut) => return 6,
        // As every shell has it for SIGINT.
        Ok(Outcome::Interrupted) => return 130,
        Err(error) => reason(error),
    };
    match reason {
        Reason::UsageInvalid | Reason::ToolMissing | Reason::ClusterNotConfigured | Reason::CrdMissing => 2,
        Reason::PolicyDenied
        | Reason::PolicyConflict
        | Reason::DecisionTooLarge
        | Reason::AdmissionDenied => 3,
        Reason::PolicyHeld
        | Reason::ReleaseBusy
        | Reason::TargetNotReady
        | Reason::ConflictingOperation
        | Reason::TooManyOperations
        | Reason::AwaitingApproval
        | Reason::RestoredFromBackup
        | Reason::DependencyMissing
        | Reason::NamespaceNotManaged
        | Reason::TargetKindDisabled
        | Reason::HookNotVerified
        | Reason::PolicyUnavailable => 4,
        Reason::HookNotFound | Reason::HookRequiresRelease | Reason::TargetNotFound => 5,
        Reason::PolicyTimedOut | Reason::WaitTimeout => 6,
        _ => 1,
    }
}

/// The reason of an error. Whatever is not a [`Problem`] is a failure of this machine: a file, a pipe, a process.
pub(crate) fn reason(error: &Error) -> Reason {
    error.chain().find_map(|e| e.downcast_ref::<Problem>()).map_or(Reason::HostFailed, Problem::reason)
}

/// The next step of an error, where there is one.
fn advice(error: &Error) -> Option<&str> {
    error.chain().find_map(|e| e.downcast_ref::<Problem>()).and_then(Problem::advice)
}

fn print_text(error: &Error) {
    let mut text = format!("hookhost: {}\n", output::escape(&format!("{error:#}")));
    for line in advice(error).unwrap_or_default().lines() {
        text.push_str(&format!("  {}\n", output::escape(line)));
    }
    output::message(&text);
}

fn print_json(error: &Error) {
    let mut body = serde_json::json!({ "reason": reason(error).as_str(), "message": format!("{error:#}") });
    if let Some(advice) = advice(error) {
        body["advice"] = advice.into();
    }
    output::json_message(&serde_json::json!({ "error": body }));
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_problem_keeps_its_code_below_a_context() {
        let error = Err::<Outcome, _>(Problem::new(Reason::HookNotFound, "no hook x")).context("plan");
        assert_eq!(code(&error), 5);
    }

    #[test]
    fn an_error_without_a_reason_is_a_failure_of_this_machine() {
        assert_eq!(reason(&anyhow!("disk full")), Reason::HostFailed);
        assert_eq!(code(&Err(anyhow!("disk full"))), 1);
    }

    #[test]
    fn each_outcome_has_a_code_of_its_own() {
        use Outcome::*;
        let codes = [Done, Failed, Denied, Held, NotFound, TimedOut, Interrupted].map(|o| code(&Ok(o)));
        assert_eq!(codes, [0, 1, 3, 4, 5, 6, 130]);
    }
}
