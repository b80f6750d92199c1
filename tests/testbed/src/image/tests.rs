use std::process::Command;

use super::*;
use crate::isolation;

/// What GNU tar says of an archive.
fn listed(archive: &Path, also: &[&str]) -> String {
    run::output(Command::new("tar").args(["--numeric-owner", "--utc", "-tvf"]).arg(archive).args(also))
        .unwrap()
}

#[test]
fn a_layer_has_its_files_their_folders_and_modes_and_is_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("/{}/{}", "folder/".repeat(18), "f".repeat(90));
    let image = Image::busybox("localhost/mine:1").unwrap();
    let image = image.script("/usr/local/bin/occ", "#!/bin/sh\necho occ\n").script(&long, "");
    let layer = dir.path().join("layer.tar");
    fs::write(&layer, image.layer().unwrap()).unwrap();

    let list = listed(&layer, &[]);
    for line in [
        "drwxr-xr-x 0/0               0 1970-01-01 00:00 bin",
        "drwxrwxrwt 0/0               0 1970-01-01 00:00 tmp",
        "-rwxr-xr-x 0/0              19 1970-01-01 00:00 usr/local/bin/occ",
        "bin/sh -> busybox",
        &long[1..],
    ] {
        assert!(list.contains(line), "{line} in\n{list}");
    }
    assert!(list.find("00 usr\n") < list.find("00 usr/local\n"), "a folder comes before what is in it");
    assert_eq!(image.layer().unwrap(), image.clone().layer().unwrap());

    let archive = dir.path().join("image.tar");
    image.write(&archive).unwrap();
    let config = run::output(Command::new("tar").args(["-xOf"]).arg(&archive).arg("config.json")).unwrap();
    let digest = run::output(Command::new("sha256sum").arg(&layer)).unwrap();
    assert!(config.contains(digest.split_whitespace().next().unwrap()), "{config}");
    assert!(listed(&archive, &["manifest.json"]).starts_with("-rw-r--r--"));
}

#[test]
fn a_program_brings_the_libraries_that_it_starts_with() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::new("localhost/true:1").program(Path::new("/bin/ls"), "/bin/ls").unwrap();
    let layer = dir.path().join("layer.tar");
    fs::write(&layer, image.layer().unwrap()).unwrap();
    assert!(listed(&layer, &[]).contains("libc.so.6"));
    // Its own loader with its own libraries, and nothing of this machine's.
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    run::output(Command::new("tar").arg("-xf").arg(&layer).arg("-C").arg(&root)).unwrap();
    if isolation::is_root() {
        assert_eq!(
            run::output(Command::new("chroot").arg(&root).args(["/bin/ls", "/"])).unwrap(),
            "bin\nlib\nlib64"
        );
    }
}

#[test]
fn ldd_is_read_line_by_line() {
    for (line, expected) in [
        ("\tlinux-vdso.so.1 (0x00007fff)", None),
        (
            "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)",
            Some(Library::At("/lib/x86_64-linux-gnu/libc.so.6")),
        ),
        ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some(Library::At("/lib64/ld-linux-x86-64.so.2"))),
        ("\t/lib/ld.so.1 => /usr/lib/ld.so.1 (0x00007f)", Some(Library::At("/lib/ld.so.1"))),
        ("\tlibmine.so => not found", Some(Library::Missing)),
        ("\tstatically linked", None),
    ] {
        assert_eq!(library(line), expected, "{line}");
    }
}

#[test]
fn what_is_not_there_is_said_by_name() {
    let missing = Image::new("localhost/none:1").file(Path::new("/nonexistent/file"), "/file").unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/file"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let long = Image::new("localhost/long:1").script(&"x".repeat(300), "");
    let long = long.write(&dir.path().join("image.tar")).unwrap_err();
    assert!(long.to_string().contains("its name is too long"), "{long}");
}
