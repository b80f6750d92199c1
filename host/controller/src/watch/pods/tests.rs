//! What is kept of pods and warnings, where anybody may make them.

use hookhost_core::keys::CONTROLLER_UID;
use hookhost_core::keys::OPERATION;
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
    room.begin_listing();
    room.end_listing();
    for number in 0..2 * OTHERS {
        assert_eq!(room.insert(read(&pod(&format!("other-{number:02}"), "another", "Running"))), None);
    }
    assert!(names(&room).is_empty());
    assert_eq!(room.follow("a-third", "op-3"), Follow::GoOn, "none of them can be its own");
    assert!(!room.release("a-third"));
    assert!(room.is_listed);
    assert_eq!(room.follow("another", "op"), Follow::ListAgain, "there are more of them");
    assert!(!room.is_listed, "until they are listed, nobody takes those that are kept for all of them");
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

/// A state of a pod as it is known.
fn states(room: &Room) -> Vec<(String, bool)> {
    let state = |pod: Value| (pod["metadata"]["name"].as_str().unwrap().to_owned(), outcome::is_gone(&pod));
    room.of("op").into_iter().map(state).collect()
}

#[test]
fn the_last_state_of_a_pod_that_is_gone_stays_until_its_job_is_followed_no_more() {
    let mut room = room();
    room.insert(read(&pod("a", "job", "Running")));
    let mut last = pod("a", "job", "Running");
    last["status"]["containerStatuses"] = json!([{"name": "main", "state": {"terminated": {"exitCode": 3}}}]);
    let op = Some("op".to_owned());
    assert_eq!(room.forget(read(&last)), op);
    assert_eq!(states(&room), [("a".to_owned(), true)]);
    assert_eq!(room.of("op")[0]["status"]["containerStatuses"], last["status"]["containerStatuses"]);
    // A list in which it is not takes nothing away, and one that was not seen to go is gone, too.
    room.insert(read(&pod("b", "job", "Running")));
    room.insert(read(&pod("c", "job", "Running")));
    room.begin_listing();
    room.insert(read(&pod("c", "job", "Running")));
    room.end_listing();
    let named = |name: &str, is_gone| (name.to_owned(), is_gone);
    assert_eq!(states(&room), [named("a", true), named("b", true), named("c", false)]);
    // One whose label was taken off and put on again was never gone.
    assert_eq!(room.insert(read(&pod("a", "job", "Running"))), op);
    assert_eq!(states(&room)[0], named("a", false));
    // What no followed Job controls leaves nothing.
    let mut stray = pod("stray", "", "Running");
    room.insert(read(&stray));
    stray["metadata"]["labels"] = json!({});
    room.forget(read(&stray));
    room.insert(read(&pod("other", "another", "Running")));
    assert_eq!(room.forget(read(&pod("other", "another", "Running"))), None);
    assert_eq!(room.follow("another", "op"), Follow::GoOn);
    assert_eq!(states(&room).len(), 3);
    room.release("job");
    assert_eq!(states(&room), []);
    let bytes = room.bytes();
    room.forget(read(&pod("c", "job", "Running")));
    assert!(room.bytes() < bytes, "nothing of b is left: {}", room.bytes());
}

#[test]
fn of_any_number_of_pods_that_are_gone_none_displaces_one_that_is_there() {
    let mut room = room();
    room.insert(read(&pod("ended", "job", "Failed")));
    for number in 0..2 * PODS {
        let pod = pod(&format!("gone-{number:04}"), "job", "Running");
        room.insert(read(&pod));
        room.forget(read(&pod));
    }
    assert_eq!(names(&room).len(), PODS);
    assert!(states(&room).contains(&("gone-0000".to_owned(), true)), "the first stay");
    for number in 0..PODS {
        room.insert(read(&pod(&format!("there-{number}"), "job", "Failed")));
    }
    assert!(states(&room).iter().all(|(_, is_gone)| !is_gone) && names(&room).len() == PODS);
    assert!(names(&room).contains(&"ended".to_owned()));
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
