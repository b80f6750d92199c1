//! Write a *policy*: a function that decides whether, when and within which limits a Helm hook may run on demand.
//!
//! A request goes in: the Operation that asks for the run, the release, the hook with its containers, events, manifest
//! and the objects that it needs, such as roles and bindings. A decision comes out: allow within limits, deny, or hold
//! until later. The policy is compiled to a WebAssembly component that a hookhost runs in a sandbox, in a fresh instance
//! for each decision.
//!
//! # From nothing to a tested policy
//!
//! ```sh
//! hookhost policy new short-runs    # a complete crate: policy, unit tests, cases, README
//! cd short-runs
//! cargo test                        # unit tests, natively, in a second
//! hookhost policy test              # builds it and runs tests/*.yaml in the sandbox
//! hookhost policy build             # target/policies/short-runs.wasm: the file that a HookPolicy names
//! hookhost policy inspect target/policies/short-runs.wasm    # name, version, settings and their schema
//! hookhost policy bench target/policies/short-runs.wasm      # time, fuel and memory of a decision
//! ```
//!
//! Into a cluster it comes as a ConfigMap (of up to 1 MiB) in hookhost's namespace, or as hookhost's chart says for larger ones,
//! and a HookPolicy that names it:
//!
//! ```sh
//! kubectl create configmap short-runs --namespace hookhost --from-file=target/policies/short-runs.wasm
//! kubectl apply -f - <<EOF
//! apiVersion: policy.vworkspace.io/v1alpha1
//! kind: HookPolicy
//! metadata: {name: short-runs}
//! spec:
//!   module: {configMap: {namespace: hookhost, name: short-runs, key: short-runs.wasm}}
//!   settings: {maxSeconds: 3600}
//! EOF
//! kubectl get hookpolicies          # READY must be True
//! ```
//!
//! The crate is a library of two types and has three dependencies:
//!
//! ```toml
//! [package]
//! name = "short-runs"                                  # the policy's name
//! version = "0.1.0"                                    # and version
//! edition = "2024"
//! description = "Keeps hook runs short"                # and what it says of itself
//!
//! [lib]
//! crate-type = ["cdylib", "rlib"]                      # the policy, and what unit tests link
//!
//! [dependencies]
//! hook-policy = { path = "…/guest-sdk" }               # of a checkout of hookhost; it is in no registry yet
//! schemars = "1.2"
//! serde = { version = "1.0", features = ["derive"] }
//!
//! [dev-dependencies]
//! serde_json = "1.0"
//! ```
//!
//! # A whole policy
//!
//! ```
//! use hook_policy::{Decision, Policy, Request};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! /// What an administrator can set.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields)]
//! pub struct Settings {
//!     /// Seconds that a run may take.
//!     max_seconds: u32,
//! }
//!
//! pub struct ShortRuns;
//!
//! impl Policy for ShortRuns {
//!     type Settings = Settings;
//!
//!     fn evaluate(request: &Request, settings: &Settings) -> Decision {
//!         if request.hook.has_event("pre-delete") {
//!             return Decision::deny("DeletesThings", "hooks for pre-delete may not run; any other hook may");
//!         }
//!         Decision::allow().deadline_at_most(settings.max_seconds).label("team", &request.organisation)
//!     }
//! }
//!
//! hook_policy::export!(ShortRuns);
//! # fn main() {}
//! ```
//!
//! [`Request`] lists all there is to know, [`Decision`] all there is to say. Constraints are not commands: the host
//! solves those of all policies together. Deny beats hold and hold beats allow; the least `at_most` and the greatest
//! `at_least` count; demands that contradict each other refuse the run and name the policies. No order matters.
//!
//! # Settings
//!
//! An administrator writes them in the HookPolicy. They are a type of yours: serde reads them, with an error that says
//! where (`rules[2].atMost: invalid type: string "x", expected u32`), and schemars makes the JSON Schema, doc comments
//! included. Rules that types cannot say are [`Policy::validate`]'s; it is asked when settings change. Choose defaults
//! that are safe. [`Selector`] is a ready-made `match:` over organisations, hooks, events, charts and types, and
//! [`glob`] the pattern in it. Check the schema in, so that a change of it shows in review
//! ([`testing::assert_settings_schema`]). A policy without settings has [`NoSettings`].
//!
//! # Time
//!
//! `request.now` is the time of the decision: seconds since 1970-01-01T00:00:00Z. What clocks show then, with day of the week, hour
//! and time zone, is the module `time`'s to say, with the SDK's feature of that name
//! (`hook-policy = { …, features = ["time"] }`):
//!
//! ```
//! # #[cfg(feature = "time")] {
//! # let request = hook_policy::testing::request().build();
//! use hook_policy::time::{Weekday, Zone};
//!
//! let now = Zone::named("Europe/Berlin").unwrap().at(request.now);
//! assert_eq!((now.weekday(), now.hour()), (Weekday::Sun, 13));
//! # }
//! ```
//!
//! # Tests
//!
//! The policy is an ordinary function of ordinary types, so unit tests need no WebAssembly ([`testing`]):
//!
//! ```
//! # use hook_policy::{Decision, Policy, Request, NoSettings};
//! # struct ShortRuns;
//! # impl Policy for ShortRuns {
//! #     type Settings = std::collections::BTreeMap<String, u32>;
//! #     fn evaluate(_: &Request, settings: &Self::Settings) -> Decision {
//! #         Decision::allow().deadline_at_most(settings["maxSeconds"])
//! #     }
//! # }
//! use hook_policy::testing::{self, request};
//! use serde_json::json;
//!
//! let request = request().hook("db-migrate").events(["pre-upgrade"]).container("main", "ghcr.io/acme/db:2").build();
//! let decision = testing::evaluate::<ShortRuns>(&request, json!({"maxSeconds": 600}));
//! assert_eq!(decision, Decision::allow().deadline_at_most(600));
//! ```
//!
//! Cases in `tests/*.yaml` are run by `hookhost policy test` in the very sandbox of the host. `request` and `settings`
//! at the top are defaults that each case's own are merged over; every field may be left out. `--update` writes the
//! answers that the policy gives now.
//!
//! ```yaml
//! settings: {maxSeconds: 600}
//! request: {organisation: acme, hook: {name: db-migrate, events: [pre-upgrade]}}
//! cases:
//!   - name: a run is kept short
//!     expect:
//!       allow: {activeDeadlineSeconds: {atMost: 600}, labels: {team: acme}}
//!   - name: what deletes things is denied
//!     request: {hook: {events: [pre-delete]}}
//!     expect:
//!       deny: {reason: DeletesThings, message: hooks for pre-delete may not run; any other hook may}
//!   - name: settings of a wrong type are refused
//!     settings: {maxSeconds: soon}
//!     expect:
//!       invalidSettings:
//!         - {path: maxSeconds, message: "invalid type: string \"soon\", expected u32"}
//! ```
//!
//! # Logging and panics
//!
//! [`log`] has `debug`, `info`, `warn` and `error`; `hookhost policy test` shows the lines below their case, `policy eval` on stderr. A panic's
//! message is logged, and the run is refused or the policy skipped, as the HookPolicy's `failurePolicy` says: so deny
//! what you cannot understand, rather than panic. The request is written by those whom the policy judges: where it is a
//! rule, its HookPolicy must not say `Ignore`, for they could make it run out of time.
//!
//! # Limits
//!
//! | what | how much |
//! |---|---|
//! | memory, time of a decision | 16 MiB, 50 ms, unless the administrator says otherwise; ordinary is 10 µs |
//! | stack | 64 KiB ([`STACK_BYTES`]): no deep recursion, no large arrays on it |
//! | request, settings | 1 MiB, 64 KiB |
//! | closure of a hook | 256 objects; 16,384 rules, strings in rules and subjects |
//! | reason, message | 63 characters PascalCase, 1,024 characters (cut beyond) |
//! | labels, annotations | 64 each, in Kubernetes' syntax ([`label_value`]); an annotation's value 4 KiB |
//! | hold | 1 second to 30 days ([`MAX_HOLD_SECONDS`]) |
//! | log | 64 lines of 1,024 characters (cut and dropped beyond) |
//!
//! Nothing is freed while a decision is made, except what was allocated last: memory of a decision is the sum of what
//! it allocates. The first 64 KiB cost no system call. A manifest as a `serde_json::Value` takes about 20 times its
//! text; [`Hook::parse_manifest`] into a type that names only what you want is much smaller and faster.
//!
//! # What a policy can never do
//!
//! Name or change an image, command, environment, volume or service account: those are the chart's, and a decision has
//! no field for them. Reach a network, file, clock, source of randomness or another decision: there are none in the
//! sandbox. `std::time`, `std::fs`, `std::thread` and the like compile, but fail when called. The time is
//! `request.now`: see [Time](#time).
//!
//! That makes decisions deterministic: the same request and settings give the same decision, on any machine, years
//! later. A host relies on it.
//!
//! The policies in hookhost's `policies/` are written like this, and are there to be read.

#[doc(hidden)]
pub mod bindings;
// Natively only its tests use it; other machines have an allocator.
#[cfg(any(test, target_arch = "wasm32"))]
mod bump;
mod decision;
pub mod glob;
mod guest;
pub mod limits;
pub mod log;
mod policy;
mod request;
mod select;
pub mod testing;
mod text;
#[cfg(feature = "time")]
pub mod time;

pub use bindings::vworkspace::hook_policy::types::{
    Bounds, ClosureObject, Container, Decision, Denial, Entry, Hook, Numbers, Operation, Overrides,
    Postponement, RbacRule, Release, Request, RoleRef, Subject, Target,
};
pub use decision::MAX_HOLD_SECONDS;
pub use policy::{NoSettings, Policy, SettingsError};
pub use select::{AnyOf, Event, OperationType, Selector};
pub use text::label_value;

/// Bytes of stack that a policy is linked with: `-C link-arg=-zstack-size=65536`, which `hookhost policy build` passes.
///
/// A manifest nested a hundred levels deep, the most that the host reads, is parsed within it; and together with the
/// allocator's arena it stays in the memory that the host keeps resident. The compiler's own default, 1 MiB, makes a
/// call twice as slow.
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
                    // The instance ends with this call, and its memory with it: taking things apart would be wasted.
                    let request = ::core::mem::ManuallyDrop::new(request);
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
