//! A Job that somebody else suspends.

use super::{after, at, message, next, run, running, says, succeeded};
use crate::status::{State, is_suspended, phase};

fn suspended() -> State {
    State::Suspended { why: "JobSuspended: Job suspended".to_owned() }
}

#[test]
fn it_is_reported_before_the_first_pod_and_while_it_runs_and_once() {
    for before in [vec![], vec![State::Pending { why: None }], vec![running("a")]] {
        let states: Vec<State> = before.iter().cloned().chain([suspended()]).collect();
        let status = after(&states);
        assert_eq!(
            (phase(&status), says(&status, "Running")),
            (Some("Pending"), "False/HelmHookJobSuspended".to_owned())
        );
        assert_eq!(
            message(&status, "Running"),
            "Job shop/migrate-now was suspended by somebody else, a queue of Jobs for one, and goes on once they resume it: \
             JobSuspended: Job suspended"
        );
        assert!(is_suspended(&status) && says(&status, "Accepted") == "True/TemplateValidated");
        assert_eq!(next(&status, &suspended(), Some(&run()), 1, at("10:01:00")), None);
        let resumed = next(&status, &running("b"), Some(&run()), 1, at("10:02:00")).unwrap();
        assert_eq!(
            resumed.events.is_empty(),
            states.len() == 2 && before != [State::Pending { why: None }],
            "that it began is told once"
        );
        let resumed = resumed.status;
        assert_eq!(
            (phase(&resumed), says(&resumed, "Running")),
            (Some("Running"), "True/HelmHookJobActive".to_owned())
        );
        assert!(!is_suspended(&resumed) && !message(&resumed, "Running").contains("suspended"));
        let ended = next(&status, &succeeded(), Some(&run()), 1, at("10:03:00")).unwrap().status;
        assert_eq!(says(&ended, "Running"), "False/HelmHookJobSucceeded");
    }
}
