//! *Setup* is what a task needs on the machine and cargo does not bring: Debian packages, a toolchain for Wasm.
//!
//! As root on a Debian machine the packages are installed; anywhere else the task says exactly what is missing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::run::{command, output, say, step};

/// What building policies needs: rustup's target for Wasm, or Debian's compiler with the sources of its library.
pub(crate) fn wasm() -> Result<()> {
    if rustup_has_wasm()
        || (Path::new("/usr/bin/rustc").exists() && Path::new("/usr/src").join(debian_std()).exists())
    {
        return Ok(());
    }
    packages("building policies", &["rustc-web", "rust-web-src"], "rustup target add wasm32-unknown-unknown")
}

/// One apt-get at a time: a second one does not wait for the first.
static APT: Mutex<()> = Mutex::new(());

/// Installs Debian packages, or says what is missing. `otherwise` is another way to the same end.
pub(crate) fn packages(purpose: &str, names: &[&str], otherwise: &str) -> Result<()> {
    let _one = APT.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<_> = names.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() || !exists("apt-get") {
        bail!(
            "{purpose} needs the Debian packages {list}\n  as root: apt-get install -y {list}\n  or: {otherwise}"
        );
    }
    say(&format!("{purpose} needs the Debian packages {list}: installing"));
    // An old list of packages is the usual reason for a failed install, so it is only renewed when that happens.
    if install(&missing).is_err() {
        step("apt-get update", command("apt-get").args(["update", "-qq"]))?;
        install(&missing)?;
    }
    Ok(())
}

fn install(names: &[&str]) -> Result<()> {
    let mut apt = command("apt-get");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(names);
    step("apt-get install", apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
}

/// Whether a program is on the PATH.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]))
        .is_ok_and(|s| s.ends_with(" installed"))
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn rustup_has_wasm() -> bool {
    output(command("rustc").args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/wasm32-unknown-unknown").exists())
}

/// Folder of Debian's library sources under /usr/src: `rustc-` and the compiler's version.
fn debian_std() -> String {
    let version = output(Command::new("/usr/bin/rustc").arg("--version")).unwrap_or_default();
    format!("rustc-{}", version.split_whitespace().nth(1).unwrap_or("none"))
}
