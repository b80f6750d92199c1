//! What is kept of pods and warnings, where anybody may make them.

use hookhost_core::clone::OPERATION;
use hookhost_core::outcome::CONTROLLER_UID;
use serde_json::json;

use super::room::{Follow, OTHERS, PODS, WARNINGS};
use super::*;

/// A pod that the Job of this UID controls, unless it is empty.
fn pod(name: &str, job: &str, phase: &str) -> Value {
    let owner = json!({"kind": "Job", "name": "op", "uid": job, "controller": true});
    json!({
        "metadata": {
            "name": name, "namespace": "org", "uid": format!("uid-{name}"),
            "labels": {OPERATION: "op", CONTROLLER_UID: job}, "annotations": {"more": "x".repeat(1 << 20)},
            "ownerReferences": if job.is_empty() { json!([]) } else { json!([owner]) },
        },
        "status": {"phase": phase},
    })
}

fn read(pod: &Value) -> Pod {
    Pod::read(&pod.to_string()).unwrap()
}

fn room() -> Room {
    let mut room = Room::default();
    assert_eq!(room.follow("job", "op"), Follow::Begin);
    room
}

fn names(room: &Room) -> Vec<String> {
    let pods = room.of("op").into_iter();
    pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn of_any_number_of_pods_a_bounded_number_is_kept_and_no_ended_one_displaces_one_at_work() {
    let mut room = room();
    for number in 0..PODS {
        room.insert(read(&pod(&format!("early-{number}"), "job", "Succeeded")));
    }
    room.insert(read(&pod("at-work", "job", "Running")));
    for number in 0..PODS {
        room.insert(read(&pod(&format!("late-{number}"), "job", "Failed")));
    }
    let kept = names(&room);
    assert_eq!(kept.len(), PODS);
    assert!(kept.iter().any(|name| name == "at-work"));
    assert!(!kept.iter().any(|name| name.starts_with("late")), "what was there stays");
    // Others at work have no owner: they only say that they are the Job's.
    for number in 0..PODS {
        let mut forged = pod(&format!("forged-{number}"), "job", "Pending");
        forged["metadata"]["ownerReferences"] = json!([]);
        room.insert(read(&forged));
    }
    let kept = names(&room);
    assert!(kept.len() == PODS && kept.iter().any(|name| name == "at-work"));
    assert!(room.bytes() < 1 << 20, "of their annotations nothing is kept: {}", room.bytes());
}

#[test]
fn pods_of_jobs_that_are_not_followed_are_few_and_known_once_their_job_is() {
    let mut room = room();
    for number in 0..2 * OTHERS {
        assert_eq!(room.insert(read(&pod(&format!("other-{number:02}"), "another", "Running"))), None);
    }
    assert!(names(&room).is_empty());
    assert_eq!(room.follow("another", "op"), Follow::ListAgain, "there may be more of them");
    assert!(!room.is_listed);
    assert_eq!(names(&room).len(), OTHERS, "the last of them");
    assert!(names(&room).contains(&format!("other-{}", 2 * OTHERS - 1)));
    assert_eq!(room.follow("another", "op"), Follow::GoOn, "once");
    assert!(!room.release("another") && names(&room).is_empty());
    assert!(room.release("job"), "the last Job");
}

#[test]
fn pods_that_have_ended_are_not_listed_again_for_each_job_that_starts_beside_them() {
    let mut room = room();
    for number in 0..2 * OTHERS {
        room.insert(read(&pod(&format!("ended-{number:02}"), "earlier", "Succeeded")));
    }
    assert_eq!(room.follow("another", "op"), Follow::GoOn);
}

#[test]
fn a_pod_whose_owner_or_labels_were_taken_off_is_its_jobs_by_what_is_left() {
    let mut room = room();
    let of = |room: &mut Room, change: fn(&mut Value)| {
        let mut pod = pod("a", "job", "Running");
        change(&mut pod);
        room.insert(read(&pod))
    };
    let op = Some("op".to_owned());
    assert_eq!(of(&mut room, |pod| pod["metadata"]["ownerReferences"] = json!([])), op, "orphaned");
    assert_eq!(of(&mut room, |pod| pod["metadata"]["labels"] = json!({OPERATION: "forged"})), op);
    let only_labelled = |pod: &mut Value| {
        pod["metadata"]["ownerReferences"] = json!([]);
        pod["metadata"]["labels"] = json!({OPERATION: "op"});
    };
    assert_eq!(of(&mut room, only_labelled), op);
    assert_eq!(of(&mut room, |pod| pod["metadata"]["ownerReferences"][0]["uid"] = "other".into()), None);
}

fn event(about: &str, kind: &str, message: &str) -> String {
    json!({
        "metadata": {"name": "e"}, "type": "Warning", "reason": FAILED_CREATE, "message": message,
        "involvedObject": {"kind": kind, "uid": about, "name": "n"}, "lastTimestamp": "2026-05-28T10:00:00Z",
        "series": null, "eventTime": null,
    })
    .to_string()
}

#[test]
fn of_any_number_of_warnings_a_bounded_number_is_kept_and_those_about_a_run_stay() {
    let mut room = room();
    room.insert(read(&pod("a", "job", "Pending")));
    let mut warn = |about: &str, kind: &str| room.warn(read_warning(&event(about, kind, "no room")).unwrap());
    assert_eq!((warn("job", "Job"), warn("uid-a", "Pod")), (Some("op".to_owned()), Some("op".to_owned())));
    for number in 0..2 * WARNINGS {
        warn(&format!("uid-{number}"), "Pod");
    }
    assert_eq!(warn(&"x".repeat(1000), "Pod"), None, "no object has such a UID");
    for about in ["job", "uid-a"] {
        assert_eq!(room.warning(about).unwrap().message, "no room");
    }
    assert!(room.bytes() < WARNINGS * 1024);
    assert_eq!(names(&room), ["a"]);
}

#[test]
fn of_a_warning_its_beginning_is_read_and_of_what_is_about_others_nothing() {
    let warning = read_warning(&event("job", "Job", &"\u{1}".repeat(1 << 20))).unwrap();
    assert_eq!((warning.message.len(), warning.at.as_str()), (WARNING_BYTES, "2026-05-28T10:00:00Z"));
    assert!(read_warning(&event("node", "Node", "")).is_none() && read_warning("{}").is_none());
}
