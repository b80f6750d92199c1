//! Bad input: a named error with place and next step, nothing partial on stdout, no crash and no exhaustion.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use crate::support::{
    Dir, Does, OPERATION, Run, account, gzip, job, module, policy, policy_of_version, record, secret,
};

fn hooks(release: impl AsRef<[u8]>) -> Run {
    Dir::new().run_with(&["hooks", "-", "-o", "json"], release.as_ref()).prints_nothing()
}

#[track_caller]
fn release_is(run: Run, reason: &str, words: &[&str]) {
    let run = run.exits(1).says(words);
    assert_eq!(run.error()["reason"], reason, "{run:#?}");
}

#[test]
fn a_truncated_secret_says_where_it_is_damaged() {
    let record = record(&[job("a")]).to_string();
    let mut secret = secret(&gzip(record.as_bytes()));
    let whole = secret["data"]["release"].as_str().unwrap().to_owned();
    // Whole groups of four of the outer base64, so that the damage is inside.
    secret["data"]["release"] = json!(whole[..whole.len() / 2 / 4 * 4]);
    release_is(hooks(secret.to_string()), "ReleaseRecordInvalid", &["damaged", "Read the Secret again"]);
    secret["data"]["release"] = json!(whole[..whole.len() / 2 / 4 * 4 - 1]);
    release_is(hooks(secret.to_string()), "ReleaseRecordInvalid", &["damaged", "Read the Secret again"]);
}

#[test]
fn a_gzip_bomb_is_refused_at_the_limit() {
    // 512 MiB of zeros in half a MiB.
    let zeros = vec![0; 1 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..512 {
        std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    }
    let bomb = secret(&encoder.finish().unwrap()).to_string();
    release_is(hooks(bomb), "ReleaseRecordTooLarge", &["536870912 bytes", "more than the 16777216"]);
}

#[test]
fn json_a_million_levels_deep_is_refused() {
    let depth = 1_000_000;
    let bomb = format!("{{\"name\":\"a\",\"info\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let run = hooks(secret(&gzip(bomb.as_bytes())).to_string()).exits(1);
    assert_eq!(run.error()["reason"], "ReleaseRecordInvalid");
}

#[test]
fn a_text_at_which_other_yaml_parsers_fail_is_an_error_like_any_other() {
    release_is(hooks("a: [!t,b]"), "ReleaseRecordInvalid", &["not YAML: did not find expected ',' or ']'"]);
}

#[test]
fn other_objects_and_random_bytes_are_no_release() {
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "data": {"tls.key": "eA=="}});
    release_is(hooks(other.to_string()), "ReleaseRecordInvalid", &["holds no release record"]);
    release_is(hooks(""), "ReleaseRecordInvalid", &["empty"]);
    release_is(hooks([0xff, 0x00, 0x9f, 0x92, 0x96].repeat(99)), "ReleaseRecordInvalid", &["release"]);
    release_is(hooks(BASE64_STANDARD.encode("not gzip")), "ReleaseRecordInvalid", &["release"]);
}

#[test]
fn a_yaml_alias_bomb_is_refused_wherever_a_person_gives_yaml() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}", n - 1);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", [before.as_str(); 9].join(",")));
    }
    let dir = Dir::with_release();
    dir.write("bomb.yaml", &bomb);
    dir.write("cap.wasm", policy(&Does::Cap));
    release_is(hooks(&bomb), "ReleaseRecordInvalid", &["release"]);
    dir.run(&["plan", "-f", "bomb.yaml", "--release", "release.json"])
        .exits(1)
        .prints_nothing()
        .says(&["aliases"]);
    dir.run(&["policy", "eval", "cap.wasm", "--request", "bomb.yaml"])
        .exits(1)
        .prints_nothing()
        .says(&["aliases"]);
    let settings = ["plan", "-f", "op.yaml", "--release", "release.json", "--policy", "cap.wasm=bomb.yaml"];
    dir.run(&settings).exits(1).prints_nothing().says(&["aliases", "bomb.yaml"]);
    // In a chart's own hook it spoils that hook only.
    dir.write("release.json", record(&[format!("{}{bomb}", job("boom")), job("fine")]).to_string());
    let listing = dir.run(&["hooks", "release.json", "-o", "json"]).exits(0).json();
    let hooks = listing["hooks"].as_array().unwrap();
    assert!(hooks.iter().any(|hook| hook["name"] == "fine" && hook["runnable"] == true), "{hooks:#?}");
    assert!(hooks.iter().any(|hook| hook["runnable"] == false), "{hooks:#?}");
}

#[test]
fn a_hook_that_is_neither_job_nor_pod_is_named_with_what_can_be_run() {
    let dir = Dir::with_release();
    dir.write("release.json", record(&[account(), job("other")]).to_string());
    dir.write("op.yaml", OPERATION.replace("hookName: shop-migrate", "hookName: shop"));
    let plan = ["plan", "-f", "op.yaml", "--release", "release.json", "-o", "json"];
    let run = dir
        .run(&plan)
        .exits(1)
        .prints_nothing()
        .says(&["ServiceAccount", "only a Job (batch/v1) or a Pod (v1)"]);
    assert_eq!(run.error()["reason"], "HookNotRunnable");
}

#[test]
fn an_operation_with_wrong_types_is_told_every_field_at_once() {
    let dir = Dir::with_release();
    dir.write("op.yaml", OPERATION.replace("1800", "soon").replace("type: Migration", "type: 7"));
    let run = dir
        .run(&["plan", "-f", "op.yaml", "--release", "release.json", "-o", "json"])
        .exits(1)
        .prints_nothing();
    let run = run.says(&["spec.parameters.activeDeadlineSeconds", "spec.type", "op.yaml"]);
    assert_eq!(run.error()["reason"], "ValidationFailed");
}

#[test]
fn settings_that_a_policy_refuses_are_told_with_their_path() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    dir.write("settings.yaml", "capp: 1\n");
    let plan = [
        "plan",
        "-f",
        "op.yaml",
        "--release",
        "release.json",
        "--policy",
        "cap.wasm=settings.yaml",
        "-o",
        "json",
    ];
    let run = dir.run(&plan).exits(1).prints_nothing().says(&["cap: only {} will do"]);
    assert_eq!(run.error()["reason"], "PolicySettingsInvalid");
}

#[test]
fn what_is_no_policy_is_refused_by_what_it_is() {
    let dir = Dir::new();
    for (wasm, reason, words) in [
        (policy_of_version("0.2.0"), "PolicyIncompatible", "0.2.0"),
        (module(&Does::Cap, "0.1.0"), "PolicyInvalid", "core WebAssembly module"),
        (vec![0x5a; 4096], "PolicyInvalid", "not a WebAssembly component"),
        (Vec::new(), "PolicyInvalid", "not a WebAssembly component"),
        (policy(&Does::Cap)[..900].to_vec(), "PolicyInvalid", "damaged"),
        (
            wat::parse_str("(component (import \"wasi:cli/environment@0.2.0\" (instance)))").unwrap(),
            "PolicyIncompatible",
            "wasi:cli/environment@0.2.0",
        ),
    ] {
        dir.write("x.wasm", wasm);
        let run = dir
            .run(&["policy", "inspect", "x.wasm", "-o", "json"])
            .exits(1)
            .prints_nothing()
            .says(&[words, "x.wasm"]);
        assert_eq!(run.error()["reason"], reason, "{run:#?}");
        assert!(run.error()["advice"].is_string(), "{run:#?}");
    }
}

#[test]
fn a_policy_that_traps_or_never_ends_gives_no_decision() {
    let dir = Dir::new();
    for (does, code, reason) in [(Does::Trap, 1, "PolicyTrapped"), (Does::Loop, 6, "PolicyTimedOut")] {
        dir.write("x.wasm", policy(&does));
        let run =
            dir.run_with(&["policy", "eval", "x.wasm", "--request", "-", "-o", "json"], b"{}").exits(code);
        assert_eq!(run.prints_nothing().error()["reason"], reason);
    }
}

#[test]
fn a_file_without_an_end_is_read_to_its_limit_only() {
    let dir = Dir::new();
    dir.run(&["hooks", "/dev/zero"])
        .exits(1)
        .prints_nothing()
        .says(&["the release /dev/zero is larger than"]);
    dir.run(&["policy", "inspect", "/dev/zero"]).exits(1).prints_nothing().says(&["larger than"]);
    dir.run(&["plan", "-f", "/dev/zero", "--release", "x"]).exits(1).prints_nothing().says(&["larger than"]);
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let dir = Dir::new();
    dir.run(&["hooks", "nowhere.yaml"])
        .exits(1)
        .says(&["cannot open the release nowhere.yaml", "No such file"]);
    dir.run(&["hooks", "."]).exits(1).says(&["cannot read the release .", "directory"]);
}

/// The ways in which a text may lie in its bytes, as Windows writes them.
fn encoded(text: &str) -> [Vec<u8>; 3] {
    let utf16 = |mark: [u8; 2], of: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.into_iter().chain(text.encode_utf16().flat_map(of)).collect()
    };
    [
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        utf16([0xff, 0xfe], u16::to_le_bytes),
        utf16([0xfe, 0xff], u16::to_be_bytes),
    ]
}

#[test]
fn texts_with_a_byte_order_mark_are_read_as_those_without() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", policy(&Does::Cap));
    let release = dir.read("release.json");
    let secret = serde_json::to_string_pretty(&secret(&gzip(release.as_bytes()))).unwrap();
    let target = "kind: ApplicationInstance\r\nmetadata: {name: shop, labels: {é: 漢}}\r\n";
    let plan = ["plan", "-f", "-", "--release", "r", "--policy", "cap.wasm=s", "--target", "t", "-o", "json"];
    let now = ["--now", "2026-03-02T09:00:00Z"];
    let files = [("r", secret.as_str()), ("s", "{}"), ("t", target)];
    files.iter().for_each(|(name, text)| dir.write(name, text));
    let args = [&plan[..], &now].concat();
    let plain = dir.run_with(&args, OPERATION.as_bytes()).exits(0);
    for n in 0..3 {
        files.iter().for_each(|(name, text)| dir.write(name, &encoded(text)[n]));
        let run = dir.run_with(&args, &encoded(OPERATION)[n]).exits(0);
        assert_eq!(run.stdout, plain.stdout);
        // The record itself, as it may have been saved.
        for bare in [release.as_str(), secret.as_str()] {
            dir.run_with(&["hooks", "-"], &encoded(bare)[n]).exits(0).prints(&["shop-migrate"]);
        }
        let cases = "cases:\r\n  - name: one\r\n    request: {}\r\n    expect: { allow: { activeDeadlineSeconds: { atMost: 600 } } }\r\n";
        dir.write("cases.yaml", &encoded(cases)[n]);
        dir.run(&["policy", "test", "cap.wasm", "--cases", "cases.yaml"]).exits(0).prints(&["1 passed"]);
    }
}

#[test]
fn a_text_that_is_not_what_its_mark_says_is_refused_with_the_place() {
    let dir = Dir::with_release();
    dir.write("odd.yaml", b"\xff\xfek\0i");
    dir.run(&["plan", "-f", "odd.yaml", "--release", "release.json"]).exits(1).says(&[
        "cannot read the Operation odd.yaml",
        "byte 4 is the first that is not",
        "Save it as UTF-8",
    ]);
    dir.run(&["hooks", "odd.yaml"]).exits(1).says(&["odd.yaml", "byte 4 is the first that is not"]);
    dir.write("latin.yaml", b"kind: \xe9");
    dir.run(&["plan", "-f", "latin.yaml", "--release", "release.json"])
        .exits(1)
        .says(&["it is not UTF-8 text: byte 6 is the first that is not"]);
}
