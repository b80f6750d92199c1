//! *Go* is the compiler of a testbed's programs: whatever is installed, as long as it can fetch the version that
//! go.mod names.
//!
//! Go does that by itself since 1.21. An older one, Debian 12's for example, still knows how to download and verify a
//! module, and Go's own releases are one: `golang.org/toolchain`. Only the programs' execute bits are lost on the way.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result, run};

/// The first Go that fetches other versions: 1.21.
const FETCHES_ITSELF: u32 = 21;

/// A go command that can build `module`.
pub(crate) fn command(module: &Path) -> Result<Command> {
    let go = installed()?;
    if minor(&output(&go, &["env", "GOVERSION"])?) >= Some(FETCHES_ITSELF) {
        return Ok(Command::new(go));
    }
    let mut command = Command::new(fetch(&go, module)?);
    command.env("GOTOOLCHAIN", "local").env_remove("GOROOT");
    Ok(command)
}

/// Folders of the modules that `module` requires, downloaded and verified by a build before.
pub(crate) fn module_dirs(module: &Path, required: &[&str]) -> Result<Vec<PathBuf>> {
    let mut list = command(module)?;
    list.args(["list", "-m", "-f", "{{.Dir}}"]).args(required).current_dir(module);
    Ok(run::output(&mut list)?.lines().map(PathBuf::from).collect())
}

/// On the PATH, or where Go's own instructions put it.
fn installed() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/local/go/bin")]);
    dirs.map(|dir| dir.join("go")).find(|go| go.is_file()).ok_or(Error::NoGo)
}

/// "go1.19.8" is of minor version 19.
fn minor(version: &str) -> Option<u32> {
    version.trim().strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Downloads the Go that `module` names, through the module proxy and checked against the checksum database.
fn fetch(go: &Path, module: &Path) -> Result<PathBuf> {
    let go_mod = module.join("go.mod");
    let text = fs::read_to_string(&go_mod).map_err(Error::file("read", &go_mod))?;
    let wanted = text.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default();
    let platform = output(go, &["env", "GOOS", "GOARCH"])?.replace('\n', "-");
    let toolchain = format!("golang.org/toolchain@v0.0.1-go{wanted}.{platform}");
    output(go, &["mod", "download", &toolchain])?;
    let root = Path::new(&output(go, &["env", "GOMODCACHE"])?).join(toolchain);
    let tools = root.join("pkg/tool").join(platform.replace('-', "_"));
    for dir in [root.join("bin"), tools] {
        for entry in dir.read_dir().map_err(Error::file("read", &dir))? {
            let program = entry.map_err(Error::file("read", &dir))?.path();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o555))
                .map_err(Error::file("make executable", &program))?;
        }
    }
    Ok(root.join("bin/go"))
}

/// What go prints, run outside any module: one that names a newer Go would stop it.
fn output(go: &Path, args: &[&str]) -> Result<String> {
    run::output(Command::new(go).args(args).current_dir("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_every_form_go_prints() {
        for (version, expected) in
            [("go1.19.8\n", Some(19)), ("go1.26", Some(26)), ("go1.21rc2", Some(21)), ("devel", None)]
        {
            assert_eq!(minor(version), expected, "{version}");
        }
    }
}
