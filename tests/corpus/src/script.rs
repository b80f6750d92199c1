//! A *script* is what a stand-in runs: it looks for all that its container was to have, says what is missing, and ends.

use std::fmt::Write;

/// Where Kubernetes mounts a service account's token.
pub(super) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Bytes of a script. Linux takes 128 KiB as one argument; what is beyond this is not looked for.
const MAX_BYTES: usize = 64 * 1024;

/// The functions that a script is made of. A variable is looked for in the shell's own environment as it was given, since
/// a shell forgets those whose names it cannot say. A folder must be one that can be listed, a file one that can be read.
const FUNCTIONS: &str = r#"missing=0
miss() { echo "missing: $1"; missing=1; }
mount() { if [ -d "$1" ]; then ls "$1" > /dev/null; else [ -r "$1" ]; fi || miss "mount $1"; }
variable() { tr '\n\0' ' \n' < /proc/$$/environ | cut -d= -f1 | grep -qxF -e "$1" || miss "variable $1"; }
token() { [ -s "$1/token" ] || miss "the service account's token"; }
"#;

/// The end of a script whose container is to end.
const END: &str = "exit $missing\n";

/// The end of a script whose container goes on beside the others until the pod's end.
const GO_ON: &str =
    "[ $missing = 0 ] || exit 1\ntrap 'exit 0' TERM\nwhile :; do sleep 3600 & wait $!; done\n";

/// What a container was to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Paths of its mounts.
    pub(super) mounts: Vec<String>,
    /// Names of its variables.
    pub(super) variables: Vec<String>,
    /// Whether Kubernetes gives it its service account's token.
    pub(super) token: bool,
    /// Whether it runs beside the others until they have ended.
    pub(super) is_sidecar: bool,
}

impl Wanted {
    /// The script that looks for it, as it stands in a container's `command`.
    pub(super) fn script(&self) -> String {
        let mut script = FUNCTIONS.to_owned();
        let mounts = self.mounts.iter().map(|path| ("mount", path.as_str()));
        let variables = self.variables.iter().map(|name| ("variable", name.as_str()));
        // A mount of its own in that place is looked for as such.
        let is_given = self.token && !self.mounts.iter().any(|path| path.trim_end_matches('/') == TOKEN);
        let token = is_given.then_some(("token", TOKEN));
        for (function, argument) in token.into_iter().chain(mounts).chain(variables) {
            let line = format!("{function} {}\n", quoted(argument));
            if script.len() + line.len() > MAX_BYTES {
                break;
            }
            script.push_str(&line);
        }
        script.push_str(if self.is_sidecar { GO_ON } else { END });
        // Kubernetes puts variables in the place of $(NAME), and takes $$ for a $.
        script.replace('$', "$$")
    }
}

/// A word as the shell reads it, whatever is in it.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("'");
    for part in word.chars() {
        let _ = match part {
            '\'' => quoted.write_str("'\\''"),
            part => quoted.write_char(part),
        };
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What this machine's shell says to a script, and whether it is content.
    fn run(wanted: &Wanted) -> (bool, String) {
        let script = wanted.script().replace("$$", "$");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &script])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("dotted.name", "")
            .env("A", "two\nlines");
        let output = shell.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn what_is_there_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's a $(file)");
        std::fs::write(&file, "").unwrap();
        let mounts = [dir.path(), &file].map(|path| path.to_string_lossy().into_owned()).to_vec();
        let wanted = Wanted { mounts, variables: owned(&["A", "dotted.name"]), ..Wanted::default() };
        assert_eq!(run(&wanted), (true, String::new()));
    }

    #[test]
    fn what_is_missing_is_said() {
        let wanted = Wanted {
            mounts: owned(&["/not/there"]),
            variables: owned(&["B", "lines", "-x"]),
            token: true,
            is_sidecar: false,
        };
        let said = "missing: the service account's token\nmissing: mount /not/there\nmissing: variable B\n\
                    missing: variable lines\nmissing: variable -x\n";
        assert_eq!(run(&wanted), (false, said.to_owned()));
        assert!(!run(&Wanted { is_sidecar: true, ..wanted }).0);
    }

    #[test]
    fn nothing_in_a_script_is_for_kubernetes_to_replace() {
        let wanted = Wanted { mounts: owned(&["/a/$(HOME)"]), ..Wanted::default() };
        assert!(wanted.script().contains("mount '/a/$$(HOME)'"));
        assert!(!wanted.script().replace("$$", "").contains('$'));
    }

    #[test]
    fn a_script_is_never_longer_than_an_argument_may_be() {
        let wanted = Wanted { variables: vec!["X".repeat(1000); 1000], ..Wanted::default() };
        assert!(wanted.script().len() < 128 * 1024);
        assert!(wanted.script().ends_with("exit $$missing\n"));
    }
}
