//! The policies that a plan *asks*: components with settings, or HookPolicies as they stand in files, which are asked as in a cluster.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use hookhost_controller::crd::{Closure, ConfigMapKey};
use hookhost_controller::policy::{Manifest, Source};
use hookhost_core::plan::Warning;
use hookhost_core::verdict::Answer;
use hookhost_core::{Decision, Reason, Request};
use hookhost_helm::text::{printable, quote};
use hookhost_sandbox::{Policy, PreparedRequest, Sandbox};
use serde_json::Value;

use crate::policies;
use crate::problem::Problem;

/// The variable by which a controller is told where the files of HookPolicies are.
const POLICY_DIR: &str = "HOOKHOST_POLICY_DIR";

/// Extensions of files that are no components.
const DOCUMENTS: [&str; 3] = ["yaml", "yml", "json"];

/// A policy that is to be asked.
pub(super) struct Asked {
    /// Its HookPolicy's name, or its own; with the settings' file where one policy is asked more than once.
    name: String,
    digest: String,
    policy: Policy,
    /// JSON text that the policy has accepted.
    settings: String,
    /// What its HookPolicy says, where one is given.
    manifest: Option<Manifest>,
}

impl Asked {
    /// Whether it is the HookPolicy of this name.
    pub(super) fn is_hook_policy(&self, name: &str) -> bool {
        self.manifest.is_some() && self.name == name
    }
}

/// A policy's file and that of its settings, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolicyArgument {
    /// The component, the name of a stock policy, or a HookPolicy.
    file: PathBuf,
    /// The settings, or the HookPolicy that has them.
    settings: Option<PathBuf>,
}

impl FromStr for PolicyArgument {
    type Err = Infallible;

    /// Splits at the "=" after ".wasm", so that both names may have one; without ".wasm" at the first.
    fn from_str(text: &str) -> Result<PolicyArgument, Infallible> {
        let end = text.find(".wasm=").map(|at| at + ".wasm".len()).or_else(|| text.find('='));
        let (file, settings) = match end {
            Some(end) => (&text[..end], Some(PathBuf::from(&text[end + 1..]))),
            None => (text, None),
        };
        Ok(PolicyArgument { file: file.into(), settings })
    }
}

/// Loads all policies, and has them check their settings.
pub(super) fn load(arguments: &[PolicyArgument]) -> Result<Vec<Asked>> {
    if arguments.is_empty() {
        return Ok(Vec::new());
    }
    let sandbox = policies::sandbox()?;
    let mut asked: Vec<Asked> =
        arguments.iter().map(|argument| load_one(&sandbox, argument)).collect::<Result<_>>()?;
    tell_apart(&mut asked, arguments);
    let mut names: Vec<&str> = asked.iter().map(|policy| policy.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(Problem::new(Reason::UsageInvalid, format!("the policy {} is given twice", pair[0]))
                .with_advice("Give it once, or with different settings.")
                .into())
        }
        None => Ok(asked),
    }
}

/// Gives every policy whose name is not its own the file of its settings beside it, so that no name depends on the order
/// of the arguments.
fn tell_apart(asked: &mut [Asked], arguments: &[PolicyArgument]) {
    let names: Vec<String> = asked.iter().map(|policy| policy.name.clone()).collect();
    for (policy, argument) in asked.iter_mut().zip(arguments) {
        let is_alone = names.iter().filter(|name| **name == policy.name).count() == 1;
        if policy.manifest.is_none() && !is_alone {
            let file = argument.settings.as_ref().unwrap_or(&argument.file);
            policy.name = format!("{} ({})", policy.name, file.display());
        }
    }
}

fn load_one(sandbox: &Sandbox, argument: &PolicyArgument) -> Result<Asked> {
    let PolicyArgument { file, settings } = argument;
    let is_document =
        file.extension().and_then(|extension| extension.to_str()).is_some_and(|it| DOCUMENTS.contains(&it));
    if is_document && settings.is_none() {
        let document = policies::document(file, "HookPolicy")?;
        let manifest = read_manifest(&document, file)?;
        let module = module_of(&manifest, file)?;
        return load_manifest(sandbox, manifest, &module);
    }
    let settings = match settings {
        Some(path) => {
            let document = policies::document(path, "settings")?;
            if Manifest::is_one(&document) {
                return load_manifest(sandbox, read_manifest(&document, path)?, file);
            }
            document.to_string()
        }
        None => policies::settings(None)?,
    };
    let (policy, _) = policies::load(sandbox, file)?;
    let described = policies::describe(&policy, &file.to_string_lossy())?;
    policies::check_settings(&policy, &described.name, &settings)?;
    let digest = policies::digest(&policy);
    Ok(Asked { name: described.name, digest, policy, settings, manifest: None })
}

fn read_manifest(document: &Value, path: &Path) -> Result<Manifest> {
    Ok(Manifest::read(document).map_err(|problem| {
        let what = format!("cannot use {} as a HookPolicy", path.display());
        Problem::new(problem.reason, what).with_source(problem).with_advice(
            "--policy takes a HookPolicy (kind: HookPolicy), or a policy with its settings after it: --policy NAME=SETTINGS.yaml.",
        )
    })?)
}

/// Where the component of a HookPolicy is on this machine: a path, or the name of a stock policy.
fn module_of(manifest: &Manifest, path: &Path) -> Result<PathBuf> {
    match manifest.module() {
        Source::Stock(name) => Ok(name.into()),
        Source::File(file) => {
            let dir = std::env::var_os(POLICY_DIR).filter(|dir| !dir.is_empty()).map(PathBuf::from);
            let dir = dir.unwrap_or_else(|| path.parent().unwrap_or(Path::new("")).to_owned());
            // A path, even where it has but one part: by that alone a stock policy would be named.
            Ok(Path::new(".").join(dir).join(file))
        }
        Source::ConfigMap(ConfigMapKey { namespace, name, key }) => {
            let what = format!(
                "the module of the HookPolicy {} is in the ConfigMap {namespace}/{name}, which a plan does not read",
                quote(manifest.name())
            );
            let file = if key.ends_with(".wasm") { key.clone() } else { format!("{key}.wasm") };
            Err(Problem::new(Reason::PolicyModuleMissing, what)
                .with_advice(format!(
                    "Give the component before the HookPolicy: --policy {file}={0}. It is the file that the ConfigMap was made \
                     of, or\nkubectl get configmap {name} -n {namespace} -o jsonpath='{{.binaryData.{1}}}' | base64 -d > {file}",
                    path.display(),
                    key.replace('.', "\\.")
                ))
                .into())
        }
    }
}

fn load_manifest(sandbox: &Sandbox, manifest: Manifest, module: &Path) -> Result<Asked> {
    let name = manifest.name().to_owned();
    let (policy, _) = policies::load_patiently(sandbox, module, manifest.limits())?;
    let digest = policies::digest(&policy);
    manifest.check_digest(digest.trim_start_matches("sha256:")).map_err(|problem| {
        let what = format!("{} is not the module of the HookPolicy {}", module.display(), quote(&name));
        Problem::new(problem.reason, what)
            .with_source(problem)
            .with_advice("Give the component that it is pinned to, or set spec.module.sha256 to this one.")
    })?;
    policies::check_settings(&policy, &name, manifest.settings())?;
    Ok(Asked { name, digest, policy, settings: manifest.settings().to_owned(), manifest: Some(manifest) })
}

/// What the HookPolicies among these that match say of temporary objects, and which of them.
pub(super) fn closure(asked: &[Asked], request: &Request) -> Option<(Closure, String)> {
    let says = asked.iter().filter_map(|policy| {
        let manifest = policy.manifest.as_ref()?;
        let closure = manifest.closure()?;
        manifest.matches(request).map(|_| (closure, policy.name.clone()))
    });
    says.max_by_key(|(closure, _)| *closure == Closure::Forbid)
}

/// Asks every policy that matches; gives back the answers that count, and what a person should know of the others. One that gives no
/// answer fails the plan, unless its HookPolicy ignores that: nobody knows what it would have said.
pub(super) fn ask(request: &Request, asked: &[Asked]) -> Result<(Vec<Answer>, Vec<Warning>)> {
    let (mut answers, mut warnings) = (Vec::new(), Vec::new());
    if asked.is_empty() {
        return Ok((answers, warnings));
    }
    let prepared =
        PreparedRequest::new(request).map_err(|error| policies::problem("cannot ask the policies", error))?;
    for Asked { name, digest, policy, settings, manifest } in asked {
        let shown = quote(name);
        if let Some(manifest) = manifest {
            let Some(matched) = manifest.matches(request) else {
                let message = format!("the HookPolicy {shown} does not match this run, so it is not asked");
                warnings.push(Warning { code: "PolicyNotMatched", message });
                continue;
            };
            if let Some(selector) = matched.assumed {
                let message = format!(
                    "the HookPolicy {shown} is for the namespaces that {} selects; this plan takes it to select this one",
                    printable(&selector)
                );
                warnings.push(Warning { code: "NamespaceNotCompared", message });
            }
        }
        let is_audit = manifest.as_ref().is_some_and(Manifest::is_audit);
        let evaluated = policy.evaluate(&prepared, settings);
        policies::logs(
            evaluated.as_ref().map_or_else(|error| error.logs(), |evaluation| evaluation.logs.as_slice()),
        );
        match evaluated {
            Ok(evaluation) if is_audit => {
                warnings.push(uncounted(name, is_audit, Ok(&evaluation.decision)));
            }
            Ok(evaluation) => answers.push(Answer {
                policy: name.clone(),
                digest: digest.clone(),
                decision: evaluation.decision,
            }),
            Err(error) if is_audit || manifest.as_ref().is_some_and(Manifest::is_ignored_on_failure) => {
                warnings.push(uncounted(name, is_audit, Err(error.to_string())));
            }
            Err(error) => {
                return Err(policies::problem(format!("the policy {name} gave no decision"), error).into());
            }
        }
    }
    Ok((answers, warnings))
}

/// What a person should know of the answer of a HookPolicy that does not count, in Audit or because of its failurePolicy.
pub(super) fn uncounted(policy: &str, is_audit: bool, answer: Result<&Decision, String>) -> Warning {
    let why = if is_audit { "is in Audit" } else { "has failurePolicy Ignore" };
    let (code, what) = match answer {
        Ok(decision) => {
            let decision = serde_json::to_string(decision).unwrap_or_default();
            ("PolicyAudited", format!("this is only recorded: {decision}"))
        }
        Err(error) => ("PolicyIgnored", format!("the run goes on without it: {error}")),
    };
    Warning { code, message: format!("the HookPolicy {} {why}, so {what}", quote(policy)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_and_its_settings_are_told_apart() {
        let parsed = |text: &str| {
            let PolicyArgument { file, settings } = text.parse().unwrap();
            (file.display().to_string(), settings.map(|path| path.display().to_string()))
        };
        assert_eq!(parsed("cap.wasm"), ("cap.wasm".into(), None));
        assert_eq!(parsed("a=b/cap.wasm=c=d.yaml"), ("a=b/cap.wasm".into(), Some("c=d.yaml".into())));
        assert_eq!(parsed("cap=s.yaml"), ("cap".into(), Some("s.yaml".into())));
        assert_eq!(parsed("cap.wasm=policy.yaml"), ("cap.wasm".into(), Some("policy.yaml".into())));
    }
}
