//! A *release in the cluster* is found as Helm finds it: by the labels of the Secrets that hold its records. That takes
//! the right to list Secrets; a revision that is named takes only the right to get one.

use anyhow::Result;
use hookhost_cluster::client::{self, Call, Connection, Error, Verb};
use hookhost_core::HasReason as _;
use hookhost_core::{Reason, target};
use hookhost_helm::record::Record;
use hookhost_helm::status::Status;
use hookhost_helm::text::list;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;

use super::problem;
use crate::problem::Problem;

/// The key of the record in its Secret.
const KEY: &str = "release";

/// Revisions that an error lists: Helm keeps ten unless told otherwise.
const SHOWN_REVISIONS: usize = 10;

/// The revision of a release that is deployed, and what came after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    /// The newest revision that is deployed.
    pub(crate) revision: u32,
    /// The newest of all, with its status, where that is another one: an upgrade that failed, or that is under way.
    pub(crate) newer: Option<(u32, String)>,
}

/// The newest revision that is deployed.
pub(crate) async fn newest(connection: &Connection, namespace: &str, release: &str) -> Result<Newest> {
    let stored = revisions(connection, namespace, release).await?;
    Ok(newest_of(stored, namespace, release)?)
}

/// Revision and status of each record of a release, as the Secrets' labels tell, in any order.
async fn revisions(connection: &Connection, namespace: &str, release: &str) -> Result<Vec<(u32, String)>> {
    let call = Call::new::<Secret>(Verb::List, Some(namespace), "");
    let api: Api<Secret> = Api::namespaced(connection.requests.clone(), namespace);
    let selector = ListParams::default().labels(&format!("owner=helm,name={release}"));
    let found = client::read(&call, api.list_metadata(&selector)).await.map_err(|error| {
        let is_forbidden = matches!(error, Error::Forbidden { .. });
        let problem = problem(format!("cannot look for the release {release}"), error);
        if !is_forbidden {
            return problem;
        }
        let advice = problem.advice().unwrap_or_default().to_owned();
        problem
            .with_advice(format!("{advice}\nWith --revision N the right to get that one Secret is enough."))
    })?;
    let labels = found.items.into_iter().filter_map(|secret| secret.metadata.labels);
    Ok(labels
        .filter_map(|mut labels| {
            Some((labels.get("version")?.parse().ok()?, labels.remove("status").unwrap_or_default()))
        })
        .collect())
}

/// The record of a revision.
pub(crate) async fn record(
    connection: &Connection,
    namespace: &str,
    release: &str,
    revision: u32,
) -> Result<Record> {
    let value = stored(connection, namespace, release, revision).await?;
    let record = Record::read_secret_value(&value).map_err(|error| {
        let message = format!("cannot read revision {revision} of the release {namespace}/{release}");
        Problem::new(error.reason(), message).with_source(error)
    })?;
    Ok(record)
}

/// What the Secret of a revision holds, without the API's own base64.
async fn stored(connection: &Connection, namespace: &str, release: &str, revision: u32) -> Result<Vec<u8>> {
    let name = target::record_name(release, revision);
    let call = Call::new::<Secret>(Verb::Get, Some(namespace), &name);
    let api: Api<Secret> = Api::namespaced(connection.requests.clone(), namespace);
    let secret = client::read(&call, api.get(&name)).await.map_err(|error| match error {
        Error::NotFound { .. } => Problem::new(
            Reason::HookRequiresRelease,
            format!("the release {release} has no revision {revision} in the namespace {namespace}"),
        )
        .with_advice(format!("`helm history -n {namespace} {release}` lists the revisions that are kept.")),
        error => problem(format!("cannot read revision {revision} of the release {release}"), error),
    })?;
    let value = secret.data.and_then(|mut data| data.remove(KEY));
    Ok(value.map(|value| value.0).ok_or_else(|| {
        let message = format!("the Secret {namespace}/{name} has no key {KEY}, so it is no release record");
        Problem::new(Reason::ReleaseRecordInvalid, message)
    })?)
}

fn newest_of(mut stored: Vec<(u32, String)>, namespace: &str, release: &str) -> Result<Newest, Problem> {
    stored.sort_by_key(|(revision, _)| std::cmp::Reverse(*revision));
    let deployed = Status::Deployed.as_str();
    if let Some(at) = stored.iter().position(|(_, status)| status == deployed) {
        let (revision, _) = stored[at];
        let newer = (at > 0).then(|| stored.swap_remove(0));
        return Ok(Newest { revision, newer });
    }
    let Some((_, latest)) = stored.first() else {
        let message = format!("there is no Helm release {release} in the namespace {namespace}");
        return Err(Problem::new(Reason::HookRequiresRelease, message)
            .with_advice("`helm list -A` lists the releases; -n names the namespace of one."));
    };
    let is_busy =
        [Status::PendingInstall, Status::PendingUpgrade, Status::PendingRollback, Status::Uninstalling]
            .iter()
            .any(|status| status.as_str() == latest);
    let reason = if is_busy { Reason::ReleaseBusy } else { Reason::HookRequiresRelease };
    let shown: Vec<String> = stored
        .iter()
        .take(SHOWN_REVISIONS)
        .map(|(revision, status)| format!("{revision} is {status}"))
        .collect();
    let message = format!("no revision of the release {namespace}/{release} is deployed: {}", list(&shown));
    Err(Problem::new(reason, message).with_advice("--revision N takes that one, whatever its state."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(revisions: &[(u32, &str)]) -> Vec<(u32, String)> {
        revisions.iter().map(|(revision, status)| (*revision, (*status).to_owned())).collect()
    }

    #[test]
    fn the_newest_deployed_revision_counts_in_whatever_order_they_come() {
        let several = stored(&[(2, "superseded"), (10, "deployed"), (9, "deployed"), (11, "failed")]);
        let newer = Some((11, "failed".to_owned()));
        assert_eq!(newest_of(several, "acme", "shop").unwrap(), Newest { revision: 10, newer });
        let settled = stored(&[(2, "superseded"), (3, "deployed")]);
        assert_eq!(newest_of(settled, "acme", "shop").unwrap(), Newest { revision: 3, newer: None });
    }

    #[test]
    fn a_release_that_is_not_deployed_says_what_it_is() {
        let none = newest_of(stored(&[]), "acme", "shop").unwrap_err();
        assert_eq!(none.reason(), Reason::HookRequiresRelease);
        assert!(none.to_string().contains("no Helm release shop in the namespace acme"), "{none}");
        let busy = newest_of(stored(&[(1, "failed"), (2, "pending-upgrade")]), "acme", "shop").unwrap_err();
        assert_eq!(busy.reason(), Reason::ReleaseBusy);
        assert!(busy.to_string().ends_with("2 is pending-upgrade and 1 is failed"), "{busy}");
        let gone = newest_of(stored(&[(4, "uninstalled")]), "acme", "shop").unwrap_err();
        assert_eq!(gone.reason(), Reason::HookRequiresRelease);
    }
}
