//! Records: the one that was meant, in a state to run hooks of.

use super::*;
use hookhost_helm::snapshot::Verification;
use hookhost_helm::status::Status;

#[test]
fn the_record_that_flux_means_passes() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let at = release.current().unwrap();
    assert_eq!(at.secret_name(), "sh.helm.release.v1.fx.v1");
    assert_eq!(at.successor_name(), "sh.helm.release.v1.fx.v2");
    assert_eq!(check_record(&fixture_record(), &at), Ok(()));
    assert_eq!(successor_exists(&at).reason, Reason::ReleaseBusy);
    assert_eq!((no_record(&at).reason, no_record(&at).then), (Reason::ReleaseBusy, Then::Wait));
}

#[test]
fn a_record_of_another_release_is_refused() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let at = release.current().unwrap();
    type Change = fn(&mut Record);
    let changes: [(Change, &str); 5] = [
        (|r| r.name = "evil".into(), "its release is \"evil\", not \"fx\""),
        (|r| r.namespace = "kube-system".into(), "its namespace is \"kube-system\", not \"default\""),
        (|r| r.revision = 7, "its revision is \"7\", not \"1\""),
        (|r| r.chart.name = "x".into(), "its chart is \"x\""),
        (|r| r.chart.version = "9".into(), "its chart's version is \"9\""),
    ];
    for (change, words) in changes {
        let mut record = fixture_record();
        change(&mut record);
        let (reason, then, message) = refused(check_record(&record, &at));
        assert_eq!((reason, then), (Reason::ReleaseTampered, Then::Fail));
        assert!(message.contains(words), "{message}");
    }
    // A plain release is stored where it is installed.
    let at = RecordRef { namespace: "other", snapshot: None, ..at };
    assert_eq!(refused(check_record(&fixture_record(), &at)).0, Reason::ReleaseTampered);
}

#[test]
fn a_records_state_decides_and_helm_at_work_comes_first() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let flux = release.current().unwrap();
    let plain = RecordRef { snapshot: None, ..flux };
    let later = Then::RetryAfter(RETRY_SECONDS);
    for (status, reason, then, then_plain) in [
        (Status::PendingUpgrade, Reason::ReleaseBusy, Then::Wait, later),
        (Status::Uninstalling, Reason::ReleaseBusy, Then::Wait, later),
        (Status::Superseded, Reason::ReleaseBusy, Then::Wait, later),
        (Status::Failed, Reason::TargetNotReady, Then::Wait, later),
        (Status::Unknown, Reason::TargetNotReady, Then::Wait, later),
        (Status::Uninstalled, Reason::HookRequiresRelease, Then::Fail, Then::Fail),
    ] {
        let mut record = fixture_record();
        record.status = status;
        let refusal = check_record(&record, &flux).unwrap_err();
        assert_eq!((refusal.reason, refusal.then), (reason, then), "{status}");
        let refusal = check_record(&record, &plain).unwrap_err();
        assert_eq!((refusal.reason, refusal.then), (reason, then_plain), "{status}");
        record.name = "evil".into();
        let expected = if status.is_pending() { Reason::ReleaseBusy } else { Reason::ReleaseTampered };
        assert_eq!(check_record(&record, &flux).unwrap_err().reason, expected, "{status}");
    }
}

#[test]
fn only_a_verified_record_passes() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let at = release.current().unwrap();
    assert_eq!(check_verified(&at, &Verification::Verified), Ok(()));
    for (verification, words) in [
        (
            Verification::Mismatch { expected: "sha256:1".into(), found: "sha256:2".into() },
            "Flux wrote sha256:1",
        ),
        (Verification::Unverifiable { why: "it has blanks".into() }, "it has blanks"),
    ] {
        let (reason, then, message) = refused(check_verified(&at, &verification));
        assert_eq!((reason, then), (Reason::ReleaseTampered, Then::Fail));
        assert!(message.contains(words) && message.contains("default/sh.helm.release.v1.fx.v1"), "{message}");
    }
}

#[test]
fn of_a_plain_release_only_the_newest_revision_counts() {
    let stored = |list: &[(u32, &str)]| -> Vec<(u32, String)> {
        list.iter().map(|(revision, status)| (*revision, (*status).to_owned())).collect()
    };
    assert_eq!(
        deployed_revision("shop", &stored(&[(2, "superseded"), (10, "deployed"), (9, "failed")])),
        Ok(10)
    );
    // Concurrent writers can leave several that are called deployed.
    assert_eq!(deployed_revision("shop", &stored(&[(3, "deployed"), (2, "deployed")])), Ok(3));
    let later = Then::RetryAfter(RETRY_SECONDS);
    for (list, reason, then, words) in [
        (&[][..], Reason::TargetNotFound, Then::Fail, "there is no Helm release \"shop\""),
        (
            &[(1, "deployed"), (2, "pending-upgrade")],
            Reason::ReleaseBusy,
            later,
            "revision 2 of the release shop is pending",
        ),
        (&[(1, "deployed"), (2, "failed")], Reason::TargetNotReady, later, "roll it back"),
        (&[(1, "superseded"), (2, "superseded")], Reason::ReleaseBusy, later, "deployed just now"),
        (&[(1, "uninstalled")], Reason::HookRequiresRelease, Then::Fail, "uninstalled"),
        (&[(1, "")], Reason::TargetNotReady, later, "unknown"),
    ] {
        let refusal = refused(deployed_revision("shop", &stored(list)));
        assert_eq!((refusal.0, refusal.1), (reason, then), "{}", refusal.2);
        assert!(refusal.2.contains(words), "{}", refusal.2);
    }
}
