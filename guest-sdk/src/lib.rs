//! A *policy* decides whether, when and within which limits a Helm hook may run on demand; this crate is what its
//! author writes against.

#[doc(hidden)]
pub mod bindings;
// Natively only its tests use it; other machines have an allocator.
#[cfg(any(test, target_arch = "wasm32"))]
mod bump;
mod decision;
pub mod glob;
mod guest;
pub mod log;
mod policy;
mod request;
mod select;
pub mod testing;
mod text;

pub use bindings::vworkspace::hook_policy::types::{
    Bounds, ClosureObject, Container, Decision, Denial, Entry, Hook, Numbers, Operation, Overrides,
    Postponement, RbacRule, Release, Request, Target,
};
pub use decision::MAX_HOLD_SECONDS;
pub use policy::{NoSettings, Policy, SettingsError};
pub use select::{AnyOf, Event, OperationType, Selector};

/// Bytes of stack that a policy is linked with: `-C link-arg=-zstack-size=65536`, which `hookhost policy build` passes.
///
/// A manifest nested as deep as serde_json allows is parsed within it; and together with the allocator's arena it
/// stays in the memory that the host keeps resident. The compiler's own default, 1 MiB, makes a call twice as slow.
pub const STACK_BYTES: u32 = 64 * 1024;

/// Makes a type that is a [`Policy`] the policy that this crate is. Name, version and summary are the crate's own, from
/// its Cargo.toml, which must have a `description`.
///
/// Natively it does nothing, so that the crate's tests run as any other's.
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        const _: () = {
            const SUMMARY: &str = env!("CARGO_PKG_DESCRIPTION");
            assert!(!SUMMARY.is_empty(), "say in Cargo.toml what the policy does: description = \"…\"");

            // Natively the policy is looked at, but goes nowhere.
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn() = $crate::__private::is_policy::<$policy>;

            #[cfg(target_arch = "wasm32")]
            struct Exported;

            #[cfg(target_arch = "wasm32")]
            impl $crate::__private::Guest for Exported {
                fn describe() -> $crate::__private::Description {
                    $crate::__private::log_panics();
                    $crate::__private::describe::<$policy>(
                        env!("CARGO_PKG_NAME"),
                        env!("CARGO_PKG_VERSION"),
                        SUMMARY,
                    )
                }

                fn validate_settings(settings: String) -> Result<(), Vec<$crate::SettingsError>> {
                    $crate::__private::log_panics();
                    $crate::__private::settings::<$policy>(&settings).map(drop)
                }

                fn evaluate(request: $crate::Request, settings: String) -> $crate::Decision {
                    $crate::__private::log_panics();
                    $crate::__private::evaluate::<$policy>(&request, &settings)
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::export_bindings!(Exported with_types_in $crate::bindings);
        };
    };
}

/// What [`export!`] expands to; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::exports::vworkspace::hook_policy::policy::Guest;
    pub use crate::bindings::vworkspace::hook_policy::types::Description;
    pub use crate::guest::{describe, evaluate, is_policy, log_panics, settings};
}
