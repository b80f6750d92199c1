//! The *API* names the phases, conditions, their reasons, and Events of an Operation, as vWorkspace defines them. What hookhost adds
//! of its own is a [`Reason`](crate::Reason).

/// Makes constants, and the list of them, which the operators' reference has to have.
macro_rules! words {
    ($($list:ident { $($name:ident = $word:literal;)+ })+) => {
        $(
            $(pub(crate) const $name: &str = $word;)+
            #[cfg(test)]
            pub(crate) const $list: &[&str] = &[$($name),+];
        )+
    };
}

words! {
    CONDITIONS {
        ACCEPTED = "Accepted";
        BLOCKED = "Blocked";
        RUNNING = "Running";
        SUCCEEDED = "Succeeded";
        FAILED = "Failed";
        CANCELLED = "Cancelled";
        OVERWRITTEN = "StatusOverwritten";
    }
    REASONS {
        PENDING = "Pending";
        ANOTHER_CONTROLLER = "AnotherController";
        TEMPLATE_VALIDATED = "TemplateValidated";
        UNBLOCKED = "Unblocked";
        HOOK_AVAILABLE = "HookAvailable";
        JOB_ACTIVE = "HelmHookJobActive";
        JOB_SUSPENDED = "HelmHookJobSuspended";
        JOB_SUCCEEDED = "HelmHookJobSucceeded";
        JOB_FAILED = "HelmHookJobFailed";
        CANCELLED_BY_USER = "CancelledByUser";
        EXTERNAL_DELETION = "ExternalDeletion";
    }
    EVENTS {
        OPERATION_ACCEPTED = "OperationAccepted";
        OPERATION_BLOCKED = "OperationBlocked";
        OPERATION_RUNNING = "OperationRunning";
        OPERATION_SUCCEEDED = "OperationSucceeded";
        OPERATION_FAILED = "OperationFailed";
        OPERATION_CANCELLED = "OperationCancelled";
    }
}

/// The phase of a step that is not run any more.
pub(crate) const SKIPPED: &str = "Skipped";
