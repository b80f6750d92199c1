use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::record::Record;

const HELM_RELEASE: &str = include_str!("../../../../tests/fixtures/flux/helmrelease.json");
const SECRET: &str = include_str!("../../../../tests/fixtures/flux/release-secret.json");

/// What helm-controller 1.4.0 wrote of the record.
fn snapshot() -> Snapshot {
    let list: Value = serde_json::from_str(HELM_RELEASE).unwrap();
    let written = &list["items"][0]["status"]["history"][0];
    let text = |field: &str| written[field].as_str().map(str::to_owned);
    Snapshot {
        api_version: text("apiVersion"),
        digest: text("digest").unwrap(),
        name: text("name").unwrap(),
        namespace: text("namespace").unwrap(),
        revision: u32::try_from(written["version"].as_u64().unwrap()).unwrap(),
        status: Status::from_word(&text("status").unwrap()),
        chart_name: text("chartName").unwrap(),
        chart_version: text("chartVersion").unwrap(),
        oci_digest: text("ociDigest"),
    }
}

/// The record as Helm stored it: without the API's base64.
fn stored() -> Vec<u8> {
    use base64::Engine as _;
    let list: Value = serde_json::from_str(SECRET).unwrap();
    let data = list["items"][0]["data"]["release"].as_str().unwrap();
    base64::engine::general_purpose::STANDARD.decode(data).unwrap()
}

/// Its JSON.
fn record() -> String {
    use std::io::Read as _;

    use base64::Engine as _;
    let gzip = base64::engine::general_purpose::STANDARD.decode(stored()).unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(gzip.as_slice()).read_to_string(&mut json).unwrap();
    json
}

/// The same history as if a newer Flux had written it, so that a mismatch is one.
fn newer() -> Snapshot {
    Snapshot { api_version: Some("v2".to_owned()), ..snapshot() }
}

fn is_mismatch(verification: &Verification) -> bool {
    matches!(verification, Verification::Mismatch { .. })
}

#[test]
fn a_record_that_flux_wrote_is_verified() {
    assert_eq!(verify(record().as_bytes(), &snapshot()), Verification::Verified);
    let (record, verification) = Record::read_verified(&stored(), &snapshot()).unwrap();
    assert_eq!(verification, Verification::Verified);
    assert_eq!((record.name.as_str(), record.revision, record.stored_hooks.len()), ("fx", 1, 3));
}

#[test]
fn an_empty_release_has_the_digest_of_fluxs_own_test() {
    let expected = "sha256:f1498f27a16a09cd7e1ee610d924df065c03d30035638babc95dd9a8d412ce4d";
    for empty in [
        "{\"name\":\"foo\"}",
        "{\"name\":\"foo\",\"version\":0,\"info\":{},\"chart\":{\"metadata\":null},\"config\":{},\"manifest\":\"\",\"hooks\":[]}",
        "{\"name\":\"foo\",\"info\":null,\"chart\":null,\"config\":null,\"manifest\":null,\"hooks\":null,\"namespace\":null}",
        "{\"name\":\"foo\",\"apply_method\":\"ssa\",\"hooks\":[{\"name\":\"t\",\"events\":[\"pre-install\",\"test\"]}]}",
    ] {
        assert_eq!(digest(empty.as_bytes(), None).as_deref(), Ok(expected), "{empty}");
        assert_eq!(digest(empty.as_bytes(), Some("")).as_deref(), Ok(expected), "{empty}");
    }
}

#[test]
fn the_artifacts_digest_is_part_of_it() {
    let oci = Some("sha256:0123456789abcdef");
    let with = digest(record().as_bytes(), oci).unwrap();
    assert_ne!(with, snapshot().digest);
    let snapshot = Snapshot { oci_digest: oci.map(str::to_owned), digest: with, ..newer() };
    assert_eq!(verify(record().as_bytes(), &snapshot), Verification::Verified);
    let error = digest(record().as_bytes(), Some("\",\"x\":\"")).unwrap_err();
    assert!(matches!(error, DigestError::OciDigest { .. }), "{error}");
}

#[test]
fn a_changed_hook_value_or_status_is_a_mismatch() {
    let record = record();
    for (from, to) in [
        ("busybox", "evilbox"),
        ("from-flux", "from-evil"),
        ("\"status\":\"deployed\"", "\"status\":\"superseded\""),
        ("\"namespace\":\"default\"}", "\"namespace\":\"kube-system\"}"),
        ("pre-upgrade\"]", "pre-delete\"]"),
    ] {
        let forged = record.replacen(from, to, 1);
        assert_ne!(forged, record, "{from}");
        assert!(is_mismatch(&verify(forged.as_bytes(), &newer())), "{from}");
        // An older Flux's digest proves nothing when it differs, but it lets nothing pass either.
        assert!(
            matches!(verify(forged.as_bytes(), &snapshot()), Verification::Unverifiable { .. }),
            "{from}"
        );
    }
}

#[test]
fn what_flux_does_not_hash_may_change() {
    let changed = record().replacen("\"templates\":[", "\"templates\":[{\"name\":\"x\",\"data\":\"\"},", 1);
    assert_ne!(changed, record());
    assert_eq!(verify(changed.as_bytes(), &newer()), Verification::Verified);
}

#[test]
fn lists_and_mappings_that_helm_never_writes_are_not_gone_through_to_their_end() {
    let nulls = |n: usize| vec!["null"; n].join(",");
    let keys = vec!["\"\":0"; 100].join(",");
    for (record, place) in [
        (format!("{{\"hooks\":[{}]}}", vec!["{}"; crate::limits::MAX_HOOKS + 1].join(",")), "hooks"),
        (format!("{{\"hooks\":[{{\"events\":[{}]}}]}}", nulls(17)), "hooks[].events"),
    ] {
        let error = digest(record.as_bytes(), None).unwrap_err();
        assert!(matches!(error, DigestError::Shape { path, .. } if path == place), "{error}");
    }
    let info = format!("{{\"info\":{{{keys}}}}}");
    assert!(digest(info.as_bytes(), None).is_ok());
    let rewritten = digest::digest_with(info.as_bytes(), None, Unset::LeftOut);
    assert!(matches!(rewritten, Err(DigestError::Shape { path: "info", .. })), "{rewritten:?}");
}

#[test]
fn a_test_hook_is_never_covered() {
    let forged = record().replacen(
        "\"hooks\":[",
        "\"hooks\":[{\"name\":\"evil\",\"kind\":\"Job\",\"path\":\"x\",\"manifest\":\"apiVersion: batch/v1\\nkind: Job\\nmetadata: \
         {name: evil}\\n\",\"events\":[\"test\"],\"last_run\":{\"phase\":\"\"}},",
        1,
    );
    assert_eq!(verify(forged.as_bytes(), &newer()), Verification::Verified);
    let hooks = Record::read_secret_value(forged.as_bytes()).unwrap().hooks();
    let covered: Vec<(&str, bool)> =
        hooks.iter().map(|hook| (hook.name.as_str(), hook.is_covered())).collect();
    let genuine = ["fx-post-upgrade", "fx-pre-install", "fx-pre-upgrade"].map(|name| (name, true));
    assert_eq!(covered[0], ("evil", false));
    assert_eq!(covered[1..], genuine);
}

#[test]
fn a_key_that_programs_read_differently_is_refused() {
    let record = record();
    let hooks = record.find("\"hooks\":").unwrap();
    for key in ["hooks", "Hooks", "HOOKS", "hoo\u{212a}s", "hook\u{17f}", "h\\u006foks", "Hoo\\u212as"] {
        for at in [1, hooks] {
            let forged = format!("{}\"{key}\":[],{}", &record[..at], &record[at..]);
            let verification = verify(forged.as_bytes(), &newer());
            let Verification::Unverifiable { why } = verification else { panic!("{key}: {verification:?}") };
            assert!(why.contains("Helm never writes"), "{why}");
            // What is read is what is hashed, or nothing.
            if let Ok((read, verification)) = Record::read_verified(forged.as_bytes(), &snapshot()) {
                assert_ne!(verification, Verification::Verified, "{read:?}");
            }
        }
    }
    for (object, key) in [("\"chart\":{", "\"Metadata\":{},"), ("\"events\":[", "\"Events\":[],")] {
        let at = record.find(object).unwrap();
        let at = if key.contains("Metadata") { at + object.len() } else { at };
        let forged = format!("{}{key}{}", &record[..at], &record[at..]);
        let verification = verify(forged.as_bytes(), &newer());
        assert!(matches!(verification, Verification::Unverifiable { .. }), "{key}: {verification:?}");
    }
}

#[test]
fn a_record_that_helm_did_not_write_is_told_so() {
    let spaced = record().replacen("\"hooks\":[", "\"hooks\": [", 1);
    // A blank between the tokens is not part of any, so the digest is still right.
    assert_eq!(verify(spaced.as_bytes(), &newer()), Verification::Verified);
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&record()).unwrap()).unwrap();
    for (json, expected) in [
        (pretty.as_str(), "blanks"),
        ("[]", "a mapping is expected at the top"),
        ("{\"hooks\":{}}", "a list is expected at hooks"),
        ("{\"hooks\":[null]}", "a mapping is expected at hooks"),
        ("{\"hooks\":[{\"events\":\"test\"}]}", "a list of texts"),
        ("{\"chart\":[]}", "a mapping is expected at chart"),
        ("{\"name\":\"fx\"} {}", "a mapping is expected at the top"),
        ("{\"name\":", "a mapping is expected at the top"),
    ] {
        let verification = verify(json.as_bytes(), &newer());
        let Verification::Unverifiable { why } = verification else { panic!("{json}: {verification:?}") };
        assert!(why.contains(expected), "{why}");
    }
    let other = Snapshot { digest: "md5:0".to_owned(), ..newer() };
    assert!(matches!(verify(record().as_bytes(), &other), Verification::Unverifiable { .. }));
}

#[test]
fn deep_json_is_hashed_without_deep_calls() {
    let deep = format!("{{\"name\":\"a\",\"config\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    assert!(digest(deep.as_bytes(), None).is_ok());
}

/// See tests/fixtures/flux/README.md.
#[test]
fn records_of_real_helms_have_the_digests_that_gos_encoder_gives() {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../../../tests/fixtures/flux/digests.json")).unwrap();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    for one in &all {
        let snapshot =
            Snapshot { digest: text(one, "digest"), oci_digest: Some(text(one, "ociDigest")), ..newer() };
        let record = text(one, "record");
        assert_eq!(
            verify(record.as_bytes(), &snapshot),
            Verification::Verified,
            "{} of Helm {}",
            one["name"],
            one["helm"]
        );
        // What Helm 4 would write of a record of Helm 3 is told from a forgery.
        let forged =
            record.replacen("\"weight\":", "\"weight\":1", 1).replacen("restartPolicy", "restartpolicy", 1);
        assert_ne!(forged, record);
        assert!(is_mismatch(&verify(forged.as_bytes(), &snapshot)), "{}", one["name"]);
    }
    assert!(all.iter().any(|one| text(one, "helm").starts_with('3')));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever one byte becomes: the record is refused, or what is used of it is what Flux saw.
    #[test]
    fn no_changed_byte_of_a_record_goes_unseen(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let genuine = record();
        let mut forged = genuine.clone().into_bytes();
        let at = at.index(forged.len());
        forged[at] = to;
        if let Ok((read, Verification::Verified)) = Record::read_verified(&forged, &newer()) {
            prop_assert_eq!(read, Record::read_secret_value(genuine.as_bytes()).unwrap());
        }
        let hooks = genuine.find("\"hooks\":[").unwrap() + "\"hooks\":[".len();
        let end = genuine.rfind("],\"version\"").unwrap();
        if (hooks..end).contains(&at) && forged != genuine.as_bytes() {
            prop_assert_ne!(verify(&forged, &newer()), Verification::Verified);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(json in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a-z0-9 ]{0,40}") {
        let _ = verify(&json, &newer());
        let _ = verify(format!("{{\"hooks\":[{{\"events\":[\"test\"],{text}").as_bytes(), &newer());
    }
}
