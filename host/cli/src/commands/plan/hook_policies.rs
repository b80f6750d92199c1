//! The *HookPolicies* of the cluster that a plan is made for: loaded once, and asked as the controller asks them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use hookhost_cluster::client::{self, Call, Connection, Error, Verb};
use hookhost_cluster::read::Reader;
use hookhost_cluster::stream::Selection;
use hookhost_controller::crd::{Closure, HookPolicy};
use hookhost_controller::policy::{DecisionRecord, Effect, Options, Outcome, Policies, Scope};
use hookhost_core::Request;
use hookhost_core::plan::Warning;
use hookhost_core::refusal::Refusal;
use hookhost_core::verdict::Answer;
use hookhost_helm::text::{quote, shortlist};
use kube::core::DynamicObject;
use kube::{CustomResourceExt as _, ResourceExt as _};

use super::asked::{self, Asked};
use crate::policies;

/// Namespaces or policies that a warning names.
const MAX_NAMED: usize = 8;

/// Bytes of the cluster's HookPolicies that are read: of some thousand with the usual settings.
const READ_BYTES: usize = 16 << 20;

/// The labels of namespaces, by their names.
type Labels = BTreeMap<String, BTreeMap<String, String>>;

/// The HookPolicies of a cluster.
pub(super) struct HookPolicies {
    policies: Policies,
    /// The labels of the namespaces by which they are matched.
    labels: Labels,
}

impl HookPolicies {
    /// Loads those that match one of these requests, but for those that are given as files. None where the cluster has none, or they may
    /// not be read; warnings name those that are not asked.
    pub(super) async fn load(
        connection: &Connection,
        requests: &[&Request],
        given: &[Asked],
    ) -> Result<(Option<HookPolicies>, Vec<Warning>)> {
        let mut all = match list(connection).await {
            Ok(all) => all,
            // Without hookhost's CRDs nothing would run.
            Err(Error::KindMissing { .. } | Error::NotFound { .. }) => return Ok((None, Vec::new())),
            Err(error) => {
                let warning = not_asked(&format!("and cannot tell whether it has any: {error}"));
                return Ok((None, vec![warning]));
            }
        };
        all.retain(|one| !given.iter().any(|given| given.is_hook_policy(&one.name_any())));
        if all.is_empty() {
            return Ok((None, Vec::new()));
        }
        let mut warnings = Vec::new();
        let namespaces: BTreeSet<&str> = requests.iter().flat_map(|request| namespaces(request)).collect();
        let (labels, unread) = labels(connection, namespaces).await;
        if !unread.is_empty() {
            let which = format!(
                "and takes the namespaces {}, whose labels may not be read, to have none",
                shortlist(unread, MAX_NAMED)
            );
            warnings.push(not_asked(&which));
        }
        let options = Options { stock_policies: policies::stock_dir(), ..Options::default() };
        let loaded =
            HookPolicies { policies: Policies::new(Arc::new(policies::sandbox()?), options), labels };
        let requests: Vec<(&Request, Scope)> =
            requests.iter().map(|request| (*request, loaded.scope(request))).collect();
        let unloaded = loaded.policies.load_once(&connection.requests, &all, &requests).await;
        if !unloaded.is_empty() {
            let each = unloaded.iter().map(|(name, problem)| format!("{} ({problem})", quote(name)));
            let which = format!(
                "whose modules only hookhost can read: {}. Give them with --policy, each as a file (kubectl get hookpolicy NAME -o yaml)",
                shortlist(each, MAX_NAMED)
            );
            warnings.push(not_asked(&which));
        }
        Ok((Some(loaded), warnings))
    }

    /// Asks those that match; gives back the answers that count, and what a person should know of the others.
    ///
    /// # Errors
    /// One that must be asked cannot be: the run waits.
    pub(super) fn ask(&self, request: &Request) -> Result<(Vec<Answer>, Vec<Warning>), Refusal> {
        let decided = self.policies.decide(request, &self.scope(request)).map_err(Refusal::from)?;
        Ok((decided.answers, decided.records.iter().filter_map(uncounted).collect()))
    }

    /// What those that match say of temporary objects, and which of them.
    pub(super) fn closure(&self, request: &Request) -> Result<Option<(Closure, String)>, Refusal> {
        self.policies.closure(request, &self.scope(request))
    }

    fn scope(&self, request: &Request) -> Scope {
        Scope::of(request, |namespace| self.labels.get(namespace).cloned().unwrap_or_default())
    }
}

/// The namespaces of a request: the Operation's, the Job's and the release's.
fn namespaces(request: &Request) -> [&str; 3] {
    [&request.operation.namespace, request.job_namespace(), &request.release.namespace]
}

/// What a person should know of an answer that does not count.
fn uncounted(record: &DecisionRecord) -> Option<Warning> {
    let is_audit = record.effect == Effect::Audited;
    let answer = match &record.outcome {
        Outcome::Decision(decision) => Ok(decision),
        Outcome::Error(problem) => Err(problem.to_string()),
    };
    (is_audit || record.effect == Effect::Ignored).then(|| asked::uncounted(&record.policy, is_audit, answer))
}

/// All HookPolicies of the cluster.
async fn list(connection: &Connection) -> Result<Vec<DynamicObject>, Error> {
    let call = Call::new::<HookPolicy>(Verb::List, None, "");
    let selection = Selection::new(connection.requests.clone(), &HookPolicy::api_resource(), None);
    let mut all = Vec::new();
    let read = |text: &str| all.extend(serde_json::from_str::<DynamicObject>(text).ok());
    client::read(&call, selection.list_up_to(READ_BYTES, read)).await?;
    Ok(all)
}

/// The labels of these namespaces; and those that may not be read.
async fn labels(connection: &Connection, namespaces: BTreeSet<&str>) -> (Labels, Vec<String>) {
    let reader = Reader::new(connection.requests.clone());
    let (mut labels, mut unread) = (Labels::new(), Vec::new());
    for namespace in namespaces {
        match reader.namespace(namespace).await {
            Ok(found) => {
                let found = found.and_then(|metadata| metadata.labels).unwrap_or_default();
                labels.insert(namespace.to_owned(), found);
            }
            Err(_) => unread.push(namespace.to_owned()),
        }
    }
    (labels, unread)
}

fn not_asked(which: &str) -> Warning {
    let message = format!(
        "this plan has not asked all HookPolicies of the cluster, {which}. They may deny the run, hold it or bound its values"
    );
    Warning { code: "HookPoliciesNotAsked", message }
}
