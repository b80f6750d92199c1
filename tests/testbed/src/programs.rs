//! The *programs* of a testbed are built from the Go module in `tests/controlplane`, at exactly the versions that its
//! go.mod and go.sum name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result, go};

/// Versions that the programs report. The Go linker is told, because a build from modules does not know; the test of
/// this module holds them to go.mod.
const KUBERNETES: &str = "v1.34.4";
const HELM_4: &str = "v4.0.4";
const HELM_3: &str = "v3.19.0";

/// Which Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3, `helm3`.
    Three,
    /// Helm 4, `helm`.
    Four,
}

impl Helm {
    /// Both.
    pub const ALL: [Helm; 2] = [Helm::Three, Helm::Four];

    /// "helm3" or "helm4", as the folders of fixture records are called.
    pub fn name(self) -> &'static str {
        match self {
            Helm::Three => "helm3",
            Helm::Four => "helm4",
        }
    }
}

/// Flux's controllers, each a module whose root is the program.
const FLUX: [&str; 2] = ["github.com/fluxcd/helm-controller", "github.com/fluxcd/source-controller"];

/// The built programs: kubebox (all of Kubernetes, etcd and kubectl), both Helms, Flux's controllers with the
/// definitions of their resources, and helmread.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// Builds what is not yet built from the sources as they are now: a quarter of an hour the first time on two cores,
    /// nothing when nothing changed. `progress` is given a line when there is something to wait for.
    ///
    /// # Errors
    /// No Go, or a build that fails; go's own messages go to stderr.
    pub fn build(progress: impl Fn(&str)) -> Result<Programs> {
        let module = module();
        let programs = Programs { dir: module.join("bin") };
        let key = content_key(&module)?;
        let stamp = programs.dir.join("built-from");
        let is_built = || fs::read_to_string(&stamp).is_ok_and(|built| built == key);
        if is_built() {
            return Ok(programs);
        }
        fs::create_dir_all(&programs.dir).map_err(Error::file("create", &programs.dir))?;
        // One builds, the others wait and find it done.
        let lock = programs.dir.join("lock");
        let lock_file = fs::File::create(&lock).map_err(Error::file("create", &lock))?;
        lock_file.lock().map_err(Error::file("lock", &lock))?;
        if is_built() {
            return Ok(programs);
        }
        // No stamp while the folder holds a mixture.
        if let Err(error) = fs::remove_file(&stamp)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::file("remove", &stamp)(error));
        }
        progress(
            "building Kubernetes, Helm and Flux from Go modules (a quarter of an hour once, then cached)",
        );
        let named_well = ["./kubebox", "./helmread", "helm.sh/helm/v4/cmd/helm", FLUX[0], FLUX[1]];
        go_build(&module, "bin/", &named_well)?;
        // Both Helms are called helm, so one of them needs a name of its own.
        go_build(&module, "bin/helm3", &["helm.sh/helm/v3/cmd/helm"])?;
        copy_definitions(&module, &programs.flux_definitions())?;
        let kubectl = programs.kubectl();
        if let Err(error) = std::os::unix::fs::symlink("kubebox", &kubectl)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(Error::file("create", kubectl)(error));
        }
        fs::write(&stamp, key).map_err(Error::file("write", &stamp))?;
        Ok(programs)
    }

    /// The folder of the programs, for a PATH.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.dir.join("kubectl")
    }

    /// One of the two Helms.
    pub fn helm(&self, helm: Helm) -> PathBuf {
        self.dir.join(match helm {
            Helm::Three => "helm3",
            Helm::Four => "helm",
        })
    }

    /// helmread, which answers what Helm itself reads in records and YAML.
    pub fn helmread(&self) -> PathBuf {
        self.dir.join("helmread")
    }

    pub(crate) fn helm_controller(&self) -> PathBuf {
        self.dir.join("helm-controller")
    }

    pub(crate) fn source_controller(&self) -> PathBuf {
        self.dir.join("source-controller")
    }

    /// Folder of the CustomResourceDefinitions that Flux's controllers serve.
    pub(crate) fn flux_definitions(&self) -> PathBuf {
        self.dir.join("flux-definitions")
    }

    pub(crate) fn kubebox(&self) -> PathBuf {
        self.dir.join("kubebox")
    }
}

/// The Go module beside this crate.
fn module() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join("controlplane")
}

fn go_build(module: &Path, output: &str, packages: &[&str]) -> Result<()> {
    let version = "k8s.io/component-base/version";
    let client = "k8s.io/client-go/pkg/version";
    let (major, minor) = KUBERNETES.trim_start_matches('v').split_once('.').unwrap_or_default();
    let minor = minor.split('.').next().unwrap_or_default();
    let mut flags = vec!["-s".to_owned(), "-w".to_owned()];
    for (name, value) in [
        (format!("{version}.gitVersion"), KUBERNETES),
        (format!("{version}.gitMajor"), major),
        (format!("{version}.gitMinor"), minor),
        (format!("{version}.gitTreeState"), "clean"),
        (format!("{client}.gitVersion"), KUBERNETES),
        (format!("{client}.gitMajor"), major),
        (format!("{client}.gitMinor"), minor),
        ("helm.sh/helm/v4/internal/version.version".to_owned(), HELM_4),
        ("helm.sh/helm/v3/internal/version.version".to_owned(), HELM_3),
    ] {
        flags.push(format!("-X {name}={value}"));
    }
    let status = go::command(module)?
        // The sources of these programs are modules; what this repository's Git says has no part in them.
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags.join(" "), "-o", output])
        .args(packages)
        .current_dir(module)
        // Pure Go: the same programs on every machine, with no C compiler and no C library.
        .env("CGO_ENABLED", "0")
        .status()
        .map_err(Error::file("run", "go"))?;
    if status.success() { Ok(()) } else { Err(Error::Build { status, dir: module.to_owned() }) }
}

/// Copies Flux's CustomResourceDefinitions out of its modules, so that a cluster needs no Go once built.
fn copy_definitions(module: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).map_err(Error::file("create", into))?;
    for dir in go::module_dirs(module, &FLUX)? {
        let definitions = dir.join("config/crd/bases");
        for entry in definitions.read_dir().map_err(Error::file("read", &definitions))? {
            let from = entry.map_err(Error::file("read", &definitions))?;
            // Not a copy of the file: a module's files may not be written to, and a later build writes here again.
            let text = fs::read(from.path()).map_err(Error::file("read", from.path()))?;
            let to = into.join(from.file_name());
            fs::write(&to, text).map_err(Error::file("write", to))?;
        }
    }
    Ok(())
}

/// Hash of all that a build depends on: the module's files and this file, where the flags are.
fn content_key(module: &Path) -> Result<String> {
    let mut files = vec![module.join("go.mod"), module.join("go.sum")];
    for package in ["kubebox", "helmread"] {
        let dir = module.join(package);
        let entries = dir.read_dir().map_err(Error::file("read", &dir))?;
        for entry in entries {
            files.push(entry.map_err(Error::file("read", &dir))?.path());
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    hash.update(include_bytes!("programs.rs"));
    for file in files {
        let text = fs::read(&file).map_err(Error::file("read", &file))?;
        hash.update(file.strip_prefix(module).unwrap_or(&file).as_os_str().as_encoded_bytes());
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reported_versions_are_those_of_go_mod() {
        let go_mod = fs::read_to_string(module().join("go.mod")).unwrap();
        for required in [
            format!("k8s.io/kubernetes {KUBERNETES}"),
            format!("helm.sh/helm/v4 {HELM_4}"),
            format!("helm.sh/helm/v3 {HELM_3}"),
        ] {
            assert!(go_mod.contains(&required), "go.mod does not require {required}");
        }
    }
}
