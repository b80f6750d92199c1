//! To *follow* an Operation is to tell a person what becomes of it: what was seen goes in, what is to be done comes out.
//!
//! Nothing here talks to a cluster, a clock or a terminal: [`Follow::handle`] is told what was [`Seen`], and when, and answers
//! with [`Step`]s.

mod log;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use hookhost_core::conflict::HOLDS_NOBODY;
use hookhost_core::status::{is_finished, job_ref, phase};
use serde_json::Value;

use super::duration::clock;
use crate::exit::Outcome;
use log::Logs;
pub(super) use log::Source;
pub(super) use status::reason;
use status::{Told, Word, blocked, cancellation, conclusion, news, of_hookhost, other_result, steps};

/// How long an Operation may lie without a word before something is likely missing: a controller answers within a second
/// or two, one that takes over from another that was killed within twenty.
const NOBODY_AFTER: Duration = Duration::from_secs(30);

/// How long the first word is waited for where nothing else is.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(10);

/// How long the end of the logs is waited for once the Operation has ended: the pods' watch, and the kubelet, may be a
/// moment behind.
const LOGS_WITHIN: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// The Operation, as it is now.
    Operation(Value),
    /// The Operation is there no more.
    Gone,
    /// A pod of the run, as it is now.
    Pod(Value),
    /// A pod of the run is there no more; as it was last.
    PodGone(Value),
    /// The pods cannot be watched; why.
    NoPods(String),
    /// A line of a container's log.
    Line(Source, String),
    /// No more lines will come; why, where that is not simply its end.
    LogEnded(Source, Option<String>),
    /// The connection to the cluster is lost, and made again when that can be; why.
    Lost(String),
    /// Ctrl-C was pressed.
    Interrupted,
    /// The question whether to cancel was answered.
    Answered(bool),
    /// The wish to cancel could not be written; why.
    NotCancelled(String),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Tell the person something.
    Tell(String),
    /// Show a line of the hook's log.
    Log(String),
    /// Watch the run's pods in this namespace.
    WatchPods(String),
    /// Read the log of a container, from where it was left.
    ReadLog(Source),
    /// Ask whether to cancel.
    Ask,
    /// Cancel the Operation.
    Cancel,
    /// Nothing more is to be done.
    End(End),
}

/// Why following ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The Operation has ended.
    Finished,
    /// The Operation was deleted.
    Gone,
    /// What was waited for has been heard.
    Heard,
    /// The time for it is over.
    TimedOut,
    /// The person does not want to see more.
    Left,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The Operation's end.
    End,
    /// Whether it is accepted, refused or blocked.
    Word,
}

/// What is followed, and how.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) until: Until,
    /// How long it is followed at most.
    pub(super) timeout: Option<Duration>,
    /// Whether there is somebody who can be asked.
    pub(super) can_ask: bool,
}

/// An Operation that is followed.
pub(super) struct Follow {
    options: Options,
    status: Value,
    told: Told,
    logs: Logs,
    /// The namespaces whose pods are watched: those of the Jobs that there were.
    watched: BTreeSet<String>,
    is_lost: bool,
    is_asking: bool,
    is_cancelling: bool,
    /// What was told of who cancels it.
    cancellation: Option<String>,
    has_warned: bool,
    is_overwritten: bool,
    /// The field manager that has ended it, if that is not hookhost.
    ended_by: Option<String>,
    /// hookhost's last word on whether it is blocked.
    word: Word,
    finished_at: Option<Duration>,
}

impl Follow {
    pub(super) fn new(options: Options) -> Follow {
        Follow {
            options,
            status: Value::Null,
            told: Told::default(),
            logs: Logs::default(),
            watched: BTreeSet::new(),
            is_lost: false,
            is_asking: false,
            is_cancelling: false,
            cancellation: None,
            has_warned: false,
            is_overwritten: false,
            ended_by: None,
            word: Word::default(),
            finished_at: None,
        }
    }

    /// Whether a question waits for its answer: then nothing is to be shown that can wait.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// The Operation's status, as it was last seen.
    pub(super) fn status(&self) -> &Value {
        &self.status
    }

    /// The field manager that has ended the Operation, if that is not hookhost.
    pub(super) fn ended_by(&self) -> Option<&str> {
        self.ended_by.as_deref()
    }

    /// Takes note of what was seen, `now` after following began, and says what is to be done.
    pub(super) fn handle(&mut self, seen: Seen, now: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        match seen {
            Seen::Operation(operation) => self.operation(&operation, now, &mut steps),
            Seen::Gone => return vec![Step::End(End::Gone)],
            Seen::Pod(pod) => self.logs.pod(&pod, false, now, &mut steps),
            Seen::PodGone(pod) => self.logs.pod(&pod, true, now, &mut steps),
            Seen::NoPods(why) => self.logs.cannot_watch(&why, &mut steps),
            Seen::Line(source, text) => steps.push(Step::Log(self.logs.line(&source, &text))),
            Seen::LogEnded(source, why) => self.logs.ended(&source, why, now, &mut steps),
            Seen::Lost(why) => {
                if !std::mem::replace(&mut self.is_lost, true) {
                    let text = "the connection to the cluster is lost; the Operation goes on there, and this waits for it";
                    steps.push(Step::Tell(format!("{text}: {why}")));
                }
            }
            Seen::Interrupted => self.interrupted(&mut steps),
            Seen::Answered(yes) => {
                self.is_asking = false;
                if yes && self.finished_at.is_none() {
                    self.cancel(&mut steps);
                }
            }
            Seen::NotCancelled(why) => {
                self.is_cancelling = false;
                steps.push(Step::Tell(format!("cannot cancel the Operation: {why}")));
            }
            Seen::Tick => {
                self.logs.reopen(now, &mut steps);
                self.warn(now, &mut steps);
            }
        }
        if let Some(end) = self.end(now) {
            if end == End::Finished && self.logs.is_open() {
                steps.push(Step::Tell("the end of the log is not waited for any longer".to_owned()));
            }
            steps.push(Step::End(end));
        }
        steps
    }

    fn operation(&mut self, operation: &Value, now: Duration, steps: &mut Vec<Step>) {
        if std::mem::take(&mut self.is_lost) {
            steps.push(Step::Tell("the connection to the cluster is there again".to_owned()));
        }
        let (status, other) = of_hookhost(operation);
        self.status = self.word.in_place(status, other.is_some());
        if let Some(writer) = other
            && !std::mem::replace(&mut self.is_overwritten, true)
        {
            steps.push(Step::Tell(format!(
                "another controller (field manager {writer:?}) overwrites the status of this Operation; what it writes is not shown"
            )));
        }
        if self.finished_at.is_none() && is_finished(&self.status) {
            self.finished_at = Some(now);
            self.ended_by = other_result(operation).map(str::to_owned);
            if let Some(writer) = &self.ended_by {
                steps.push(Step::Tell(format!(
                    "another controller (field manager {writer:?}) has ended this Operation, not hookhost"
                )));
            }
        }
        let cancellation = cancellation(operation);
        if self.finished_at.is_none() && cancellation != self.cancellation {
            steps.extend(cancellation.clone().map(Step::Tell));
            self.cancellation = cancellation;
        }
        steps.extend(news(&self.status, &mut self.told).into_iter().map(Step::Tell));
        if self.options.until == Until::End
            && let Some(job) = job_ref(&self.status)
        {
            let namespace =
                if job.namespace.is_empty() { self.options.namespace.clone() } else { job.namespace };
            if self.watched.insert(namespace.clone()) {
                steps.push(Step::WatchPods(namespace));
            }
        }
    }

    fn interrupted(&mut self, steps: &mut Vec<Step>) {
        if self.finished_at.is_some() {
            steps.push(Step::End(End::Finished));
        } else if self.is_cancelling || self.is_asking {
            steps.push(Step::End(End::Left));
        } else if self.options.can_ask {
            self.is_asking = true;
            steps.push(Step::Ask);
        } else {
            self.cancel(steps);
        }
    }

    fn cancel(&mut self, steps: &mut Vec<Step>) {
        self.is_cancelling = true;
        steps.push(Step::Tell("cancelling the Operation; Ctrl-C again stops waiting for that".to_owned()));
        steps.push(Step::Cancel);
    }

    /// Says once what may be wrong where nobody looks at the Operation.
    fn warn(&mut self, now: Duration, steps: &mut Vec<Step>) {
        let is_seen = phase(&self.status).is_some() || self.is_overwritten;
        if self.has_warned || now < NOBODY_AFTER || is_seen {
            return;
        }
        self.has_warned = true;
        steps.extend(self.nobody_looks().map(Step::Tell));
    }

    /// What may be wrong, a line each.
    fn nobody_looks(&self) -> [String; 4] {
        let namespace = &self.options.namespace;
        [
            "nobody has looked at the Operation yet. Check that".to_owned(),
            "- a hookhost runs in the cluster and is ready: kubectl get pods -A -l app.kubernetes.io/name=hookhost".to_owned(),
            format!(
                "- the namespace is one that it serves, by default those labelled so: kubectl label namespace {namespace} \
                 managed-by=vworkspace"
            ),
            "- it has the cluster id that the Operation's label app.vworkspace.io/cluster-id names, if there is one (Helm value \
             clusterId)"
                .to_owned(),
        ]
    }

    fn end(&self, now: Duration) -> Option<End> {
        if let Some(finished) = self.finished_at {
            let is_over = self.options.until == Until::Word
                || self.logs.are_complete(&self.status)
                || now >= finished + LOGS_WITHIN;
            return is_over.then_some(End::Finished);
        }
        if self.options.until == Until::Word {
            // Accepted is said when the Job is there, so there is a word as soon as there is a phase.
            let is_heard = phase(&self.status).is_some() || now >= FIRST_WORD_WITHIN;
            return is_heard.then_some(End::Heard);
        }
        self.options.timeout.is_some_and(|timeout| now >= timeout).then_some(End::TimedOut)
    }

    /// What is going on, for a line that changes as time passes.
    pub(super) fn progress(&self, now: Duration) -> String {
        let phase = phase(&self.status).unwrap_or("not looked at yet");
        let more = match blocked(&self.status) {
            _ if self.is_cancelling || self.cancellation.is_some() => ", cancelling".to_owned(),
            _ if self.is_lost => ", no connection".to_owned(),
            Some((reason, _)) => format!(", blocked: {reason}"),
            None => String::new(),
        };
        format!("{}  {phase}{more}", clock(now))
    }

    /// How it ended, in words for a person.
    pub(super) fn result(&self, end: End, now: Duration) -> String {
        let Options { namespace, name, .. } = &self.options;
        let word = phase(&self.status).unwrap_or("Pending");
        let goes_on = format!(
            "The Operation goes on in the cluster: kubectl get operation -n {namespace} {name} --watch"
        );
        match end {
            End::Finished => {
                let (reason, message) = conclusion(&self.status, self.logs.has_shown_any());
                let by = self.ended_by().map(|by| format!(", as {by:?} reports")).unwrap_or_default();
                let told = match word {
                    "Succeeded" => format!("Succeeded after {}{by}: {message}", clock(now)),
                    _ => format!("{word} ({reason}{by}): {message}"),
                };
                told + &steps(&self.status)
            }
            End::Gone => format!("The Operation {namespace}/{name} was deleted, which cancels it."),
            End::Heard => match blocked(&self.status) {
                Some((reason, message)) => format!("Blocked ({reason}): {message}"),
                None if phase(&self.status).is_none() => {
                    format!("The Operation {namespace}/{name} is made; nobody has looked at it yet.")
                }
                None => format!("The Operation {namespace}/{name} is {}.", word.to_lowercase()),
            },
            End::TimedOut | End::Left => match blocked(&self.status) {
                Some((reason, message)) => {
                    let others = match HOLDS_NOBODY.iter().any(|one| one.as_str() == reason) {
                        true => "",
                        false => "Until it has run, others that run its hook wait for it. ",
                    };
                    format!(
                        "Still blocked ({reason}): {message}\n{goes_on}\n{others}To drop it, before you run it otherwise \
                         (--closure, say): kubectl delete operation -n {namespace} {name}"
                    )
                }
                None if phase(&self.status).is_none() && !self.has_warned => {
                    format!("After {}: {}\n{goes_on}", clock(now), self.nobody_looks().join("\n"))
                }
                None => format!("Still {} after {}. {goes_on}", word.to_lowercase(), clock(now)),
            },
        }
    }

    /// How it ended, for the exit code.
    pub(super) fn outcome(&self, end: End) -> Outcome {
        match end {
            End::Finished => status::outcome(&self.status),
            End::Gone => Outcome::Failed,
            End::Left => Outcome::Interrupted,
            End::Heard | End::TimedOut if blocked(&self.status).is_some() => Outcome::Held,
            End::Heard => Outcome::Done,
            End::TimedOut => Outcome::TimedOut,
        }
    }
}
