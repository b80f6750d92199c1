//! The *place* of a run is the namespace in which its Job runs: the one that the hook's manifest names, else the release's, as with
//! Helm. hookhost acts there for an Operation if it manages the namespace, which is of the Operation's organisation; and in another
//! namespace than the release's only for a hook that Flux's digest covers, unless whoever installed hookhost says otherwise.
//!
//! # Why the digest
//! Who may write Secrets in a namespace may write a record there, and say in it of a hook that it is in any namespace. By that they
//! could have their pods run where they have no rights: in another team's namespace of the same organisation. A record that
//! Flux vouches for Helm has applied, with the rights that Flux has for the release.

use hookhost_core::Reason;
use hookhost_core::refusal::Refusal;
use hookhost_helm::hook::Hook;
use hookhost_helm::text::quote;

use super::{Context, Subject};
use hookhost_cluster::resolve::Location;

/// What would be in a namespace.
#[derive(Clone, Copy)]
enum What<'a> {
    /// The release, or its record.
    Release,
    /// The Job of this hook, which names a namespace of its own.
    Hook(&'a Hook),
    /// A Job that exists.
    Job,
}

impl What<'_> {
    /// Begins a message about it.
    fn is_in(self, namespace: &str) -> String {
        match self {
            What::Release => format!("the release is in the namespace {namespace}"),
            What::Job => format!("the hook's Job is in the namespace {namespace}"),
            What::Hook(hook) => {
                format!(
                    "the manifest of the hook {} puts it into the namespace {namespace}",
                    quote(&hook.name)
                )
            }
        }
    }
}

impl Context {
    /// Whether hookhost may run this hook for the Operation, by who vouches for it and by where it runs.
    pub(super) fn check_hook(
        &self,
        subject: &Subject,
        location: &Location,
        hook: &Hook,
    ) -> Result<(), Refusal> {
        if location.snapshot.is_some() {
            self.check_covered(hook)?;
        }
        if !hook.is_elsewhere {
            return Ok(());
        }
        // First, so that a forged record tells nobody which namespaces there are.
        self.check_vouched(location, hook)?;
        self.check_managed(&hook.namespace, What::Hook(hook))?;
        self.check_organisation(subject, &hook.namespace, What::Hook(hook))
    }

    /// Flux leaves test hooks out of its digest, so whoever can write Secrets could have made them.
    fn check_covered(&self, hook: &Hook) -> Result<(), Refusal> {
        if self.config.unverified_test_hooks || hook.is_covered() {
            return Ok(());
        }
        let message = format!(
            "the hook {} is a test hook, and Flux's digest of the release does not cover those: anybody who can write \
             Secrets in its namespace could have made it. Whoever installed hookhost can allow test hooks with \
             --allow-unverified-test-hooks (Helm value allowUnverifiedTestHooks)",
            quote(&hook.name)
        );
        Err(Refusal::wait(Reason::HookNotVerified, message))
    }

    /// Whether a hook that names a namespace of its own is one that only who may create Jobs there can have made.
    fn check_vouched(&self, location: &Location, hook: &Hook) -> Result<(), Refusal> {
        let is_covered = location.snapshot.is_some() && hook.is_covered();
        if is_covered || self.config.unverified_namespaces {
            return Ok(());
        }
        let why = match location.snapshot {
            Some(_) => "Flux's digest of the release does not cover test hooks",
            None => "no digest of Flux covers a plain Helm release",
        };
        let message = format!(
            "{}, which is not the release's, and {why}: anybody who can write Secrets in {} could have put it there without \
             having any rights in {}. Let Flux install the release, or let the chart leave metadata.namespace of the hook away. \
             Whoever installed hookhost can allow such hooks in all managed namespaces of an organisation with \
             --allow-unverified-namespaces (Helm value allowUnverifiedNamespaces)",
            What::Hook(hook).is_in(&hook.namespace),
            location.namespace,
            hook.namespace,
        );
        Err(Refusal::wait(Reason::HookNotVerified, message))
    }

    /// Whether hookhost acts in this namespace, the release's or its record's, for the Operation.
    pub(super) fn check_place(&self, subject: &Subject, namespace: &str) -> Result<(), Refusal> {
        // The organisation of a namespace without the gate is not known.
        self.check_release_namespace(namespace)?;
        self.check_organisation(subject, namespace, What::Release)
    }

    /// Whether a release or a record in this namespace may be used now.
    pub(super) fn check_release_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        self.check_managed(namespace, What::Release)
    }

    /// Whether a Job that exists in this namespace may be let start.
    pub(super) fn check_job_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        self.check_managed(namespace, What::Job)
    }

    fn check_managed(&self, namespace: &str, what: What<'_>) -> Result<(), Refusal> {
        if self.gated.is_terminating(namespace) {
            let message = format!("{}, which is being deleted", what.is_in(namespace));
            return Err(Refusal::wait(Reason::NamespaceNotManaged, message));
        }
        if self.bindings.leaving(namespace).is_some() {
            return Err(Refusal::wait(Reason::AccessForbidden, self.losing_rights(namespace)));
        }
        if self.gated.contains(namespace) {
            return Ok(());
        }
        let gate = &self.config.namespace_gate;
        let rights = match what {
            What::Release | What::Job => "",
            What::Hook(_) => {
                ", and give hookhost its rights there (an entry in its Helm chart's value namespaces)"
            }
        };
        let message = format!(
            "{}, where hookhost does not act: label it {gate}, if that is meant{rights}",
            what.is_in(namespace)
        );
        Err(Refusal::wait(Reason::NamespaceNotManaged, message))
    }

    /// Why nothing is started in a namespace though it is managed.
    pub(super) fn losing_rights(&self, namespace: &str) -> String {
        let binding = self.bindings.leaving(namespace).unwrap_or_default();
        format!(
            "the RoleBinding {namespace}/{binding}, which gives hookhost its rights, is being deleted: hookhost starts nothing new \
             there. If it is to, add the namespace to its Helm chart's value `namespaces` again once the RoleBinding is gone"
        )
    }

    /// A HelmRelease may name any namespace as its target, and a hook any as its own, and who writes one need not have a say there:
    /// it must be of the Operation's own organisation.
    fn check_organisation(&self, subject: &Subject, namespace: &str, what: What<'_>) -> Result<(), Refusal> {
        let own = &subject.key.namespace;
        if self.organisations.is_shared(own, namespace) {
            return Ok(());
        }
        let advice = match what {
            What::Release => "make the Operation there, or ",
            What::Hook(_) | What::Job => "",
        };
        // Whose the other namespace is is nobody's business here.
        let message = format!(
            "{}, which is not of the organisation {} of the Operation's namespace {own}: {advice}give both namespaces the organisation's \
             label with the same value (Helm value organisationLabel), if that is meant",
            what.is_in(namespace),
            quote(&self.organisation(own))
        );
        Err(Refusal::wait(Reason::NamespaceNotManaged, message))
    }
}
