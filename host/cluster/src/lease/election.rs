//! The rules of claiming a lease, without clock and network: what to do next, given what was answered and when.

use std::time::Duration;

use tokio::time::Instant;

/// The times of an election, all derived from two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// What the Lease says: how long others wait.
    pub duration: Duration,
    /// How long a claim is good, counted from before its renewal was sent.
    pub valid: Duration,
    /// From one renewal to the next.
    pub renew_every: Duration,
    /// From a failed try to the next, while leading.
    pub retry: Duration,
    /// From one look to the next, while another leads: how late a released lease is noticed.
    pub poll: Duration,
    /// How long one request may take.
    pub request: Duration,
}

impl Timing {
    pub(crate) fn new(duration: Duration, renew_every: Duration) -> Timing {
        Timing {
            duration,
            // As client-go's 10 s of 15 s. What is left is for requests under way and for clocks of different speed.
            valid: duration * 2 / 3,
            renew_every,
            retry: renew_every / 10,
            // As client-go's 2 s for 15 s.
            poll: renew_every * 2 / 5,
            // Half, so that after a request without any answer there is time for a second and a third.
            request: renew_every / 2,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing before this time.
    Wait(Instant),
    /// Read the Lease.
    Look,
    /// Create the Lease as held by us.
    Create,
    /// Write the Lease as held by us, if it is still as it was last read or written.
    Replace,
    /// It was held and is lost. There is no way back.
    Stop(Loss),
}

/// How a held lease was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It was not renewed in time.
    Lapsed,
    /// Another is its holder.
    Taken {
        /// Who; empty if nobody.
        holder: String,
    },
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The Lease as it is.
    Found {
        /// Its resourceVersion: any other one is a sign of life.
        version: String,
        /// Its holder, if it has one.
        holder: Option<String>,
        /// The duration that its holder promises, where it makes sense.
        duration: Option<Duration>,
    },
    /// There is no Lease.
    Absent,
    /// It is written as wanted.
    Written {
        /// Its new resourceVersion.
        version: String,
    },
    /// It was not as it was last read: somebody else wrote, or an earlier write of ours was done after all.
    Conflict,
    /// No answer, or one that does not tell; a write may have been done.
    Failed,
}

/// The Lease as it was last seen.
#[derive(Clone, Debug)]
struct Seen {
    version: String,
    holder: Option<String>,
    /// When it is free, if it does not change until then.
    expires: Instant,
}

/// One claimant's knowledge.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    held_until: Option<Instant>,
    taken: Option<String>,
    step: Step,
    not_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Look,
    Create,
    Replace,
}

impl Election {
    pub(crate) fn new(identity: String, timing: Timing) -> Election {
        Election {
            identity,
            timing,
            seen: None,
            held_until: None,
            taken: None,
            step: Step::Look,
            not_before: None,
        }
    }

    /// Until when this claimant leads, if it does.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Whether this claimant has the lease, as far as it knows; it may have lapsed.
    pub(crate) fn is_held(&self) -> bool {
        self.held_until.is_some()
    }

    /// The holder last seen.
    pub(crate) fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.holder.as_deref()
    }

    /// What to do now.
    pub(crate) fn next(&self, now: Instant) -> Action {
        if let Some(holder) = &self.taken {
            return Action::Stop(Loss::Taken { holder: holder.clone() });
        }
        if self.held_until.is_some_and(|until| now >= until) {
            return Action::Stop(Loss::Lapsed);
        }
        if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
            return Action::Wait(self.held_until.map_or(not_before, |until| until.min(not_before)));
        }
        match self.step {
            Step::Look => Action::Look,
            Step::Create => Action::Create,
            Step::Replace => Action::Replace,
        }
    }

    /// Takes the answer to an action that was begun at `asked`.
    pub(crate) fn answer(&mut self, asked: Instant, now: Instant, answer: Answer) {
        match answer {
            Answer::Found { version, holder, duration } => self.found(now, version, holder, duration),
            Answer::Absent => self.absent(now),
            Answer::Written { version } => self.written(asked, now, version),
            Answer::Conflict => self.again(Step::Look, now + self.timing.retry),
            // A leader tries the same once more: if it was done after all, that is a conflict.
            Answer::Failed if self.is_held() => self.again(self.step, now + self.timing.retry),
            Answer::Failed => self.again(Step::Look, now + self.timing.poll),
        }
    }

    fn found(&mut self, now: Instant, version: String, holder: Option<String>, duration: Option<Duration>) {
        let ours = holder.as_ref() == Some(&self.identity);
        if self.is_held() && !ours {
            self.held_until = None;
            self.taken = Some(holder.clone().unwrap_or_default());
        }
        let expires = match &self.seen {
            // It may have been written long before it was first seen, never after.
            Some(seen) if seen.version == version => seen.expires,
            _ => now + duration.unwrap_or(self.timing.duration),
        };
        let free = ours || holder.is_none() || now >= expires;
        self.seen = Some(Seen { version, holder, expires });
        if free {
            self.again(Step::Replace, now);
        } else {
            self.again(Step::Look, now + self.timing.poll);
        }
    }

    /// Somebody deleted the Lease; whoever held it may not know yet, and is given its time.
    fn absent(&mut self, now: Instant) {
        let others = |seen: &Seen| seen.holder.as_ref().is_some_and(|holder| *holder != self.identity);
        if self.seen.as_ref().is_some_and(|seen| others(seen) && now < seen.expires) {
            self.again(Step::Look, now + self.timing.poll);
        } else {
            self.again(Step::Create, now);
        }
    }

    fn written(&mut self, asked: Instant, now: Instant, version: String) {
        let until = asked + self.timing.valid;
        self.seen = Some(Seen {
            version,
            holder: Some(self.identity.clone()),
            expires: asked + self.timing.duration,
        });
        if !self.is_held() && now >= until {
            // It took so long that others may have the lease by now.
            self.again(Step::Look, now);
        } else {
            self.held_until = Some(until);
            self.again(Step::Replace, asked + self.timing.renew_every);
        }
    }

    fn again(&mut self, step: Step, not_before: Instant) {
        self.step = step;
        self.not_before = Some(not_before);
    }
}
