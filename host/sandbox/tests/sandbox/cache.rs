//! Code on disk: found again, never trusted blindly, bounded.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hookhost_core::Reason;
use hookhost_sandbox::{Cache, Compiler, Error, Limits, Sandbox};
use tempfile::TempDir;

use crate::compiler;
use crate::guest::Guest;

/// A sandbox that can only load what is in the cache.
fn without_compiler(dir: &Path) -> Sandbox {
    Sandbox::new(Compiler::new("/nonexistent/compiler", [""; 0]))
        .unwrap()
        .with_cache(Cache::open(dir).unwrap())
}

fn fill(dir: &Path, wasm: &[u8]) {
    let sandbox = Sandbox::new(compiler()).unwrap().with_cache(Cache::open(dir).unwrap());
    sandbox.load(wasm, Limits::default()).unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn cache() -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("policies");
    (temporary, dir)
}

#[test]
fn a_policy_that_was_compiled_once_needs_no_compiler() {
    let (_keep, dir) = cache();
    let wasm = Guest::new().build();
    fill(&dir, &wasm);
    let policy = without_compiler(&dir).load(&wasm, Limits::default()).unwrap();
    assert_eq!(policy.describe().unwrap().name, "name");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&files(&dir)[0]).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn another_policy_is_not_mistaken_for_it() {
    let (_keep, dir) = cache();
    fill(&dir, &Guest::new().build());
    let other = Guest::new().data("other").build();
    assert!(without_compiler(&dir).load(&other, Limits::default()).is_err());
}

#[test]
fn a_damaged_or_cut_file_is_compiled_again_and_replaced() {
    let (_keep, dir) = cache();
    let wasm = Guest::new().build();
    fill(&dir, &wasm);
    let file = files(&dir).remove(0);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() / 2], b""] {
        fs::write(&file, bytes).unwrap();
        assert!(without_compiler(&dir).load(&wasm, Limits::default()).is_err());
        fill(&dir, &wasm);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn code_of_one_policy_under_the_name_of_another_is_refused() {
    let (_keep, dir) = cache();
    let (one, two) = (Guest::new().build(), Guest::new().data("two").build());
    fill(&dir, &one);
    let first = files(&dir).remove(0);
    fill(&dir, &two);
    let second = files(&dir).into_iter().find(|path| *path != first).unwrap();
    fs::copy(&first, &second).unwrap();
    assert!(without_compiler(&dir).load(&two, Limits::default()).is_err());
}

#[test]
fn a_file_that_others_can_write_or_that_is_a_link_is_not_used() {
    let (keep, dir) = cache();
    let wasm = Guest::new().build();
    fill(&dir, &wasm);
    let file = files(&dir).remove(0);
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    assert!(without_compiler(&dir).load(&wasm, Limits::default()).is_err());
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert!(without_compiler(&dir).load(&wasm, Limits::default()).is_ok());
    let elsewhere = keep.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(without_compiler(&dir).load(&wasm, Limits::default()).is_err());
}

#[test]
fn a_directory_that_others_can_write_or_that_is_a_link_is_refused() {
    let (keep, dir) = cache();
    fs::create_dir(&dir).unwrap();
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        let error = Cache::open(&dir).unwrap_err();
        assert!(matches!(error, Error::CacheUnsafe { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("{mode:o}")) && error.advice().contains("chmod 700"),
            "{error}"
        );
        assert_eq!(error.reason(), Reason::HostFailed);
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    let link = keep.path().join("link");
    symlink(&dir, &link).unwrap();
    assert!(matches!(Cache::open(&link).unwrap_err(), Error::CacheUnsafe { .. }));
}

#[test]
fn the_oldest_files_go_when_there_are_too_many() {
    let (_keep, dir) = cache();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    for n in 0..300 {
        let path = dir.join(format!("{n}.code"));
        fs::write(&path, b"").unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    fill(&dir, &Guest::new().build());
    assert_eq!(files(&dir).len(), 256);
    assert!(!dir.join("44.code").exists() && dir.join("45.code").exists());
}

#[test]
fn a_cache_that_cannot_be_written_does_not_keep_a_policy_from_loading() {
    let (_keep, dir) = cache();
    let cache = Cache::open(&dir).unwrap();
    fs::remove_dir(&dir).unwrap();
    let sandbox = Sandbox::new(compiler()).unwrap().with_cache(cache);
    assert!(sandbox.load(&Guest::new().build(), Limits::default()).is_ok());
}
