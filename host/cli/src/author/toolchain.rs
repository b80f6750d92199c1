//! A *toolchain* is what compiles a policy to WebAssembly: a Rust compiler with the library for
//! `wasm32-unknown-unknown`, or one with the library's sources, from which cargo then builds it.
//!
//! Looked at in this order: the compiler that cargo would use (rustup's, or `$RUSTC`), then the system's own. The
//! second way exists for machines where rustup cannot add a target, such as Debian with its packages only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hookhost_core::Reason;

use crate::problem::Problem;

/// What policies are compiled for: WebAssembly without any system under it.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Where a distribution's own compiler is.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// What compiles a policy.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// A compiler with the target's library.
    Library {
        /// The compiler, where it is not the one that cargo would use anyway.
        rustc: Option<PathBuf>,
    },
    /// A compiler with the library's sources.
    Sources {
        rustc: PathBuf,
        /// The linker, where the compiler has none of its own.
        linker: Option<PathBuf>,
    },
}

/// One compiler of this machine.
struct Compiler {
    rustc: PathBuf,
    sysroot: PathBuf,
    host: String,
    /// Whether cargo would use it if nothing is said.
    usual: bool,
}

impl Toolchain {
    /// Finds the toolchain that a build in this folder would use.
    pub(crate) fn find(folder: &Path) -> Result<Toolchain, Problem> {
        let usual = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let mut compilers = Vec::new();
        for (rustc, usual) in [(usual, true), (PathBuf::from(SYSTEM_RUSTC), false)] {
            compilers.extend(Compiler::ask(rustc, folder, usual));
        }
        if let Some(compiler) = compilers.iter().find(|compiler| compiler.has_library()) {
            let rustc = (!compiler.usual).then(|| compiler.rustc.clone());
            return Ok(Toolchain::Library { rustc });
        }
        let linker = compilers.iter().find_map(Compiler::lld).or_else(|| on_path("wasm-ld"));
        let Some(compiler) = compilers.iter().find(|compiler| compiler.has_sources()) else {
            let what = format!("no Rust compiler here has a library for {TARGET}");
            return Err(missing(&what, linker.is_none()));
        };
        if linker.is_none() {
            return Err(missing("no linker for WebAssembly (rust-lld or wasm-ld) is here", true));
        }
        let linker = if compiler.lld().is_some() { None } else { linker };
        Ok(Toolchain::Sources { rustc: compiler.rustc.clone(), linker })
    }

    /// Makes a cargo command compile with this toolchain.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        match self {
            Toolchain::Library { rustc } => {
                if let Some(rustc) = rustc {
                    cargo.env("RUSTC", rustc);
                }
            }
            Toolchain::Sources { rustc, linker } => {
                // Building the library is not a stable feature of cargo, though the library itself is; this variable
                // is how a stable compiler is told that it is meant.
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo.args(["-Z", "build-std=std,panic_abort"]);
                if let Some(linker) = linker {
                    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                }
            }
        }
    }

    /// Whether cargo first builds the library, in minutes, where it has not done so yet.
    pub(crate) fn builds_library(&self) -> bool {
        matches!(self, Toolchain::Sources { .. })
    }
}

impl Compiler {
    /// Asks a compiler where it is; None if it cannot be run.
    fn ask(rustc: PathBuf, folder: &Path, usual: bool) -> Option<Compiler> {
        let mut command = Command::new(&rustc);
        command.args(["--print", "sysroot", "--print", "host-tuple"]);
        let output = command.current_dir(folder).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut lines = text.lines();
        Some(Compiler { rustc, sysroot: lines.next()?.into(), host: lines.next()?.to_owned(), usual })
    }

    fn has_library(&self) -> bool {
        self.sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
    }

    fn has_sources(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
    }

    fn lld(&self) -> Option<PathBuf> {
        let lld = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/rust-lld");
        lld.is_file().then_some(lld)
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// What to install; a linker too, where the compilers that are here have none.
fn missing(what: &str, linker: bool) -> Problem {
    let lld = if linker { " lld" } else { "" };
    Problem::new(Reason::ToolMissing, format!("cannot compile policies: {what}")).with_advice(format!(
        "Install one of these, then run the command again:\n\
         \x20 with rustup:  rustup target add {TARGET}\n\
         \x20 on Debian:    apt-get install rustc-web rust-web-src{lld}"
    ))
}
