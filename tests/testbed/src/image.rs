//! An *image* is what a container starts from, made here from files of this machine, without Docker and without a
//! registry: one layer in the archive format of `docker save`, which containerd reads.

mod tar;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Error, Result, needs, run};
use tar::{Archive, Entry};

/// What most images say, and shells expect.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container image to be made. Give it to a cluster with [`Cluster::load`](crate::Cluster::load).
///
/// ```no_run
/// # fn main() -> testbed::Result<()> {
/// let image = testbed::Image::new("localhost/hookhost:1")
///     .program("target/release/hookhost".as_ref(), "/usr/bin/hookhost")?
///     .entrypoint(&["/usr/bin/hookhost"])
///     .user("65532:65532");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    /// By their place in the image, without a slash in front.
    entries: BTreeMap<String, Source>,
    entrypoint: Vec<String>,
    /// What the entrypoint is given, or what runs without one, where a pod names nothing else.
    arguments: Vec<String>,
    user: String,
}

/// Where an entry's content comes from.
#[derive(Clone, Debug)]
enum Source {
    /// A file of this machine, with its mode.
    File(PathBuf),
    Text {
        text: String,
        mode: u32,
    },
    /// A symbolic link to this target.
    Link(String),
    /// A folder with this mode.
    Folder(u32),
}

impl Image {
    /// The image of busybox that every cluster with pods has.
    pub const BUSYBOX: &str = "localhost/busybox:1";

    /// What keeps a pod's network while its containers come and go.
    pub(crate) const PAUSE: &str = "localhost/pause:1";

    /// An empty image. A name with a tag other than `latest`, so that a kubelet does not try to pull it.
    pub fn new(name: &str) -> Image {
        Image {
            name: name.to_owned(),
            entries: BTreeMap::new(),
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            user: String::new(),
        }
    }

    /// An image with busybox under all its names and `/tmp`. As with the well-known one, a container runs what its pod
    /// says, or a shell.
    ///
    /// # Errors
    /// There is no busybox.
    pub fn busybox(name: &str) -> Result<Image> {
        let busybox = needs::need("busybox")?;
        let applets = run::output(Command::new(&busybox).arg("--list"))?;
        let mut image = Image::new(name).program(&busybox, "/bin/busybox")?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            image.entries.insert(format!("bin/{applet}"), Source::Link("busybox".to_owned()));
        }
        image.entries.insert("tmp".to_owned(), Source::Folder(0o1777));
        image.arguments = vec!["sh".to_owned()];
        Ok(image)
    }

    pub(crate) fn pause() -> Result<Image> {
        let busybox = needs::need("busybox")?;
        let image = Image::new(Image::PAUSE).program(&busybox, "/bin/busybox")?;
        Ok(image.entrypoint(&["/bin/busybox", "sleep", "2147483647"]))
    }

    /// With a program of this machine at `inside`, and the shared libraries that it needs at their own places.
    ///
    /// # Errors
    /// A program that is not there, or a library that is not found.
    pub fn program(mut self, program: &Path, inside: &str) -> Result<Image> {
        // ldd fails for what needs no libraries, and says so.
        let listed = run::output(Command::new("ldd").arg(program).env("LC_ALL", "C"));
        for library in listed.ok().iter().flat_map(|text| text.lines()).filter_map(library) {
            let Library::At(library) = library else {
                let reason = "it needs a shared library that is not there, see ldd".to_owned();
                return Err(Error::Image { image: self.name, path: program.to_owned(), reason });
            };
            self = self.file(Path::new(library), library)?;
        }
        self.file(program, inside)
    }

    /// With a file of this machine at `inside`; its mode stays, its owner becomes root.
    ///
    /// # Errors
    /// A file that is not there.
    pub fn file(mut self, file: &Path, inside: &str) -> Result<Image> {
        fs::metadata(file).map_err(Error::file("read", file))?;
        self.entries.insert(place(inside), Source::File(file.to_owned()));
        Ok(self)
    }

    /// With an executable file of this text at `inside`: a shell script, if it starts with `#!/bin/sh`.
    pub fn script(mut self, inside: &str, text: &str) -> Image {
        self.entries.insert(place(inside), Source::Text { text: text.to_owned(), mode: 0o755 });
        self
    }

    /// With a command that containers run where their pod names none.
    pub fn entrypoint(mut self, words: &[&str]) -> Image {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self.arguments.clear();
        self
    }

    /// With the user, by number and group, as which containers run where their pod names none. Otherwise root.
    pub fn user(mut self, user: &str) -> Image {
        user.clone_into(&mut self.user);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes it as an archive that `ctr images import` and `docker load` read. The same files give the same archive.
    ///
    /// # Errors
    /// A file cannot be read, or `archive` not be written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        let layer = self.layer()?;
        let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
        let config = json!({
            "architecture": architecture(), "os": "linux", "created": "1970-01-01T00:00:00Z",
            "config": { "Env": [PATH], "Entrypoint": self.entrypoint, "Cmd": self.arguments, "User": self.user, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
            "history": [{ "created": "1970-01-01T00:00:00Z" }],
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"] }]);
        let file = File::create(archive).map_err(Error::file("create", archive))?;
        let mut written = Archive::new(BufWriter::new(file));
        let result = (|| {
            written.add("manifest.json", 0o644, &Entry::File(manifest.to_string().as_bytes()))?;
            written.add("config.json", 0o644, &Entry::File(config.to_string().as_bytes()))?;
            written.add("layer.tar", 0o644, &Entry::File(&layer))?;
            written.finish()?.flush()
        })();
        result.map_err(Error::file("write", archive))
    }

    /// The files, in memory: an image is a program or two.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Archive::new(Vec::new());
        for (place, source) in &self.with_folders() {
            let added = match source {
                Source::File(path) => {
                    let content = fs::read(path).map_err(Error::file("read", path))?;
                    let metadata = fs::metadata(path).map_err(Error::file("read", path))?;
                    layer.add(place, metadata.permissions().mode() & 0o777, &Entry::File(&content))
                }
                Source::Text { text, mode } => layer.add(place, *mode, &Entry::File(text.as_bytes())),
                Source::Link(target) => layer.add(place, 0o777, &Entry::Link(target)),
                Source::Folder(mode) => layer.add(place, *mode, &Entry::Folder),
            };
            added.map_err(|error| Error::Image {
                image: self.name.clone(),
                path: PathBuf::from(place),
                reason: error.to_string(),
            })?;
        }
        layer.finish().map_err(Error::file("write", "a layer"))
    }

    /// All entries and the folders that they are in. Sorted, a folder comes before what is in it.
    fn with_folders(&self) -> BTreeMap<String, Source> {
        let mut all = self.entries.clone();
        for place in self.entries.keys() {
            for (end, _) in place.match_indices('/') {
                all.entry(place[..end].to_owned()).or_insert(Source::Folder(0o755));
            }
        }
        all
    }
}

/// A place in an image, as archives name it.
fn place(inside: &str) -> String {
    inside.trim_matches('/').to_owned()
}

/// What a line of ldd says.
#[derive(Debug, PartialEq)]
enum Library<'a> {
    At(&'a str),
    Missing,
}

/// Reads lines as `libc.so.6 => /lib/libc.so.6 (0x7f…)`, `/lib64/ld-linux-x86-64.so.2 (0x7f…)` and
/// `libx.so => not found`. The kernel's own `linux-vdso.so.1 (0x7f…)` is no file.
fn library(line: &str) -> Option<Library<'_>> {
    let line = line.trim();
    let (name, found) = line.split_once(" => ").unwrap_or((line, line));
    if found == "not found" {
        return Some(Library::Missing);
    }
    let path = found.split_once(" (0x")?.0;
    // The loader is asked for by its path; what it is linked to is nobody's business.
    let path =
        if name.starts_with('/') { name.split_once(" (0x").map_or(name, |(name, _)| name) } else { path };
    path.starts_with('/').then_some(Library::At(path))
}

/// This machine's, as Go and so all of the container world names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests;
