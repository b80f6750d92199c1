//! A *problem* is an error that a person is told about: what was wrong and where, why (its sources), and what to do
//! next. Its reason decides the exit code.

use std::fmt;

use hookhost_core::Reason;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What was wrong, where, and what to do next.
#[derive(Debug)]
pub(crate) struct Problem {
    reason: Reason,
    message: String,
    advice: Option<String>,
    source: Option<Source>,
}

impl Problem {
    /// A problem of a reason; the message says what was wrong and where.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Problem {
        Problem { reason, message: message.into(), advice: None, source: None }
    }

    /// With the next step; each line is shown on a line of its own.
    pub(crate) fn with_advice(mut self, advice: impl Into<String>) -> Problem {
        self.advice = Some(advice.into());
        self
    }

    /// With the error that caused it.
    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Problem {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
