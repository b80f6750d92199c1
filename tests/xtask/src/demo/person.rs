//! The demo on a *person's cluster*: in a namespace of its own, with hookhost as a process on this machine, and everything
//! that it made taken away at the end.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use super::scene::{self, Scene};
use super::screen::{Screen, typed};
use super::{POLICIES, hookhost};
use crate::policies;
use crate::run::{command, say};

/// The demo's own namespace, and the label by which hookhost and its policies know it.
const NAMESPACE: &str = "hookhost-demo";
const GATE: &str = "hookhost-demo=here";

/// hookhost's kinds, each with its CRD.
const CRDS: [(&str, &str); 3] = [
    ("operations", "operations.ops.vworkspace.io"),
    ("applicationinstances", "applicationinstances.apps.vworkspace.io"),
    ("hookpolicies", "hookpolicies.policy.vworkspace.io"),
];

/// Which cluster, and with what.
pub(super) struct Person<'a> {
    /// Of the kubeconfig.
    pub(super) context: &'a str,
    /// For the hooks; with a shell.
    pub(super) image: &'a str,
    /// Where kubectl and helm are looked for after PATH.
    pub(super) programs: &'a Path,
}

/// Plays it, and cleans up.
pub(super) fn play(person: &Person<'_>) -> Result<()> {
    let Person { context, image, programs } = person;
    let built: Vec<_> = hookhost().parent().map(ToOwned::to_owned).into_iter().collect();
    let screen = Screen::new(&Command::new("sh"), &built, &[(*programs).to_owned()])?;
    let kubectl = format!("kubectl --context {context}");
    for program in ["kubectl", "helm"] {
        screen.quietly(&format!("command -v {program}")).with_context(|| format!("{program} is missing"))?;
    }
    screen.quietly(&format!("{kubectl} get namespaces --output=name"))?;
    if screen.quietly(&format!("{kubectl} get namespace {NAMESPACE}")).is_ok() {
        bail!(
            "the cluster has a namespace {NAMESPACE} already\n  kubectl --context {context} delete namespace {NAMESPACE}"
        );
    }
    say(&format!(
        "\nOn the cluster of the context {context}, in the new namespace {NAMESPACE}. If this is interrupted:\n  \
         {kubectl} delete namespace {NAMESPACE}; {kubectl} delete hookpolicies {}",
        POLICIES.map(policy_name).join(" ")
    ));
    let mut set = Set { screen: &screen, kubectl: &kubectl, crds: Vec::new(), host: None };
    let result = on_the_set(&mut set, context, image);
    let cleaned = set.strike();
    result.and(cleaned)?;
    scene::say_next();
    Ok(())
}

fn policy_name(policy: &str) -> String {
    format!("{NAMESPACE}-{policy}")
}

fn on_the_set(set: &mut Set<'_>, context: &str, image: &str) -> Result<()> {
    let (screen, kubectl) = (set.screen, set.kubectl);
    for (kind, crd) in CRDS {
        if screen.quietly(&format!("{kubectl} get crd {crd}")).is_err() {
            if set.crds.is_empty() {
                screen.title("The kinds that hookhost works with");
            }
            set.crds.push(crd);
            screen.types(&format!("hookhost crds {kind} | {kubectl} apply --server-side -f -"))?;
            screen.quietly(&format!("{kubectl} wait --for=condition=Established crd/{crd} --timeout=60s"))?;
        }
    }
    screen.title("Helm installs a chart that has hooks, in a namespace where hookhost may act");
    screen.types(&format!("{kubectl} create namespace {NAMESPACE}"))?;
    screen.types(&format!(
        "{kubectl} label namespace {NAMESPACE} {GATE} vworkspace.io/organisation=org-myteam"
    ))?;
    screen.types(&format!(
        "helm --kube-context {context} install nextcloud-myteam tests/demo/chart -n {NAMESPACE} --set image={image}"
    ))?;
    screen.title("hookhost, on this machine");
    let log = scene::made()?.join("hookhost.log");
    let dir = typed(&policies::dir());
    let args = format!(
        "controller --context {context} --namespace-gate {GATE} --helm-releases --no-lease --admin-address 127.0.0.1:0 \
         --cluster-id cluster-prod-1 --organisation-label vworkspace.io/organisation --policy-dir {dir}"
    );
    say(&format!("$ hookhost {args} 2> {} &", typed(&log)));
    let log = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    set.host = Some(screen.command("hookhost").args(args.split(' ')).stderr(log).spawn()?);
    let scene = Scene {
        screen,
        namespace: NAMESPACE,
        context: format!(" --context {context}"),
        prefix: "hookhost-demo-",
        matches: "\n  match: {namespaceSelector: {matchLabels: {hookhost-demo: here}}}",
        module: |policy| format!("{{file: {policy}.wasm}}"),
        target_kind: "Release",
    };
    scene.play()
}

/// What the demo has made, to be taken away.
struct Set<'a> {
    screen: &'a Screen,
    kubectl: &'a str,
    /// CRDs that were not there before.
    crds: Vec<&'static str>,
    host: Option<Child>,
}

impl Set<'_> {
    /// Takes everything away. hookhost ends last: it lets its Jobs go.
    fn strike(mut self) -> Result<()> {
        let (screen, kubectl) = (self.screen, self.kubectl);
        screen.title("Cleaning up");
        let mut lines = vec![
            format!("{kubectl} delete namespace {NAMESPACE} --ignore-not-found"),
            format!(
                "{kubectl} delete hookpolicies {} --ignore-not-found",
                POLICIES.map(policy_name).join(" ")
            ),
        ];
        if !self.crds.is_empty() {
            lines.push(format!("{kubectl} delete crd {}", self.crds.join(" ")));
        }
        // What fails keeps nothing else from being taken away.
        let results: Vec<Result<()>> = lines.iter().map(|line| screen.types(line)).collect();
        if let Some(host) = &mut self.host {
            // As Kubernetes would: it finishes what is under way.
            let _ = command("kill").arg(host.id().to_string()).status();
            host.wait()?;
        }
        results.into_iter().collect()
    }
}
