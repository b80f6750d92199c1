//! The *scene* is what is the same on every cluster: policies, one run of a hook, a denial, a hook that is not there.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::screen::{Screen, typed};
use super::{MIGRATION, POLICIES};
use crate::run::{root, say, target};

/// Names of the demo's objects, as tests/demo has them.
const RELEASE: &str = "nextcloud-myteam";
const OPERATION: &str = "nextcloud-myteam-pre-upgrade-2026-05-28";

/// Where it plays.
pub(super) struct Scene<'a> {
    pub(super) screen: &'a Screen,
    /// The release's namespace.
    pub(super) namespace: &'a str,
    /// "--context NAME", where it is not the current one: for kubectl and hookhost.
    pub(super) context: String,
    /// Before the names of HookPolicies, which have no namespace.
    pub(super) prefix: &'a str,
    /// More lines of each HookPolicy's spec.
    pub(super) matches: &'a str,
    /// The line of a HookPolicy that says where its module is.
    pub(super) module: fn(&str) -> String,
    /// Kind of the release that Operations name.
    pub(super) target_kind: &'a str,
}

/// Folder of files that are made for the demo.
pub(super) fn made() -> Result<PathBuf> {
    let dir = target().join("demo");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

impl Scene<'_> {
    /// Plays it.
    pub(super) fn play(&self) -> Result<()> {
        let Scene { screen, namespace, context, target_kind, .. } = self;
        let kubectl = self.kubectl();
        let hookhost = |words: &str| format!("hookhost {words} -n {namespace}{context}");

        screen.title("The organisation's policies");
        let policies = self.write_policies()?;
        screen.types(&format!("{kubectl} apply -f {policies}"))?;
        let names: Vec<String> = POLICIES.iter().map(|policy| format!("{}{policy}", self.prefix)).collect();
        let names = names.join(" ");
        screen.types(&format!(
            "{kubectl} wait --for=condition=Ready hookpolicies {names} --timeout=60s > /dev/null"
        ))?;
        screen.types(&format!("{kubectl} get hookpolicies {names}"))?;

        screen.title("The release's hooks, from the record in the cluster");
        screen.types(&hookhost(&format!("hooks {RELEASE}")))?;

        screen.title("An Operation runs one of them");
        let migration = self.write_migration()?;
        screen.types(&format!("{kubectl} apply -f {migration}"))?;
        let end = "--for=jsonpath='{.status.phase}'=Succeeded --timeout=60s";
        screen.types(&format!("{kubectl} wait -n {namespace} operation/{OPERATION} {end} > /dev/null"))?;
        screen.types(&format!("{kubectl} get -n {namespace} operations,jobs"))?;
        screen.types(&format!("{kubectl} logs -n {namespace} job/{OPERATION}"))?;

        screen.title(
            "The Job is the chart's own: three numbers and labels are hookhost's, bounded by the policies",
        );
        screen.types(&format!(
            "{kubectl} get -n {namespace} job {OPERATION} -o custom-columns=DEADLINE:.spec.activeDeadlineSeconds,\\\n\
             RETRIES:.spec.backoffLimit,KEPT:.spec.ttlSecondsAfterFinished,'ORGANISATION:.metadata.labels.example\\.com/organisation',\\\n\
             IMAGE:.spec.template.spec.containers[0].image,ACCOUNT:.spec.template.spec.serviceAccountName"
        ))?;

        screen.title("What the Operation says");
        screen.types(&format!(
            "{kubectl} describe -n {namespace} operation {OPERATION} |\n    sed -n '/^  Conditions:/,/^    Type: *Succeeded/p;/^Events:/,$p'"
        ))?;

        screen.title("A hook that is meant for rollbacks too is denied");
        let run =
            |hook: &str| hookhost(&format!("run {hook} --target {RELEASE}{}", kind_option(target_kind)));
        screen.types_and_exits(&run("nextcloud-myteam-post-upgrade"), 3)?;

        screen.title("A hook that is not there is not found");
        screen.types_and_exits(&run("nextcloud-myteam-pre-upgrad"), 5)?;
        screen.types(&format!("{kubectl} get -n {namespace} operations"))?;
        Ok(())
    }

    pub(super) fn kubectl(&self) -> String {
        format!("kubectl{}", self.context)
    }

    /// HookPolicies with the settings of the offline part; gives back the file as typed.
    fn write_policies(&self) -> Result<String> {
        let mut yaml = String::new();
        for policy in POLICIES {
            let file = root().join("tests/demo").join(format!("{policy}.yaml"));
            let settings =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            writeln!(
                yaml,
                "---\napiVersion: policy.vworkspace.io/v1alpha1\nkind: HookPolicy\nmetadata: {{name: {}{policy}}}\nspec:\n  \
                 module: {}{}\n  settings:",
                self.prefix,
                (self.module)(policy),
                self.matches,
            )?;
            for line in settings.lines() {
                writeln!(yaml, "    {line}")?;
            }
        }
        write("policies.yaml", &yaml)
    }

    /// The Operation of the offline part, for this namespace and target; gives back the file as typed.
    fn write_migration(&self) -> Result<String> {
        if self.target_kind == "ApplicationInstance" {
            return Ok(MIGRATION.to_owned());
        }
        let file = root().join(MIGRATION);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = text
            .replace("namespace: org-myteam", &format!("namespace: {}", self.namespace))
            .replace("apps.vworkspace.io/v1alpha1", "helm.sh/v3")
            .replace("kind: ApplicationInstance", &format!("kind: {}", self.target_kind));
        write("migration.yaml", &text)
    }
}

/// How `hookhost run` is told of the kind.
fn kind_option(kind: &str) -> String {
    if kind == "ApplicationInstance" { String::new() } else { format!(" --target-kind {kind}") }
}

fn write(name: &str, text: &str) -> Result<String> {
    let file = made()?.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(typed(&file))
}

/// What was seen, and where to go from here.
pub(super) fn say_next() {
    say(
        "\nNext: cargo xtask cluster up gives you such a cluster to play with; deploy/hookhost is the chart for your own.",
    );
}
