//! To *componentize* is to turn the core module that a compiler wrote into a component: the form in which a policy is
//! kept, sent and loaded. What the module says of its imports and exports is in it already, left there by the SDK.

use hookhost_core::Reason;
use hookhost_helm::text::hex;
use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

use crate::problem::Problem;

/// The component of a core module.
pub(crate) fn componentize(module: &[u8]) -> Result<Vec<u8>, Problem> {
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| {
            Problem::new(Reason::PolicyIncompatible, format!("the compiled crate is not a policy: {error:#}"))
                .with_advice(
                    "A policy exports one type with hook_policy::export!; it may use no WASI, clock, file or network.",
                )
        })?;
    Ok(encoded)
}

/// The digest by which a policy is pinned: `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(Sha256::digest(bytes)))
}
