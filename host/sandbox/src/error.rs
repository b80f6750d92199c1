//! What can go wrong with a policy, each with its reason and what to do next.
//!
//! Everything in an error that a policy wrote (panic messages, names, log lines) has its control characters replaced
//! and is cut to a bounded length.

use std::path::PathBuf;
use std::time::Duration;

use hookhost_core::Reason;

use crate::interface;
use crate::log::LogLine;

/// Where an error came from, when it was not ours.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a policy cannot be loaded or gave no decision.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not WebAssembly at all.
    #[error("this is not a WebAssembly component")]
    NotWasm,
    /// The bytes are a core module, not yet wrapped into a component.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// The bytes begin like a component, but break WebAssembly's rules or use a part of it that policies may not use.
    #[error("this WebAssembly component is damaged or uses what policies may not use: {problem}")]
    Malformed {
        /// What the parser or compiler found, and where.
        problem: String,
    },
    /// Compiling, or making an instance, would cost too much.
    #[error("this policy has {found} {what}; the limit is {limit}")]
    TooCostly {
        /// What there is too much of.
        what: &'static str,
        /// How much was found.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The compiler child reached its limit of processor time or of the wall clock.
    #[error("compiling this policy was ended after {limit:?}")]
    CompileTimedOut {
        /// The limit that was reached.
        limit: Duration,
    },
    /// The compiler child ran out of its memory or of its stack.
    #[error("compiling this policy needed more than {limit} bytes of memory and was ended")]
    CompileOutOfMemory {
        /// The limit of its address space, in bytes.
        limit: u64,
    },
    /// The compiler child ended in a way that it never should.
    #[error("the compiler cannot cope with this policy: {problem}")]
    CompilerCrashed {
        /// How it ended, and its last words.
        problem: String,
    },
    /// The compiler child was ended because it made a system call that no compiler needs.
    #[error("compiling this policy made a system call that no compiler needs, and was ended")]
    CompilerEscaped,
    /// The component was compiled, but its instances do not fit the sandbox's slots.
    #[error("this policy does not fit the sandbox: {problem}")]
    DoesNotFit {
        /// What is too large.
        problem: String,
    },
    /// The component is a policy for another version of the contract.
    #[error("this policy is built for {found}; this hookhost runs {expected}")]
    Incompatible {
        /// The interface as the component names it.
        found: String,
        /// The interface as this host has it.
        expected: String,
    },
    /// The component imports something that policies may not have.
    #[error("this policy imports {name}, which no policy may have")]
    ForbiddenImport {
        /// The import's name.
        name: String,
    },
    /// The component does not export the contract's interface.
    #[error("this component exports no {expected}, so it is no policy")]
    MissingExport {
        /// The interface that a policy exports.
        expected: String,
    },
    /// The component names the right interface, but its functions or types are not the contract's.
    #[error("this policy's functions are not those of {expected}: {problem}")]
    Mismatch {
        /// The interface.
        expected: String,
        /// What differs.
        problem: String,
    },
    /// A limit that an administrator set is out of its range.
    #[error("the {what} limit is {found}; it must be {range}")]
    LimitOutOfRange {
        /// Which limit.
        what: &'static str,
        /// What was given.
        found: String,
        /// What is allowed.
        range: String,
    },
    /// The request is larger than the contract allows.
    #[error("the request has {found} bytes of text; the limit is {limit}")]
    RequestTooLarge {
        /// Bytes of all its text.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The settings are larger than the contract allows.
    #[error("the settings have {found} bytes; the limit is {limit}")]
    SettingsTooLarge {
        /// Bytes of the settings.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The policy used up its time.
    #[error("the policy was ended after {limit:?}, its time limit")]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What it logged until then.
        logs: Vec<LogLine>,
    },
    /// The policy used up its memory.
    #[error("the policy needed more than {limit} bytes of memory, its limit")]
    OutOfMemory {
        /// The limit, in bytes.
        limit: usize,
        /// What it logged until then.
        logs: Vec<LogLine>,
    },
    /// The policy panicked or broke a rule of WebAssembly.
    #[error("the policy {}", trapped(.message, .trap))]
    Trapped {
        /// The last error that the policy logged: a panic's message, where the SDK could log it.
        message: Option<String>,
        /// WebAssembly's name for what happened.
        trap: String,
        /// What it logged until then.
        logs: Vec<LogLine>,
    },
    /// The policy logged more than the contract allows.
    #[error(
        "the policy logged more than {LOG_LINES} lines or a line of more than {LOG_LINE_CHARS} characters"
    )]
    LoggedTooMuch {
        /// What it logged until then.
        logs: Vec<LogLine>,
    },
    /// The policy's answer breaks the contract.
    #[error("the policy's answer breaks the contract: {problem}")]
    BadOutput {
        /// What is wrong with it.
        problem: String,
        /// What it logged.
        logs: Vec<LogLine>,
    },
    /// All slots for evaluations are in use.
    #[error("{limit} policies are being evaluated already")]
    Busy {
        /// How many at once.
        limit: u32,
    },
    /// The cache directory could be written by someone else, or is not a directory.
    #[error("the policy cache {} cannot be trusted: {problem}", .dir.display())]
    CacheUnsafe {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something on this machine failed.
    #[error("{what}")]
    Host {
        /// What failed.
        what: String,
        /// Why.
        source: Source,
    },
}

use crate::bounds::{LOG_LINE_CHARS, LOG_LINES, MAX_MEMORY};

/// What there is too much of where a policy's memory does not fit into its limit.
pub(crate) const MEMORY_AT_START: &str = "bytes of memory at its start";

fn trapped(message: &Option<String>, trap: &str) -> String {
    match message {
        Some(message) => format!("failed: {message} ({trap})"),
        None => format!("failed: {trap}"),
    }
}

impl Error {
    pub(crate) fn host(what: impl Into<String>, source: impl Into<Source>) -> Error {
        Error::Host { what: what.into(), source: source.into() }
    }

    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Error::NotWasm
            | Error::CoreModule
            | Error::Malformed { .. }
            | Error::TooCostly { .. }
            | Error::CompileTimedOut { .. }
            | Error::CompileOutOfMemory { .. }
            | Error::CompilerCrashed { .. }
            | Error::CompilerEscaped
            | Error::DoesNotFit { .. } => Reason::PolicyInvalid,
            Error::Incompatible { .. }
            | Error::ForbiddenImport { .. }
            | Error::MissingExport { .. }
            | Error::Mismatch { .. } => Reason::PolicyIncompatible,
            Error::LimitOutOfRange { .. } => Reason::ValidationFailed,
            Error::RequestTooLarge { .. } => Reason::RequestTooLarge,
            Error::SettingsTooLarge { .. } => Reason::PolicySettingsInvalid,
            Error::TimedOut { .. } => Reason::PolicyTimedOut,
            Error::OutOfMemory { .. } => Reason::PolicyOutOfMemory,
            Error::Trapped { .. } => Reason::PolicyTrapped,
            Error::LoggedTooMuch { .. } | Error::BadOutput { .. } => Reason::PolicyBadOutput,
            Error::Busy { .. } => Reason::SandboxBusy,
            Error::CacheUnsafe { .. } | Error::Host { .. } => Reason::HostFailed,
        }
    }

    /// What to do next, in a sentence or two.
    pub fn advice(&self) -> String {
        match self {
            Error::NotWasm => "Give a file that `hookhost policy build` made (NAME.wasm).".into(),
            Error::CoreModule => "Build it with `hookhost policy build`, which makes a component of the module; \
                 by hand: `wasm-tools component new`."
                .into(),
            Error::Malformed { .. } => "Build it again with `hookhost policy build`. Policies have no SIMD, threads, \
                 64-bit memories or garbage collection."
                .into(),
            Error::TooCostly { what: MEMORY_AT_START, limit, .. } if *limit < MAX_MEMORY as u64 => {
                "Let the policy have more memory (spec.limits.memory of its HookPolicy), or make it smaller.".into()
            }
            Error::TooCostly { .. } | Error::DoesNotFit { .. } => "Make the policy smaller: fewer dependencies, no generated tables. Policies \
                 made with the SDK are 100 times below the limits."
                .into(),
            Error::CompileTimedOut { .. } | Error::CompileOutOfMemory { .. } => {
                "Make the policy smaller: split its largest functions, use fewer dependencies.".into()
            }
            Error::CompilerCrashed { .. } => {
                "Nothing on this machine was harmed. Build the policy again; if that does not help, report it to \
                 hookhost with the file."
                    .into()
            }
            Error::CompilerEscaped => {
                "Nothing on this machine was harmed. If it is so with this policy alone, do not use it, and report it to \
                 hookhost with the file: it may be meant to take over the compiler. If it is so with every policy, this image's \
                 C library is not the one that hookhost is built with."
                    .into()
            }
            Error::Incompatible { .. } => format!(
                "Build the policy again with version {} of the SDK, or use a hookhost made for its contract.",
                interface::MINOR
            ),
            Error::ForbiddenImport { name } if name.starts_with("wasi:") => {
                "Build it for wasm32-unknown-unknown, as `hookhost policy build` does, not for a WASI target: a \
                 policy has no files, clock, randomness or network; the time is in the request (`now`)."
                    .into()
            }
            Error::ForbiddenImport { .. } => format!(
                "Remove that import; all a policy may import is {}. What it decides by must be in the request or \
                 in its settings.",
                interface::LOGGING
            ),
            Error::MissingExport { .. } => {
                "Write `hook_policy::export!(YourPolicy);` in src/lib.rs: this macro of the SDK makes a policy of the crate. Without the \
                 SDK build it from hookhost's wit/hook-policy.wit unchanged."
                    .into()
            }
            Error::Mismatch { .. } => {
                "Build it with the SDK (`hookhost policy new`), or from hookhost's wit/hook-policy.wit unchanged.".into()
            }
            Error::LimitOutOfRange { range, .. } => format!("Set it to {range}."),
            Error::RequestTooLarge { .. } => {
                "The hook's manifest, annotations or the Operation's parameters are too large for a policy to be \
                 asked; make them smaller."
                    .into()
            }
            Error::SettingsTooLarge { .. } => "Make the settings smaller, or split them over two policies.".into(),
            Error::TimedOut { .. } => {
                "Look for a loop that grows with its input, or raise the policy's timeout limit. `hookhost policy \
                 bench` shows what an evaluation takes."
                    .into()
            }
            Error::OutOfMemory { .. } => {
                "Look for what grows with its input, or raise the policy's memory limit. `hookhost policy bench` \
                 shows what an evaluation takes."
                    .into()
            }
            Error::Trapped { message: Some(_), .. } => {
                "The policy panicked; correct it where the message says, with this request as a test case.".into()
            }
            Error::Trapped { trap, .. } if trap.contains("out of bounds memory") => {
                "Probably its stack is full (`hookhost policy build` gives it 64 KiB): look for deep recursion and large local arrays."
                    .into()
            }
            Error::Trapped { .. } => {
                "Run this request in `hookhost policy test`. A policy made with the SDK logs its panics.".into()
            }
            Error::LoggedTooMuch { .. } => "Log less: a summary instead of a line for each element.".into(),
            Error::BadOutput { .. } => "Correct the policy's answer; wit/hook-policy.wit states every bound.".into(),
            Error::Busy { .. } => "Try again in a moment.".into(),
            Error::CacheUnsafe { dir, .. } => format!(
                "Make it yours alone (`chmod 700 {0}`), delete it, or choose another directory.",
                dir.display()
            ),
            Error::Host { .. } => "Something on this machine failed, not the policy; see the cause.".into(),
        }
    }

    /// What the policy logged before it failed.
    pub fn logs(&self) -> &[LogLine] {
        match self {
            Error::TimedOut { logs, .. }
            | Error::OutOfMemory { logs, .. }
            | Error::Trapped { logs, .. }
            | Error::LoggedTooMuch { logs }
            | Error::BadOutput { logs, .. } => logs,
            _ => &[],
        }
    }
}
