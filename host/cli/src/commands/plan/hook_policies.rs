//! The *HookPolicies* of the cluster that a plan is made for. The plan asks only the policies that are given to it.

use hookhost_cluster::client::{self, Call, Connection, Error, Verb};
use hookhost_controller::crd::HookPolicy;
use hookhost_core::plan::Warning;
use hookhost_helm::text::{printable, shortlist};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

/// HookPolicies that the warning names.
const MAX_NAMED: usize = 8;

/// HookPolicies that are listed: an organisation has a few.
const LISTED: u32 = 100;

/// A warning that the cluster's HookPolicies decide of the run too; none where it has none.
pub(super) async fn not_asked(connection: &Connection) -> Option<Warning> {
    let call = Call::new::<HookPolicy>(Verb::List, None, "");
    let api: Api<HookPolicy> = Api::all(connection.requests.clone());
    let message = match client::read(&call, api.list_metadata(&ListParams::default().limit(LISTED))).await {
        Ok(all) if all.items.is_empty() => return None,
        Ok(all) => {
            let names = all.items.iter().map(|one| printable(&one.name_any()));
            format!(
                "this plan has not asked the HookPolicies of the cluster: {}. They may deny the run, hold it or bound its values: \
                 give them with --policy, each as a file (kubectl get hookpolicy NAME -o yaml)",
                shortlist(names, MAX_NAMED)
            )
        }
        // Without hookhost's CRDs nothing would run.
        Err(Error::KindMissing { .. } | Error::NotFound { .. }) => return None,
        Err(error) => format!(
            "this plan has not asked the HookPolicies of the cluster, and cannot tell whether it has any: {error}. They may deny \
             the run, hold it or bound its values"
        ),
    };
    Some(Warning { code: "HookPoliciesNotAsked", message })
}
