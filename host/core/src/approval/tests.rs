use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::refusal::Then;

const KEY: &[u8] = b"test-secret-hex";
/// Made by Python's hmac, as the control plane makes them; valid until 2026-06-03T14:00:00Z.
const CLAIM: &str = "vws1.eyJhdCI6IjIwMjYtMDYtMDNUMTI6MDA6MDBaIiwiYnkiOiJhZG1pbiIsImV4cCI6MTc4MDQ5NTIwMCwib3AiOiJvcC1yZXN0b3JlLTEiLCJyaWQiOjQyLCJ2IjoxfQ.69db506704ee34bfb0a49f579c140c0d87d9cc5350ded35a2e97f2e6faed8cf2";
const NAME: &str = "op-restore-1";
const EXPIRES: i64 = 1_780_495_200;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A claim with this body, rightly signed.
fn signed(body: &Value) -> String {
    let body = URL_SAFE_NO_PAD.encode(body.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(body.as_bytes());
    let mac: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("vws1.{body}.{mac}")
}

fn approvals(required: bool, claim: Option<&str>) -> Approvals {
    Approvals {
        required,
        claim: claim.map(str::to_owned),
        approved_by: Some("mallory".into()),
        approved_at: None,
    }
}

#[test]
fn a_claim_of_the_control_plane_is_verified() {
    let expected = Approval {
        approved_by: Some("admin".into()),
        approved_at: Some("2026-06-03T12:00:00Z".into()),
        request_id: Some(42),
        expires: EXPIRES,
    };
    assert_eq!(verify(CLAIM, KEY, NAME, at(EXPIRES)).as_ref(), Ok(&expected));
    // As the control plane and its operator trim them.
    assert_eq!(verify(&format!(" {CLAIM}\n"), b"test-secret-hex\n", NAME, at(0)), Ok(expected));
}

#[test]
fn each_thing_that_can_be_wrong_with_a_claim_has_its_error() {
    let verify = |claim: &str| verify(claim, KEY, NAME, at(0)).unwrap_err();
    let (body, mac) = CLAIM.strip_prefix("vws1.").unwrap().split_once('.').unwrap();
    let long = format!("vws1.{}.{mac}", "A".repeat(MAX_CLAIM_BYTES));
    for malformed in [
        "",
        "vws1",
        "vws1..",
        &format!("vws2.{body}.{mac}"),
        &format!("{CLAIM}.tampered"),
        &format!("vws1.{body}"),
        &format!("vws1.{body}.{}", mac.to_uppercase()),
        &format!("vws1.{body}.{}", &mac[2..]),
        &format!("vws1.{body}.{mac}00"),
        &format!("vws1.{body}.{}é", &mac[2..]),
        &long,
    ] {
        assert_eq!(verify(malformed), ApprovalError::Malformed, "{malformed}");
    }
    assert_eq!(verify(&format!("vws1.{body}.{}", "0".repeat(64))), ApprovalError::Forged);
    assert_eq!(verify(&format!("vws1.{body}A.{mac}")), ApprovalError::Forged);
    for body in [
        json!({}),
        json!({"op": NAME, "exp": EXPIRES, "v": 2}),
        json!({"op": NAME, "exp": "never", "v": 1}),
        json!(7),
    ] {
        assert_eq!(verify(&signed(&body)), ApprovalError::UnknownBody, "{body}");
    }
    let other = verify(&signed(&json!({"op": "other", "exp": EXPIRES, "v": 1})));
    assert_eq!(other.to_string(), "it is for the Operation \"other\", not for \"op-restore-1\"");
}

#[test]
fn another_key_approves_nothing() {
    for key in [&b"other"[..], b"", b"test-secret-he"] {
        assert_eq!(verify(CLAIM, key, NAME, at(0)), Err(ApprovalError::Forged));
    }
}

#[test]
fn a_claim_ends_after_its_last_second() {
    assert!(verify(CLAIM, KEY, NAME, at(EXPIRES)).is_ok());
    let error = verify(CLAIM, KEY, NAME, at(EXPIRES + 1)).unwrap_err();
    assert_eq!(error.to_string(), "it has expired at 2026-06-03T14:00:00Z");
    let ancient = signed(&json!({"op": NAME, "exp": i64::MIN, "v": 1}));
    assert!(matches!(verify(&ancient, KEY, NAME, at(0)), Err(ApprovalError::Expired { .. })));
}

#[test]
fn a_required_approval_is_waited_for_until_it_is_genuine() {
    let check = |approvals: &Approvals, key| check(approvals, key, NAME, at(EXPIRES));
    assert_eq!(check(&approvals(true, Some(CLAIM)), Some(KEY)), Ok(Some("admin".into())));
    for (claim, key, words) in [
        (None, Some(KEY), "spec.approvals.claim is where"),
        (Some(" "), Some(KEY), "spec.approvals.claim is where"),
        (None, None, "spec.approvals.claim is where"),
        (Some(CLAIM), None, "without the control plane's approval key"),
        (Some(CLAIM), Some(&b" "[..]), "without the control plane's approval key"),
        (Some("yes"), Some(KEY), "it is not of the form vws1.BODY.MAC"),
        (Some(CLAIM), Some(b"other"), "its signature is not the control plane's"),
    ] {
        let refusal = check(&approvals(true, claim), key).unwrap_err();
        assert_eq!((refusal.reason, refusal.then), (Reason::AwaitingApproval, Then::Wait));
        assert!(refusal.message.contains(words), "{refusal}");
    }
}

#[test]
fn who_approved_is_told_of_a_genuine_claim_only() {
    let check = |claim, key, now| check(&approvals(false, claim), key, NAME, at(now));
    assert_eq!(check(None, Some(KEY), 0), Ok(None), "spec.approvals.approvedBy proves nothing");
    assert_eq!(check(Some(CLAIM), Some(KEY), 0), Ok(Some("admin".into())));
    assert_eq!(check(Some(CLAIM), None, 0), Ok(None));
    assert_eq!(check(Some(CLAIM), Some(KEY), EXPIRES + 1), Ok(None));
    assert_eq!(check(Some(CLAIM), Some(b"other"), 0).unwrap_err().reason, Reason::AwaitingApproval);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_changed_byte_of_a_claim_passes(at_byte in any::<prop::sample::Index>(), to in "[0-9a-zA-Z._-]") {
        let at_byte = at_byte.index(CLAIM.len());
        let forged = format!("{}{to}{}", &CLAIM[..at_byte], &CLAIM[at_byte + 1..]);
        prop_assert_eq!(verify(&forged, KEY, NAME, at(0)).is_ok(), forged == CLAIM);
    }

    #[test]
    fn no_text_makes_it_panic(claim in ".{0,80}", body in "\\PC{0,40}") {
        let _ = verify(&claim, KEY, NAME, at(0));
        let _ = verify(&format!("vws1.{body}.{}", "0".repeat(64)), KEY, NAME, at(0));
        let _ = verify(&signed(&json!(body)), KEY, NAME, at(0));
    }
}
