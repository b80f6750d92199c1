//! What the tests share.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/hook-policy.wit");
const POLICY: &str = "vworkspace:hook-policy/policy@0.1.0";

/// A folder of a test's own: the working directory, home and cache of every call.
pub(crate) struct Dir(TempDir);

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A folder with the release `shop` and an Operation that names its hook `shop-migrate`.
    pub(crate) fn with_release() -> Dir {
        let dir = Dir::new();
        dir.write("release.json", record(&[job("shop-migrate"), account()]).to_string());
        dir.write("op.yaml", OPERATION);
        dir
    }

    /// The command, not yet run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookhost"));
        command.args(args).current_dir(self.0.path());
        command.env_clear().env("HOME", self.0.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, b"")
    }

    /// Runs with something on stdin.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads no stdin may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Checks that stderr has each of these.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Run {
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }

    /// Checks that stdout has each of these.
    #[track_caller]
    pub(crate) fn prints(self, texts: &[&str]) -> Run {
        for text in texts {
            assert!(self.stdout.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }

    /// Checks that nothing was printed on stdout.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Run {
        assert_eq!(self.stdout, "", "{self:#?}");
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The error that stderr has as JSON.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let value: Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error} in {self:#?}"));
        value["error"].clone()
    }
}

pub(crate) const OPERATION: &str = "\
apiVersion: ops.vworkspace.io/v1alpha1
kind: Operation
metadata:
  name: migrate-now
  namespace: acme
spec:
  targetRef: { apiVersion: apps.vworkspace.io/v1alpha1, kind: ApplicationInstance, name: shop }
  type: Migration
  engine: helmHookJob
  parameters:
    hookName: shop-migrate
    activeDeadlineSeconds: 1800
";

/// A hook's manifest: a Job.
pub(crate) fn job(name: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\nspec:\n  backoffLimit: 2\n  template:\n    spec:\n      \
         serviceAccountName: shop\n      restartPolicy: Never\n      containers:\n        - name: migrate\n          \
         image: shop:1\n"
    )
}

/// A hook's manifest: a service account.
pub(crate) fn account() -> String {
    "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: shop\n".to_owned()
}

/// A hook's manifest: the service account and somebody else are given a cluster role.
pub(crate) fn binding(role: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: shop-binding\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role} }}\nsubjects:\n  \
         - {{ kind: ServiceAccount, name: shop, namespace: acme }}\n  - {{ kind: User, name: mallory }}\n"
    )
}

/// A deployed release `shop` in the namespace `acme` with these pre-upgrade hooks.
pub(crate) fn record(manifests: &[String]) -> Value {
    let hook = |manifest: &String| {
        json!({
            "name": "shop", "kind": "Job", "path": "shop/templates/hooks.yaml", "manifest": manifest,
            "events": ["pre-upgrade"], "weight": -5, "delete_policies": ["before-hook-creation"],
        })
    };
    json!({
        "name": "shop", "namespace": "acme", "version": 3,
        "info": {"status": "deployed", "first_deployed": "2026-01-01T00:00:00Z", "last_deployed": "2026-02-01T00:00:00Z"},
        "chart": {"metadata": {"name": "shop", "version": "1.4.0", "appVersion": "2.0"}},
        "hooks": manifests.iter().map(hook).collect::<Vec<_>>(),
    })
}

/// The Secret in which Helm keeps a record, given as its bytes before base64.
pub(crate) fn secret(gzip: &[u8]) -> Value {
    let value = BASE64_STANDARD.encode(BASE64_STANDARD.encode(gzip));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.shop.v3", "namespace": "acme"},
        "data": {"release": value},
    })
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a policy for a test does when it is asked.
pub(crate) enum Does {
    /// Allows, with a deadline of at most 600 seconds.
    Cap,
    /// Allows, with a deadline of at least 1000 seconds.
    Floor,
    Deny,
    Hold,
    Trap,
    Loop,
    /// Allows, after a log line that clears a terminal.
    Log,
}

/// A policy that accepts the settings `{}` only, as a component.
pub(crate) fn policy(does: &Does) -> Vec<u8> {
    component(&module(does, "0.1.0"), "0.1.0")
}

/// A policy of another version of the contract.
pub(crate) fn policy_of_version(version: &str) -> Vec<u8> {
    component(&module(&Does::Cap, version), version)
}

/// The core module of a policy.
pub(crate) fn module(does: &Does, version: &str) -> Vec<u8> {
    // The answer is written at 1024. An option is a byte, and eight bytes further its value.
    let evaluate = match does {
        Does::Cap => {
            "(i32.store8 (i32.const 1048) (i32.const 1)) (i64.store (i32.const 1056) (i64.const 600))"
        }
        Does::Floor => {
            "(i32.store8 (i32.const 1064) (i32.const 1)) (i64.store (i32.const 1072) (i64.const 1000))"
        }
        Does::Deny => {
            "(i32.store8 (i32.const 1024) (i32.const 1))
             (i32.store (i32.const 1032) (i32.const 4128)) (i32.store (i32.const 1036) (i32.const 7))
             (i32.store (i32.const 1040) (i32.const 4135)) (i32.store (i32.const 1044) (i32.const 9))"
        }
        Does::Hold => {
            "(i32.store8 (i32.const 1024) (i32.const 2))
             (i32.store (i32.const 1032) (i32.const 4128)) (i32.store (i32.const 1036) (i32.const 7))
             (i32.store (i32.const 1040) (i32.const 4135)) (i32.store (i32.const 1044) (i32.const 9))
             (i32.store (i32.const 1048) (i32.const 90))"
        }
        Does::Trap => "unreachable",
        Does::Loop => "(loop $again (br $again))",
        Does::Log => "(call $log (i32.const 2) (i32.const 4144) (i32.const 10))",
    };
    let name = match does {
        Does::Cap => "cap ",
        Does::Floor => "rise",
        Does::Deny => "deny",
        Does::Hold => "hold",
        Does::Trap => "trap",
        Does::Loop => "loop",
        Does::Log => "logs",
    };
    wat::parse_str(format!(
        r#"(module
          (import "vworkspace:hook-policy/logging@{version}" "log" (func $log (param i32 i32 i32)))
          (memory (export "memory") 4)
          (global $next (mut i32) (i32.const 8192))
          (data (i32.const 4096) "{name}1.0.0for a test{{}}")
          (data (i32.const 4128) "NotHeremaybe two")
          (data (i32.const 4144) "\1b[2Jgone!!")
          (data (i32.const 4160) "only {{}} will do")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $p i32)
            (local.set $p (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
            (global.set $next (i32.add (local.get $p) (local.get 3)))
            (local.get $p))
          (func (export "{policy}#describe") (result i32)
            (i32.store (i32.const 1024) (i32.const 4096)) (i32.store (i32.const 1028) (i32.const 4))
            (i32.store (i32.const 1032) (i32.const 4100)) (i32.store (i32.const 1036) (i32.const 5))
            (i32.store (i32.const 1040) (i32.const 4105)) (i32.store (i32.const 1044) (i32.const 10))
            (i32.store (i32.const 1048) (i32.const 4115)) (i32.store (i32.const 1052) (i32.const 2))
            (i32.const 1024))
          (func (export "{policy}#validate-settings") (param i32 i32) (result i32)
            (if (i32.ne (local.get 1) (i32.const 2)) (then
              (i32.store8 (i32.const 1024) (i32.const 1))
              (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 1))
              (i32.store (i32.const 2048) (i32.const 4096)) (i32.store (i32.const 2052) (i32.const 3))
              (i32.store (i32.const 2056) (i32.const 4160)) (i32.store (i32.const 2060) (i32.const 15))))
            (i32.const 1024))
          (func (export "{policy}#evaluate") (param i32) (result i32)
            {evaluate}
            (i32.const 1024))
        )"#,
        policy = POLICY.replace("0.1.0", version),
    ))
    .unwrap()
}

fn component(module: &[u8], version: &str) -> Vec<u8> {
    let mut module = module.to_owned();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", &WIT.replace("@0.1.0", &format!("@{version}"))).unwrap();
    let world = resolve.select_world(&[package], Some("hook-policy")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}
