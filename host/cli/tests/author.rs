//! The way of a policy's author, with the real compiler: a new crate outside of the repository, built and tested.
//!
//! It needs what `cargo xtask` installs (a toolchain for WebAssembly), and some minutes where that toolchain has to build
//! its library first; so it is a test binary of its own. Without the toolchain it fails and says what to install.
// A test ends by panicking; clippy knows that of test functions only, not of their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod pages;

use std::path::Path;
use std::process::{Command, Output};

/// Runs hookhost in a folder, as a person with a checkout of the repository does.
fn hookhost(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookhost"));
    command.args(args).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache"));
    // What the cargo around this test set for itself.
    command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_BUILD_DIR").env_remove("HOOK_POLICY_SDK");
    command.output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    for word in words {
        assert!(stdout.contains(word) || stderr.contains(word), "no {word:?} in:\n{stdout}\n{stderr}");
    }
}

/// Types what the page for authors has them type, block by block, in a folder.
fn type_the_page_for_authors(folder: &Path, sdk: &str) {
    let page = pages::named("docs/src/policies/write.md");
    let program = Path::new(env!("CARGO_BIN_EXE_hookhost")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let left = folder.join("folder");
    let mut at = folder.to_owned();
    let blocks = page.blocks().into_iter().filter(|block| block.is("author"));
    for block in blocks {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(block.script()).current_dir(&at).env("PATH", &path);
        shell.env("HOOK_POLICY_SDK", sdk).env("XDG_CACHE_HOME", folder.join("cache"));
        shell.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_BUILD_DIR").env("DOCS_FOLDER", &left);
        expect(&shell.output().unwrap(), block.code(), &[]);
        at = std::fs::read_to_string(&left).unwrap().trim_end().into();
    }
    assert_eq!(at, folder.join("short-runs"), "the page begins with a new policy and goes into its folder");
}

/// Names whose types or crates would be others' if they were taken as they are.
const CLASHING: [&str; 4] = ["policy", "vec", "syn", "request"];

#[test]
#[ignore = "compiles for minutes; cargo xtask test runs it"]
fn a_new_policy_outside_the_repository_builds_passes_its_cases_and_fails_them_when_it_is_wrong() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk");
    let sdk = sdk.to_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // A workspace that knows nothing of it, and a folder of an awkward name.
    std::fs::write(dir.path().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\n").unwrap();
    let folder = dir.path().join("it's \"my\" policy");
    std::fs::create_dir(&folder).unwrap();
    type_the_page_for_authors(&folder, sdk);
    let policy = folder.join("short-runs");

    expect(&hookhost(&policy, &["policy", "test"]), 0, &["4 passed, 0 failed"]);
    let wasm = policy.join("target/policies/short-runs.wasm");
    let complete = pages::root().join("docs/src/policies/cases.yaml");
    let test = ["policy", "test", "target/policies/short-runs.wasm", "--cases", complete.to_str().unwrap()];
    expect(&hookhost(&policy, &test), 0, &["4 passed, 0 failed"]);
    let bytes = std::fs::read(&wasm).unwrap();
    let here = dir.path().to_str().unwrap().as_bytes();
    assert!(
        !bytes.windows(here.len()).any(|window| window == here),
        "the policy names the folder it was built in"
    );

    // Built again, to another file, it is the same, byte for byte.
    let again = hookhost(&policy, &["policy", "build", "--out", "again.wasm", "-o", "json"]);
    expect(&again, 0, &["again.wasm"]);
    let built: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(std::fs::read(policy.join("again.wasm")).unwrap(), bytes);

    let inspected = hookhost(&policy, &["policy", "inspect", wasm.to_str().unwrap()]);
    expect(&inspected, 0, &["Name:      short-runs", "maxSeconds", "Seconds that a run may take"]);
    expect(&inspected, 0, &[built[0]["digest"].as_str().unwrap()]);

    // Members of a workspace, called like types and like a crate that they need.
    let manifest = policy.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text + "resolver = \"3\"\nmembers = [\"more/*\"]\n").unwrap();
    for name in CLASHING {
        let new = ["policy", "new", name, "--sdk", sdk, "--path", &format!("more/{name}")];
        expect(&hookhost(&policy, &new), 0, &[]);
    }
    let built = CLASHING.iter().flat_map(|name| ["--package", name]);
    let build: Vec<&str> = ["policy", "build"].into_iter().chain(built).collect();
    expect(&hookhost(&policy, &build), 0, &CLASHING);

    // The cases are what finds a wrong policy.
    let source = policy.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("max_seconds: 3600", "max_seconds: 36")).unwrap();
    let failed = hookhost(&policy, &["policy", "test"]);
    expect(&failed, 1, &["FAILED  a migration gets an hour", "-    atMost: 3600", "+    atMost: 36"]);

    // What does not compile is told by the compiler, and there is no result.
    std::fs::write(&source, "no rust").unwrap();
    let broken = hookhost(&policy, &["policy", "build"]);
    expect(&broken, 1, &["error: ", "cargo could not build short-runs"]);
    assert!(broken.stdout.is_empty());

    // A crate that exports no policy is none.
    std::fs::write(&source, "").unwrap();
    expect(&hookhost(&policy, &["policy", "build"]), 1, &["short-runs", "hook_policy::export!(YourPolicy);"]);
}

#[test]
#[ignore = "compiles for minutes; cargo xtask test runs it"]
fn the_unit_tests_of_a_new_policy_pass_natively() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk");
    let dir = tempfile::tempdir().unwrap();
    expect(&hookhost(dir.path(), &["policy", "new", "x", "--sdk", sdk.to_str().unwrap()]), 0, &[]);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("test").current_dir(dir.path().join("x"));
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_BUILD_DIR");
    expect(&cargo.output().unwrap(), 0, &["1 passed"]);
}
