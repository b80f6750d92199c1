//! The *interfaces* of the contract, by name and version.

/// The package, without its version.
pub(crate) const PACKAGE: &str = "vworkspace:hook-policy/";
/// The version that this host was built with. Before 1.0 the minor number is the major one, so 0.1.x fits 0.1.y.
pub(crate) const MINOR: &str = "0.1";
/// What a policy exports.
pub(crate) const POLICY: &str = "vworkspace:hook-policy/policy@0.1.0";
/// The one thing that a policy may import.
pub(crate) const LOGGING: &str = "vworkspace:hook-policy/logging@0.1.0";
/// Where the types of both are; imported without anything to call.
pub(crate) const TYPES: &str = "vworkspace:hook-policy/types@0.1.0";
