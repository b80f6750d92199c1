//! A *list* is all objects of a kind that have a label or a name, metadata only, read page by page. For what no watch tells:
//! Jobs in namespaces that are not managed, and what an uninstall cleans.

use std::time::Duration;

use hookhost_core::clone::{FINALIZER, OPERATION, SOURCE_HOOK};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use tokio::time::sleep;

use crate::client::{self, Call, Error, Verb};
use crate::lender::UNATTENDED;

/// Objects a page: a few hundred KiB of metadata.
const PAGE: u32 = 500;

/// Namespaces that are asked about at once, and objects of one that are written at once: a polite guest of the API server.
pub(crate) const AT_ONCE: usize = 8;

/// Pause before what the API server could not do is tried again.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// An object's metadata.
pub(crate) type Meta<K> = PartialObjectMeta<K>;

/// Lists metadata.
#[derive(Clone)]
pub(crate) struct Lists {
    client: kube::Client,
}

impl Lists {
    pub(crate) fn new(client: kube::Client) -> Lists {
        Lists { client }
    }

    /// The names of the namespaces that a label selector names; none names all.
    pub(crate) async fn namespaces(&self, selector: Option<&str>) -> Result<Vec<String>, Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let call = Call::new::<Namespace>(Verb::List, None, "");
        let selected = ListParams::default().labels(selector.unwrap_or_default());
        let all = self.list(&call, &api, selected).await?;
        Ok(all.into_iter().map(|namespace| namespace.name_any()).collect())
    }

    /// All of hookhost's Jobs, in one namespace or in all.
    pub(crate) async fn jobs(&self, namespace: Option<&str>) -> Result<Vec<Meta<Job>>, Error> {
        let api: Api<Job> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let call = Call::new::<Job>(Verb::List, namespace, "");
        // Both labels, as the watch of Jobs has them.
        let selected = ListParams::default().labels(&format!("{OPERATION},{SOURCE_HOOK}"));
        self.list(&call, &api, selected).await
    }

    /// The RoleBindings of one name, in all namespaces. The right to list them may be given for that name only.
    pub(crate) async fn role_bindings(&self, name: &str) -> Result<Vec<Meta<RoleBinding>>, Error> {
        let api: Api<RoleBinding> = Api::all(self.client.clone());
        let call = Call::new::<RoleBinding>(Verb::List, None, name);
        self.list(&call, &api, ListParams::default().fields(&format!("metadata.name={name}"))).await
    }

    /// All pages.
    async fn list<K>(&self, call: &Call, api: &Api<K>, selected: ListParams) -> Result<Vec<Meta<K>>, Error>
    where
        K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let (mut all, mut params) = (Vec::new(), selected.limit(PAGE));
        loop {
            let page = match client::read(call, api.list_metadata(&params)).await {
                Ok(page) => page,
                Err(error) if error.is_transient() => {
                    // From the start: the place in the list may be too old.
                    params.continue_token = None;
                    all.clear();
                    sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            all.extend(page.items);
            if params.continue_token.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Whether hookhost's finalizer is on a Job.
pub(crate) fn is_held(job: &Meta<Job>) -> bool {
    job.finalizers().iter().any(|one| one == FINALIZER)
}

/// Whether hookhost has still something to do for a Job: its finalizer is on it, or what was made for it may be left.
pub(crate) fn is_owed(job: &Meta<Job>) -> bool {
    is_held(job) || job.annotations().contains_key(UNATTENDED)
}
