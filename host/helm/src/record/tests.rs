use crate::limits::{MAX_HOOK_TEXT_BYTES, MAX_HOOK_WORDS, MAX_HOOKS, MAX_INFLATED_BYTES};
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn helm_value(record: &Value) -> String {
    STANDARD.encode(gzip(record.to_string().as_bytes()))
}

/// A record as Helm 3 writes it: times that are not set are "".
fn release() -> Value {
    json!({
        "name": "shop", "namespace": "shops", "version": 3, "future": {"of": ["Helm"]},
        "info": {
            "first_deployed": "2026-05-28T10:00:00.5+02:00", "last_deployed": "2026-06-01T08:00:00Z", "deleted": "",
            "description": "Upgrade complete", "status": "deployed", "notes": "s3cret"
        },
        "chart": {
            "metadata": {"name": "shop", "version": "1.2.3", "appVersion": "2.0", "keywords": null},
            "lock": null, "templates": [{"name": "templates/a.yaml", "data": "e30="}], "values": {"password": "s3cret"}
        },
        "config": {"password": "s3cret"},
        "manifest": "---\nkind: ConfigMap\n",
        "hooks": [
            {
                "name": "shop-migrate", "kind": "Job", "path": "shop/templates/migrate.yaml", "weight": 5,
                "manifest": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: shop-migrate}\nspec: {template: {spec: {containers: \
                             [{name: c, image: i, env: [{name: P, value: s3cret}]}]}}}\n",
                "events": ["pre-upgrade", "test-success"], "delete_policies": ["hook-succeeded"],
                "last_run": {"started_at": "2026-06-01T07:59:00Z", "completed_at": "", "phase": "Running"}
            },
            null,
            {
                "name": "shop-migrate", "kind": "ServiceAccount", "path": "shop/templates/sa.yaml", "weight": -5,
                "manifest": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: shop-migrate}\n",
                "events": ["pre-upgrade"], "last_run": {"started_at": "", "completed_at": "", "phase": ""}
            }
        ]
    })
}

fn read(value: &Value) -> Result<Record, RecordError> {
    Record::read_secret_value(helm_value(value).as_bytes())
}

fn secret(value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.shop.v3", "namespace": "store", "labels": {"owner": "helm"}},
        "data": {"release": STANDARD.encode(value)}
    })
}

#[test]
fn a_record_of_helm_3_is_read_whole() {
    let record = read(&release()).unwrap();
    assert_eq!((record.name.as_str(), record.namespace.as_str(), record.revision), ("shop", "shops", 3));
    assert_eq!(record.status, Status::Deployed);
    assert_eq!(record.first_deployed, Some("2026-05-28T08:00:00.5Z".parse().unwrap()));
    assert_eq!(record.deleted, None);
    assert_eq!(
        record.chart,
        Chart { name: "shop".into(), version: "1.2.3".into(), app_version: Some("2.0".into()) }
    );
    let hooks = record.hooks();
    let kinds: Vec<_> = hooks.iter().map(|hook| (hook.kind.as_str(), hook.weight)).collect();
    assert_eq!(kinds, [("ServiceAccount", -5), ("Job", 5)]);
    let job = &hooks[1];
    assert_eq!(job.events, ["pre-upgrade", "test"]);
    assert_eq!(job.last_run.started_at, Some("2026-06-01T07:59:00Z".parse().unwrap()));
    assert_eq!((job.last_run.completed_at, job.last_run.phase.as_str()), (None, "Running"));
    assert_eq!(job.runnable, Ok(()));
}

#[test]
fn absent_null_and_empty_are_the_same() {
    let bare = json!({"name": "a", "namespace": "b", "version": 1});
    let nulls =
        json!({"name": "a", "namespace": "b", "version": 1, "info": null, "chart": null, "hooks": null});
    let empty = json!({
        "name": "a", "namespace": "b", "version": 1, "hooks": [],
        "info": {"first_deployed": null, "last_deployed": "0001-01-01T00:00:00Z", "status": ""},
        "chart": {"metadata": {"name": null, "appVersion": ""}}
    });
    assert_eq!(read(&bare), read(&nulls));
    assert_eq!(read(&bare), read(&empty));
    assert_eq!(read(&bare).unwrap().status, Status::Unknown);
}

#[test]
fn every_shape_gives_the_same_record() {
    let value = helm_value(&release());
    let record = read(&release()).unwrap();
    let mut plain = secret(&value);
    plain.as_object_mut().unwrap().remove("data");
    plain["stringData"] = json!({"release": value});
    let config_map =
        json!({"kind": "ConfigMap", "metadata": {"labels": {"owner": "helm"}}, "data": {"release": value}});
    let other = json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "x"}, "data": {"a": "Yg=="}});
    let list = json!({"kind": "List", "items": [other, secret(&value)]});
    let wrapped: String =
        value.as_bytes().chunks(76).map(|line| format!("{}\n", str::from_utf8(line).unwrap())).collect();
    let shapes: [(&str, Vec<u8>); 11] = [
        ("Secret as JSON", secret(&value).to_string().into()),
        ("Secret as YAML", crate::yaml::write(&secret(&value)).into()),
        ("Secret with stringData", crate::yaml::write(&plain).into()),
        ("ConfigMap", crate::yaml::write(&config_map).into()),
        ("List", list.to_string().into()),
        (
            "several documents",
            format!("{}---\n{}", crate::yaml::write(&other), crate::yaml::write(&secret(&value))).into(),
        ),
        ("base64", value.clone().into()),
        ("base64 in lines", wrapped.into()),
        ("two layers of base64", STANDARD.encode(&value).into()),
        ("gzip", gzip(release().to_string().as_bytes())),
        ("JSON", release().to_string().into()),
    ];
    for (shape, input) in shapes {
        assert_eq!(Record::read(&input), Ok(record.clone()), "{shape}");
    }
}

#[test]
fn a_record_without_namespace_is_where_it_is_stored() {
    let mut release = release();
    release.as_object_mut().unwrap().remove("namespace");
    let stored = Record::read(secret(&helm_value(&release)).to_string().as_bytes()).unwrap();
    assert_eq!(stored.namespace, "store");
    let bare = read(&release).unwrap_err().to_string();
    assert_eq!(bare, "the record has no namespace. Give the whole Secret: its own namespace is taken then");
}

#[test]
fn gzip_is_read_as_go_reads_it() {
    let json = release().to_string();
    let (start, end) = json.split_at(100);
    let members = [gzip(start.as_bytes()), gzip(end.as_bytes())].concat();
    assert_eq!(Record::read_secret_value(&members), read(&release()));
    let trailing = [gzip(json.as_bytes()), b"more".to_vec()].concat();
    assert_eq!(Record::read_secret_value(&trailing), Err(RecordError::Gzip { inflated: json.len() }));
    let mut wrong_sum = gzip(json.as_bytes());
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert!(matches!(Record::read_secret_value(&wrong_sum), Err(RecordError::Gzip { .. })));
}

#[test]
fn what_is_not_a_record_is_refused_by_name() {
    let value = helm_value(&release());
    let with = |key: &str, change: Value| {
        let mut secret = secret(&value);
        secret[key] = change;
        Record::read(secret.to_string().as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(
        with("type", json!("helm.sh/release.v2")),
        "The Secret \"sh.helm.release.v1.shop.v3\" holds no release record: its type \"helm.sh/release.v2\" is another version \
         of Helm's storage; this hookhost reads helm.sh/release.v1"
    );
    assert!(with("type", json!("operatorframework.io/chunk.v1")).contains("OLM"));
    assert!(with("type", json!("kubernetes.io/tls")).contains("its type is \"kubernetes.io/tls\""));
    assert!(with("data", json!({"a": "b"})).contains("no key release"));
    assert!(
        with("kind", json!("Deployment"))
            .starts_with("The Deployment \"sh.helm.release.v1.shop.v3\" holds no")
    );
    let refused = |input: &str| Record::read(input.as_bytes()).unwrap_err().to_string();
    let tiller =
        "{kind: ConfigMap, metadata: {name: shop.v1, labels: {OWNER: TILLER}}, data: {release: aaaa}}";
    assert!(refused(tiller).contains("Helm 2"));
    assert!(
        refused(r#"{"key": "sh.helm.release.v1.shop.v1", "type": "helm.sh/release.v1", "body": "aaaa"}"#)
            .contains("column body")
    );
    assert!(refused("  \n").contains("empty"));
    assert!(refused("just a text with spaces").contains("neither"));
    assert!(refused("\u{1}\u{2}: {").contains("neither"));
    assert_eq!(Record::read(&[0xff, 0xfe, 0, 1]), Err(RecordError::Unrecognised));
    assert!(refused("{\"name\": \"x\"}").contains("no version"));
    assert!(refused("[]").contains("neither"));
}

#[test]
fn of_several_records_the_names_are_told() {
    let value = helm_value(&release());
    let error =
        Record::read(json!({"kind": "List", "items": vec![secret(&value); 12]}).to_string().as_bytes())
            .unwrap_err();
    assert_eq!(error.to_string().matches("sh.helm.release.v1.shop.v3").count(), 8, "{error}");
    assert!(error.to_string().starts_with("the input holds 12 release records"));
}

#[test]
fn damaged_base64_is_told_by_its_place() {
    let mut value = helm_value(&release()).into_bytes();
    value[123] = b'!';
    let error = Record::read_secret_value(&value).unwrap_err();
    assert_eq!(error, RecordError::Base64 { offset: 123, length: value.len() });
    let value = helm_value(&release());
    for cut in [1, 2, 3, value.len() / 2] {
        let error = Record::read(&value.as_bytes()[..value.len() - cut]).unwrap_err();
        assert!(matches!(error, RecordError::Base64 { .. } | RecordError::Gzip { .. }), "{error}");
    }
}

#[test]
fn wrong_types_are_refused_by_field_without_showing_the_value() {
    for (pointer, value, expected) in [
        (
            "/version",
            json!("s3cret"),
            "version is wrong: a whole number from 0 to 4294967295 is expected there",
        ),
        ("/version", json!(-1), "version is wrong: a whole number from 0 to 4294967295"),
        ("/hooks", json!({"a": "s3cret"}), "hooks is wrong: a list"),
        ("/hooks/0/manifest", json!(["s3cret, expected s3cret"]), "hooks[0].manifest is wrong: a text"),
        ("/hooks/2/weight", json!("s3cret"), "hooks[2].weight is wrong: a whole number is"),
        ("/hooks/2", json!("s3cret"), "hooks[2] is wrong: a mapping"),
        ("/info/last_deployed", json!("s3cret"), "info.last_deployed is wrong: a time as in RFC 3339"),
        ("/info/status", json!(5), "info.status is wrong: a text"),
        ("/chart/metadata/appVersion", json!(2.1), "chart.metadata.appVersion is wrong: a text"),
    ] {
        let mut release = release();
        *release.pointer_mut(pointer).unwrap() = value;
        let error = read(&release).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}

#[test]
fn wrong_types_of_a_secret_are_told_by_field_in_json_and_in_yaml() {
    for secret in [
        "{\"kind\": \"Secret\", \"metadata\": {\"labels\": \"s3cret\"}}",
        "kind: Secret\nmetadata:\n  labels: s3cret\n",
    ] {
        let error = Record::read(secret.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "metadata.labels is wrong: a mapping is expected there. Read the Secret again"
        );
    }
}

#[test]
fn debug_output_has_no_values() {
    let record = read(&release()).unwrap();
    let shown = format!("{record:?} {:?} {:?}", record.stored_hooks, record.hooks());
    assert!(shown.contains("shop-migrate") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_gzip_bomb_is_refused() {
    let zeros = gzip(&vec![b' '; 16 << 20]);
    // Sixteen thousand MiB of spaces in 16 MB of gzip, and in 1 MiB of one member with a false size.
    let members = zeros.repeat(1024);
    let error = Record::read_secret_value(&members).unwrap_err();
    assert!(matches!(error, RecordError::TooLarge { .. }));
    let mut liar = gzip(&vec![b' '; MAX_INFLATED_BYTES + 1]);
    let size = liar.len() - 4;
    liar[size..].copy_from_slice(&5u32.to_le_bytes());
    let error = Record::read_secret_value(&liar).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "the record has more than 16777216 bytes once inflated, more than the 16777216 that"
        ),
        "{error}"
    );
    let honest = gzip(&vec![b' '; MAX_INFLATED_BYTES + 1]);
    assert_eq!(Record::read_secret_value(&honest), Err(RecordError::too_many_bytes(MAX_INFLATED_BYTES + 1)));
    let mut boaster = gzip(release().to_string().as_bytes());
    let size = boaster.len() - 4;
    boaster[size..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Record::read_secret_value(&boaster), Err(RecordError::Gzip { .. })));
}

#[test]
fn a_json_depth_bomb_is_refused_or_skipped() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(1 << 20), close.repeat(1 << 20));
    for bomb in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(1 << 20), "{\"a\":".repeat(1 << 20)] {
        assert!(Record::read(bomb.as_bytes()).is_err());
        assert!(Record::read(gzip(bomb.as_bytes()).as_slice()).is_err());
        let inside = format!("{{\"name\":\"a\",\"namespace\":\"b\",\"version\":1,\"config\":{bomb}}}");
        let _ = Record::read(inside.as_bytes());
        let items = format!("{{\"kind\":\"List\",\"items\":{bomb}}}");
        assert!(Record::read(items.as_bytes()).is_err());
    }
}

#[test]
fn more_hooks_or_longer_names_than_allowed_are_refused() {
    let record = |hooks: Value| read(&json!({"name": "a", "namespace": "b", "version": 1, "hooks": hooks}));
    assert!(record(json!(vec![json!({}); MAX_HOOKS])).is_ok());
    for (hooks, said) in [
        (json!(vec![json!({}); MAX_HOOKS + 5]), "4101 hooks, more than the 4096 that"),
        (
            json!([{"events": vec!["test"; MAX_HOOK_WORDS + 1]}]),
            "17 events or policies of a hook, more than the 16 that",
        ),
        (
            json!([{"path": "x".repeat(MAX_HOOK_TEXT_BYTES + 1)}]),
            "4097 bytes of a name, kind, path, event or policy, more than the 4096 that",
        ),
        (
            json!([{"manifest": "x".repeat(crate::limits::MAX_MANIFEST_BYTES)}, {"manifest": "x"}]),
            "8388609 bytes of hooks' manifests, more than the 8388608 that",
        ),
    ] {
        let error = record(hooks).unwrap_err();
        assert!(matches!(error, RecordError::TooLarge { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("the record has {said} hookhost reads")), "{error}");
    }
}

#[test]
fn hooks_of_alias_bombs_are_listed_as_unreadable_in_bounded_memory() {
    let bomb = format!("- &a [{}]\n{}", "x,".repeat(2500), "- *a\n".repeat(1000));
    const HOOKS: usize = 800;
    let hooks: Vec<Value> =
        (0..HOOKS).map(|i| json!({"name": format!("h{i:04}"), "kind": "Job", "manifest": bomb})).collect();
    let record = read(&json!({"name": "a", "namespace": "b", "version": 1, "hooks": hooks})).unwrap();
    let hooks = record.hooks();
    assert_eq!(hooks.len(), HOOKS);
    assert!(hooks.iter().all(|hook| matches!(hook.runnable, Err(crate::hook::NotRunnable::Unreadable(_)))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::read(&bytes);
        let _ = Record::read_secret_value(&bytes);
    }

    #[test]
    fn a_record_with_damaged_bytes_is_refused_or_read(
        layer in 0..4usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        keep in any::<bool>(),
    ) {
        let value = helm_value(&release());
        let mut bytes = match layer {
            0 => release().to_string().into_bytes(),
            1 => gzip(release().to_string().as_bytes()),
            2 => value.into_bytes(),
            _ => secret(&value).to_string().into_bytes(),
        };
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if !keep {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(record) = Record::read(&bytes) {
            record.hooks();
        }
    }

    #[test]
    fn damaged_json_below_an_intact_gzip_is_refused_or_read(at in any::<prop::sample::Index>(), flip in any::<u8>()) {
        let mut json = release().to_string().into_bytes();
        let at = at.index(json.len());
        json[at] ^= flip;
        if let Ok(record) = Record::read(&gzip(&json)) {
            record.hooks();
        }
    }
}
