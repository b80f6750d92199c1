//! A model of claimants, the API server and everything between them: requests and answers that are late, lost or done
//! after all, processes that pause and crash, clocks of different speed. Whatever the schedule, one leads at most.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tokio::time::Instant;

use super::election::{Action, Answer, Election, Loss, Timing};
use super::{DURATION, RENEW_EVERY};

/// Claimants at any time.
const CLAIMANTS: usize = 3;
/// By how much clocks may run fast or slow, in thousandths: far more than any real clock does.
const CLOCK_RATES: std::ops::RangeInclusive<u64> = 900..=1100;
/// Between the end of one's claim and the beginning of another's at least this much real time passes, so that what
/// was under way has ended.
const PEACE: u64 = 2_000;

/// What happens next in the world.
#[derive(Clone, Debug)]
enum Happening {
    /// Real time passes, in milliseconds.
    Pass(u64),
    /// A claimant runs, and its request reaches the server and is answered at once.
    Turn(usize),
    /// A claimant runs and sends its request, if it wants to.
    Send(usize),
    /// Its request reaches the server.
    Reach(usize),
    /// The server's answer reaches it.
    Return(usize),
    /// It waited too long. The request may still reach the server.
    Lose(usize),
    /// A request that nobody waits for any more reaches the server.
    Late,
    /// It crashes, and its successor starts.
    Crash(usize),
    /// It is shut down: it stops writing, gives the lease back, and its successor starts.
    Release(usize),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let who = 0..CLAIMANTS;
    let one = prop_oneof![
        8 => (0u64..3_000).prop_map(Happening::Pass),
        1 => (0u64..20_000).prop_map(Happening::Pass),
        10 => who.clone().prop_map(Happening::Turn),
        4 => who.clone().prop_map(Happening::Send),
        4 => who.clone().prop_map(Happening::Reach),
        4 => who.clone().prop_map(Happening::Return),
        2 => who.clone().prop_map(Happening::Lose),
        1 => Just(Happening::Late),
        1 => who.clone().prop_map(Happening::Crash),
        1 => who.prop_map(Happening::Release),
    ];
    prop::collection::vec(one, 1..400)
}

/// The Lease in the server.
#[derive(Clone, Debug)]
struct Object {
    version: u64,
    holder: Option<String>,
}

#[derive(Clone, Debug)]
enum Request {
    Look,
    Create { holder: String },
    Replace { version: Option<u64>, holder: Option<String> },
}

#[derive(Default)]
struct Server {
    object: Option<Object>,
    versions: u64,
}

impl Server {
    fn serve(&mut self, request: &Request) -> Answer {
        let (holder, allowed) = match (request, &self.object) {
            (Request::Look, None) => return Answer::Absent,
            (Request::Look, Some(Object { version, holder })) => {
                return Answer::Found {
                    version: version.to_string(),
                    holder: holder.clone(),
                    duration: Some(DURATION),
                };
            }
            (Request::Create { holder }, object) => (Some(holder.clone()), object.is_none()),
            (Request::Replace { version, holder }, object) => (
                holder.clone(),
                version.is_some() && *version == object.as_ref().map(|object| object.version),
            ),
        };
        if !allowed {
            return Answer::Conflict;
        }
        self.versions += 1;
        self.object = Some(Object { version: self.versions, holder });
        Answer::Written { version: self.versions.to_string() }
    }
}

struct Flight {
    request: Request,
    asked: Instant,
    answer: Option<Answer>,
}

/// A process, with its own clock.
struct Claimant {
    identity: String,
    election: Election,
    started: Instant,
    rate: u64,
    known: Option<u64>,
    flight: Option<Flight>,
}

impl Claimant {
    fn now(&self, real: u64) -> Instant {
        self.started + Duration::from_micros(real * self.rate)
    }

    /// When its claim ends, in real milliseconds.
    fn claim_ends(&self) -> Option<u64> {
        let until = self.election.held_until()?;
        let local = u64::try_from((until - self.started).as_micros()).unwrap();
        Some(local.div_ceil(self.rate))
    }
}

/// Until when somebody, alive or not, could believe to lead.
struct Belief {
    identity: String,
    ends: u64,
}

struct World {
    real: u64,
    server: Server,
    claimants: Vec<Claimant>,
    late: Vec<Request>,
    beliefs: Vec<Belief>,
    rates: Vec<u64>,
    born: usize,
    reigns: usize,
}

impl World {
    fn new(rates: &[u64]) -> World {
        let mut world = World {
            real: 0,
            server: Server::default(),
            claimants: Vec::new(),
            late: Vec::new(),
            beliefs: Vec::new(),
            rates: rates.to_vec(),
            born: 0,
            reigns: 0,
        };
        world.claimants = (0..rates.len()).map(|who| world.birth(who)).collect();
        world
    }

    fn birth(&mut self, who: usize) -> Claimant {
        self.born += 1;
        let identity = format!("claimant-{}", self.born);
        let election = Election::new(identity.clone(), Timing::new(DURATION, RENEW_EVERY));
        let rate = self.rates[who];
        Claimant { identity, election, started: Instant::now(), rate, known: None, flight: None }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Pass(milliseconds) => self.real += milliseconds,
            Happening::Turn(who) => {
                self.send(who);
                self.reach(who);
                self.answer(who);
            }
            Happening::Send(who) => self.send(who),
            Happening::Reach(who) => self.reach(who),
            Happening::Return(who) => self.answer(who),
            Happening::Lose(who) => {
                if let Some(flight) = self.claimants[who].flight.take() {
                    if flight.answer.is_none() {
                        self.late.push(flight.request);
                    }
                    let now = self.claimants[who].now(self.real);
                    self.claimants[who].election.answer(flight.asked, now, Answer::Failed);
                }
            }
            Happening::Late => {
                if let Some(request) = self.late.pop() {
                    self.server.serve(&request);
                }
            }
            Happening::Crash(who) => self.crash(who),
            Happening::Release(who) => {
                let claimant = &self.claimants[who];
                if claimant.flight.is_none() && claimant.election.is_held() {
                    self.late.push(Request::Replace { version: claimant.known, holder: None });
                    // It stopped writing before it said so.
                    let identity = claimant.identity.clone();
                    self.beliefs.retain(|belief| belief.identity != identity);
                    self.claimants[who] = self.birth(who);
                }
            }
        }
        self.check();
    }

    fn crash(&mut self, who: usize) {
        // What it had sent may still arrive.
        if let Some(flight) = self.claimants[who].flight.take().filter(|flight| flight.answer.is_none()) {
            self.late.push(flight.request);
        }
        self.claimants[who] = self.birth(who);
    }

    fn send(&mut self, who: usize) {
        let real = self.real;
        let claimant = &mut self.claimants[who];
        if claimant.flight.is_some() {
            return;
        }
        let asked = claimant.now(real);
        let holder = claimant.identity.clone();
        let request = match claimant.election.next(asked) {
            Action::Wait(until) => return assert!(until > asked, "a wait must be for something"),
            Action::Stop(_) => return self.crash(who),
            Action::Look => Request::Look,
            Action::Create => Request::Create { holder },
            Action::Replace => Request::Replace { version: claimant.known, holder: Some(holder) },
        };
        claimant.flight = Some(Flight { request, asked, answer: None });
    }

    fn reach(&mut self, who: usize) {
        if let Some(flight) = self.claimants[who].flight.as_mut().filter(|flight| flight.answer.is_none()) {
            flight.answer = Some(self.server.serve(&flight.request));
        }
    }

    fn answer(&mut self, who: usize) {
        let real = self.real;
        let claimant = &mut self.claimants[who];
        match claimant.flight.take() {
            Some(Flight { asked, answer: Some(answer), .. }) => {
                if let Answer::Found { version, .. } | Answer::Written { version } = &answer {
                    claimant.known = Some(version.parse().unwrap());
                }
                let now = claimant.now(real);
                claimant.election.answer(asked, now, answer);
                self.believe(who);
            }
            unanswered => claimant.flight = unanswered,
        }
    }

    /// A claim may have begun or been prolonged.
    fn believe(&mut self, who: usize) {
        let claimant = &self.claimants[who];
        let Some(ends) = claimant.claim_ends().filter(|ends| *ends > self.real) else { return };
        let identity = &claimant.identity;
        for other in self.beliefs.iter().filter(|belief| belief.identity != *identity) {
            assert!(
                other.ends + PEACE <= self.real,
                "{identity} leads at {}, while {} may have believed to lead until {}",
                self.real,
                other.identity,
                other.ends
            );
        }
        match self.beliefs.iter_mut().find(|belief| belief.identity == *identity) {
            Some(belief) => belief.ends = ends,
            None => {
                self.reigns += 1;
                self.beliefs.push(Belief { identity: identity.clone(), ends });
            }
        }
    }

    fn check(&self) {
        let leaders: Vec<_> =
            self.claimants.iter().filter(|c| c.claim_ends().is_some_and(|ends| ends > self.real)).collect();
        assert!(leaders.len() <= 1, "{} lead at once", leaders.len());
    }

    /// Everybody runs ten times a second, with nothing going wrong, until somebody leads.
    fn settle(&mut self, within: Duration) -> Option<String> {
        let deadline = self.real + u64::try_from(within.as_millis()).unwrap();
        while self.real < deadline {
            self.happen(&Happening::Pass(100));
            (0..self.claimants.len()).for_each(|who| self.happen(&Happening::Turn(who)));
            let leader = self.claimants.iter().find(|c| c.claim_ends().is_some_and(|ends| ends > self.real));
            if let Some(leader) = leader {
                return Some(leader.identity.clone());
            }
        }
        None
    }
}

fn rates() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(CLOCK_RATES, CLAIMANTS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn two_claimants_never_lead_at_once_whatever_is_late_lost_or_slow(
        happenings in happenings(), rates in rates(),
    ) {
        let mut world = World::new(&rates);
        happenings.iter().for_each(|happening| world.happen(happening));
    }

    #[test]
    fn whatever_has_happened_somebody_leads_soon_once_all_is_well(
        happenings in happenings(), rates in rates(),
    ) {
        let mut world = World::new(&rates);
        happenings.iter().for_each(|happening| world.happen(happening));
        // The duration on the slowest clock, and a look and a retry.
        prop_assert!(world.settle(DURATION * 10 / 9 + RENEW_EVERY).is_some());
    }
}

#[test]
fn the_model_sees_many_reigns() {
    // Else the laws above would hold for want of leaders.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reigns = 0;
    for _ in 0..64 {
        let happenings = happenings().new_tree(&mut runner).unwrap().current();
        let mut world = World::new(&[1000; CLAIMANTS]);
        happenings.iter().for_each(|happening| world.happen(happening));
        reigns += world.reigns;
    }
    assert!(reigns > 64, "{reigns}");
}

#[test]
fn a_crashed_leader_is_followed_when_its_lease_has_lapsed_and_not_before() {
    let mut world = World::new(&[1000, 1000]);
    let first = world.settle(Duration::from_secs(1)).unwrap();
    let leader = world.claimants.iter().position(|claimant| claimant.identity == first).unwrap();
    let crashed = world.real;
    world.happen(&Happening::Crash(leader));
    world.settle(DURATION + RENEW_EVERY).unwrap();
    // A poll late at most.
    assert!((15_000..=17_200).contains(&(world.real - crashed)), "{}", world.real - crashed);
}

#[test]
fn a_released_lease_is_taken_at_the_next_look() {
    let mut world = World::new(&[1000, 1000]);
    let first = world.settle(Duration::from_secs(1)).unwrap();
    let leader = world.claimants.iter().position(|claimant| claimant.identity == first).unwrap();
    let released = world.real;
    world.happen(&Happening::Release(leader));
    world.happen(&Happening::Late);
    assert_ne!(world.settle(DURATION).unwrap(), first);
    assert!(world.real - released <= 2_100, "{}", world.real - released);
}

#[test]
fn a_leader_that_finds_another_in_its_place_stops() {
    let now = Instant::now();
    let mut leader = Election::new("leader".into(), Timing::new(DURATION, RENEW_EVERY));
    leader.answer(now, now, Answer::Absent);
    leader.answer(now, now, Answer::Written { version: "1".into() });
    assert!(leader.is_held());
    leader.answer(now, now, Answer::Conflict);
    let usurper = Some("usurper".to_owned());
    leader.answer(now, now, Answer::Found { version: "2".into(), holder: usurper, duration: None });
    assert!(!leader.is_held());
    assert_eq!(leader.next(now), Action::Stop(Loss::Taken { holder: "usurper".into() }));
}

#[test]
fn a_lease_deleted_under_its_leader_is_made_again_by_it_and_by_nobody_before_its_time() {
    let mut world = World::new(&[1000, 1000]);
    let first = world.settle(Duration::from_secs(1)).unwrap();
    let run = |world: &mut World| {
        for _ in 0..50 {
            world.happen(&Happening::Pass(100));
            (0..2).for_each(|who| world.happen(&Happening::Turn(who)));
        }
    };
    // So that the other has seen who leads.
    run(&mut world);
    world.server.object = None;
    // Two renewals' time, and no claim of another has begun.
    (0..2).for_each(|_| run(&mut world));
    assert_eq!(world.server.object.unwrap().holder, Some(first));
}

#[test]
fn an_answer_that_comes_after_the_claim_has_lapsed_makes_nobody_a_leader_and_ends_nobody() {
    let asked = Instant::now();
    let mut paused = Election::new("paused".into(), Timing::new(DURATION, RENEW_EVERY));
    paused.answer(asked, asked, Answer::Absent);
    let late = asked + DURATION;
    paused.answer(asked, late, Answer::Written { version: "1".into() });
    assert!(!paused.is_held());
    assert_eq!(paused.next(late), Action::Look);
}
