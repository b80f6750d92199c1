//! *Logging* of the commands that work by themselves, without anybody to look on.

use anyhow::Result;
use clap::ValueEnum;
use hookhost_controller::telemetry;
use hookhost_core::Reason;

use crate::problem::Problem;

/// How and what is logged.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Logging {
    /// How log lines are written to stderr [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT", env = "HOOKHOST_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug or trace, or by module as in `info,hookhost_controller=debug`
    #[arg(long, value_name = "LEVEL", env = "HOOKHOST_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

impl Logging {
    /// Sets it up for the whole process.
    pub(crate) fn init(self) -> Result<()> {
        let Logging { log_format, log_level } = self;
        let format = match log_format.unwrap_or_else(LogFormat::of_stderr) {
            LogFormat::Json => telemetry::Format::Json,
            LogFormat::Text => telemetry::Format::Text,
        };
        let unusable = || Problem::new(Reason::UsageInvalid, "--log-level cannot be used");
        Ok(telemetry::init(format, &log_level).map_err(|error| unusable().with_source(error))?)
    }
}

impl LogFormat {
    fn of_stderr() -> LogFormat {
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) { LogFormat::Text } else { LogFormat::Json }
    }
}
