//! What holds for every status and every state.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{at, culprit, next, overwritten, restore, run};
use crate::outcome::{Culprit, PodRef};
use crate::reason::Reason;
use crate::refusal::{Refusal, Then};
use crate::status::{
    CancelledBy, Evidence, Foreign, MESSAGE_BYTES, NOTE_BYTES, NOTICES, Run, State, Update, is_finished,
    job_ref, phase,
};

const OURS: [&str; 6] = ["Accepted", "Blocked", "Running", "Succeeded", "Failed", "Cancelled"];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        10 => any::<String>(),
        10 => select(vec!["opens in 5 minutes", "opens in 6 minutes", "a\nb", "container c cannot start: ErrImagePull: x"])
            .prop_map(str::to_owned),
        1 => ("[a-zé\"0-9 \n]{1,20}", 0_usize..4000).prop_map(|(text, times)| text.repeat(times)),
    ]
}

fn any_pod() -> impl Strategy<Value = Option<PodRef>> {
    proptest::option::weighted(0.9, "[a-c0-3]{1,2}")
        .prop_map(|name| name.map(|name| PodRef { namespace: "shop".to_owned(), name }))
}

fn any_culprit() -> impl Strategy<Value = Option<Culprit>> {
    proptest::option::of(
        (any_text(), proptest::option::of(any::<i32>()), any_text(), any::<bool>()).prop_map(
            |(message, exit_code, container, has_container)| Culprit {
                message,
                exit_code,
                container: has_container.then_some(container),
                ..culprit()
            },
        ),
    )
}

fn any_refusal(then: impl Strategy<Value = Then>) -> impl Strategy<Value = State> {
    let reason =
        select(vec![Reason::HookNotFound, Reason::ReleaseBusy, Reason::PolicyHeld, Reason::PolicyDenied]);
    (reason, any_text(), then)
        .prop_map(|(reason, message, then)| State::Refused(Refusal { reason, message, then, object: None }))
}

fn waits() -> impl Strategy<Value = State> {
    any_refusal(select(vec![Then::Wait, Then::RetryAfter(60)]))
}

fn unfinished() -> impl Strategy<Value = State> {
    prop_oneof![
        proptest::option::of(any_text()).prop_map(|why| State::Pending { why }),
        (any_pod(), proptest::option::of(any_text()))
            .prop_map(|(pod, waiting)| State::Running { pod, waiting }),
    ]
}

fn last() -> impl Strategy<Value = State> {
    prop_oneof![
        any_refusal(Just(Then::Fail)),
        any_pod().prop_map(|pod| State::Succeeded { completed: Some(at("10:09:00")), pod }),
        (any_text(), any_culprit(), any_pod(), any_text())
            .prop_map(|(why, culprit, pod, log)| State::Failed { why, culprit, pod, finished: None, log }),
        (any_pod(), any::<bool>(), any_pod(), any_pod(), any_culprit(), any_text()).prop_map(
            |(pod, running, went_on, uncounted, culprit, log)| {
                State::ExternallyDeleted { pod, running, went_on, uncounted, culprit, log }
            }
        ),
        select(vec![CancelledBy::Annotation, CancelledBy::Deletion]).prop_map(State::Cancelled),
        Just(State::NamespaceDeleted),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        2 => waits(),
        3 => unfinished(),
        3 => last(),
        1 => any_text().prop_map(|why| State::Suspended { why }),
        1 => select(vec![CancelledBy::Annotation, CancelledBy::Deletion]).prop_map(State::Cancelling),
        1 => any_text().prop_map(|why| State::StepHeld(Refusal::wait(Reason::ReleaseBusy, why))),
        1 => any_text().prop_map(|why| State::EventStopped(Refusal::fail(Reason::PolicyDenied, why))),
        1 => (1_u32..9).prop_map(|revision| State::HookAvailable { revision }),
        1 => any_text().prop_map(|message| State::Obstructed { reason: Reason::AccessForbidden, message }),
    ]
}

fn any_run() -> impl Strategy<Value = Option<Run>> {
    proptest::option::weighted(
        0.8,
        any::<bool>().prop_map(|started| {
            let run = run();
            Run { started: run.started.filter(|_| started), ..run }
        }),
    )
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(vec![
            "True",
            "False",
            "Running",
            "Failed",
            "HelmHookJobActive",
            "HookNotFound",
            "Pending",
            "Job",
            "x"
        ])
        .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = select(vec![
        "phase",
        "startedAt",
        "finishedAt",
        "conditions",
        "outputs",
        "logsRef",
        "engineRef",
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
        "kind",
        "name",
        "namespace",
        "jobName",
        "decision",
        "other",
    ]);
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6).prop_map(|entries| {
                Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

fn any_condition() -> impl Strategy<Value = Value> {
    let of_type = select(vec![
        "Accepted",
        "Blocked",
        "Running",
        "Succeeded",
        "Failed",
        "Cancelled",
        "Reported",
        "Other",
    ]);
    let reason =
        select(vec!["HelmHookJobActive", "HookNotFound", "DependencyMissing", "Pending", "ExternalDeletion"]);
    (of_type, select(vec!["True", "False", "False", "Unknown"]), reason, any_text(), any::<bool>()).prop_map(
        |(of_type, status, reason, message, has_time)| {
            let mut condition =
                json!({"type": of_type, "status": status, "reason": reason, "message": message});
            if has_time {
                condition["lastTransitionTime"] = json!("2026-05-28T09:00:00Z");
            }
            condition
        },
    )
}

/// Any JSON, mostly with conditions like real ones.
fn any_status() -> impl Strategy<Value = Value> {
    let like_one = (proptest::collection::vec(any_condition(), 0..5), any_json(), any_json(), any_json())
        .prop_map(|(conditions, outputs, logs, broken)| {
            let mut conditions = conditions;
            conditions.insert(conditions.len() / 2, broken);
            json!({"phase": "Pending", "conditions": conditions, "outputs": outputs, "logsRef": logs})
        });
    prop_oneof![1 => Just(Value::Null), 2 => any_json(), 5 => like_one]
}

fn conditions(status: &Value) -> Vec<&Value> {
    status.get("conditions").and_then(Value::as_array).into_iter().flatten().collect()
}

fn of_type<'v>(status: &'v Value, name: &str) -> Option<&'v Value> {
    conditions(status).into_iter().find(|condition| condition["type"] == name)
}

fn is_reason(reason: &str) -> bool {
    let bytes = reason.as_bytes();
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(word)
        && bytes.iter().all(|byte| word(byte) || matches!(byte, b',' | b':'))
}

fn check_update(before: &Value, update: &Update) -> Result<(), TestCaseError> {
    let after = &update.status;
    let mut types: Vec<&str> =
        conditions(after).iter().map(|condition| condition["type"].as_str().unwrap()).collect();
    let foreign = |status| -> Vec<Value> {
        let mut seen = Vec::new();
        let mut kept = Vec::new();
        for condition in conditions(status) {
            let Some(name) = condition["type"].as_str().filter(|name| !name.is_empty()) else { continue };
            if !OURS.contains(&name) && !seen.contains(&name) {
                seen.push(name);
                kept.push(condition.clone());
            }
        }
        kept
    };
    prop_assert_eq!(foreign(before), foreign(after), "others' conditions stay, in order");
    types.sort_unstable();
    prop_assert!(types.windows(2).all(|pair| pair[0] != pair[1]), "a map by type");
    for condition in conditions(after) {
        let name = condition["type"].as_str().unwrap();
        let was = of_type(before, name);
        if was == Some(condition) {
            continue;
        }
        prop_assert!(OURS.contains(&name));
        prop_assert!(is_reason(condition["reason"].as_str().unwrap()));
        prop_assert!(condition["message"].as_str().unwrap().len() <= MESSAGE_BYTES);
        let time = condition["lastTransitionTime"].as_str().unwrap();
        if let Some(was) = was
            && was["status"] == condition["status"]
            && was["lastTransitionTime"].as_str().is_some_and(|time| !time.is_empty())
        {
            prop_assert_eq!(&was["lastTransitionTime"], time, "no transition, no new time");
        }
    }
    for (key, value) in before.get("outputs").and_then(Value::as_object).into_iter().flatten() {
        if key == "other" {
            prop_assert_eq!(&after["outputs"][key], value, "others' outputs stay");
        }
    }
    prop_assert!(update.events.len() <= 2);
    prop_assert!(update.events.iter().all(|event| event.note.len() <= NOTE_BYTES));
    Ok(())
}

/// Without what HookAvailable and Obstructed may change.
fn result(status: &Value) -> Value {
    let mut status = status.clone();
    status["conditions"].as_array_mut().unwrap().retain(|condition| condition["type"] != "Blocked");
    status
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_same_state_again_gives_nothing(status in any_status(), state in any_state(), run in any_run()) {
        if let Some(update) = next(&status, &state, run.as_ref(), 1, at("10:00:00")) {
            check_update(&status, &update)?;
            prop_assert_eq!(next(&update.status, &state, run.as_ref(), 1, at("10:30:00")), None);
            prop_assert_eq!(next(&update.status, &state, run.as_ref(), 2, at("10:30:00")), None);
        }
    }

    #[test]
    fn a_finished_operation_keeps_its_result(states in proptest::collection::vec((any_state(), any_run()), 1..12)) {
        let mut status = Value::Null;
        for (state, run) in &states {
            let Some(update) = next(&status, state, run.as_ref(), 1, at("10:00:00")) else { continue };
            check_update(&status, &update)?;
            if is_finished(&status) {
                let is_obstructed = matches!(state, State::Obstructed { .. });
                let is_news = is_obstructed || matches!(state, State::HookAvailable { .. });
                prop_assert!(is_news, "only news of the hook, or of what must be repaired, are written");
                prop_assert_eq!(result(&status), result(&update.status));
                prop_assert_eq!(update.events.len(), usize::from(is_obstructed));
            }
            status = update.status;
        }
    }

    #[test]
    fn a_run_is_written_a_bounded_number_of_times(states in proptest::collection::vec(unfinished(), 1..24)) {
        let (mut status, mut writes, mut events) = (Value::Null, 0, 0);
        for state in &states {
            if let Some(update) = next(&status, state, Some(&run()), 1, at("10:00:00")) {
                writes += 1;
                events += update.events.len();
                status = update.status;
            }
        }
        // Pending and its notices; Running, its first pod if that was not known at once, and its notices.
        prop_assert!(writes <= (1 + NOTICES) + (2 + NOTICES), "{writes} writes");
        prop_assert!(events <= 2);
    }

    #[test]
    fn a_result_that_was_overwritten_is_put_back(before in proptest::collection::vec(prop_oneof![waits(), unfinished()], 0..3), state in last(), run in any_run()) {
        let mut status = Value::Null;
        for state in before.iter().chain([&state]) {
            if let Some(update) = next(&status, state, run.as_ref(), 1, at("10:00:00")) {
                status = update.status;
            }
        }
        prop_assert!(is_finished(&status));
        prop_assert_eq!(restore(&status, at("11:00:00")), None);
        let forged = overwritten(&status);
        let Some(restored) = restore(&forged, at("11:00:00")) else { return Err(TestCaseError::fail("not restored")) };
        prop_assert_eq!(phase(&restored), phase(&status));
        prop_assert_eq!(restore(&restored, at("11:30:00")), None);
        for name in OURS {
            let words = |status| of_type(status, name).map(|condition| (condition["status"].clone(), condition["reason"].clone(), condition["message"].clone()));
            match of_type(&status, name) {
                Some(_) => prop_assert_eq!(words(&restored), words(&status), "{}", name),
                None => prop_assert_ne!(of_type(&restored, name).map(|condition| &condition["status"]), Some(&json!("True"))),
            }
        }
    }

    /// Whatever another controller writes into the three conditions that it shares with hookhost: nothing of it is left, or counts, once
    /// hookhost has written.
    #[test]
    fn what_another_controller_says_is_never_hookhosts_word(
        before in proptest::collection::vec(prop_oneof![waits(), unfinished()], 0..3), state in any_state(), run in any_run(),
        reason in select(vec!["DependencyMissing", "AwaitingApproval", "EngineStarted", "ClaimInvalid", "HelmHookJobSuspended"]),
        is_true in any::<[bool; 3]>(),
    ) {
        let mut own = Value::Null;
        for state in &before {
            if let Some(update) = next(&own, state, run.as_ref(), 1, at("10:00:00")) {
                own = update.status;
            }
        }
        let types = ["Accepted", "Blocked", "Running"];
        let mut status = json!({"phase": "Pending", "conditions": []});
        for (key, value) in own.as_object().into_iter().flatten() {
            status[key] = value.clone();
        }
        let conditions = status["conditions"].as_array_mut().unwrap();
        conditions.retain(|condition| !types.contains(&condition["type"].as_str().unwrap()));
        let bare = status.clone();
        let conditions = status["conditions"].as_array_mut().unwrap();
        conditions.extend(types.iter().zip(is_true).map(|(of_type, is)| json!({"type": of_type, "reason": reason,
            "status": if is { "True" } else { "False" }, "message": "their words", "lastTransitionTime": "2026-05-28T09:00:00Z"})));
        let evidence = Evidence { foreign: Foreign::of(&types), reported: None };
        let written = crate::status::next(&status, evidence, &state, run.as_ref(), 1, at("11:00:00"));
        prop_assert!(written.iter().all(|update| !update.status.to_string().contains("their words")));
        let alone = next(&bare, &state, run.as_ref(), 1, at("11:00:00"));
        if let (Some(mut written), Some(alone)) = (written, alone) {
            // What the other has said there is taken back.
            if of_type(&alone.status, "Blocked").is_none() {
                let says = of_type(&written.status, "Blocked").map(|blocked| blocked["reason"].clone());
                prop_assert!(says.is_none_or(|reason| reason == "Unblocked"));
                written.status = result(&written.status);
            }
            prop_assert_eq!(written, alone);
        }
    }

    #[test]
    fn nothing_that_a_status_holds_panics(status in any_status()) {
        let _ = (is_finished(&status), phase(&status), job_ref(&status), Run::of(&status));
        if let Some(restored) = restore(&status, at("10:00:00")) {
            prop_assert_eq!(restore(&restored, at("10:30:00")), None);
        }
    }
}
