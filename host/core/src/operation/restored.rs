//! A *restored* Operation was created anew from a backup. Backups leave the status out, so what is restored looks as if it had never
//! run; a hook must not run again because somebody restored a namespace.

use super::Operation;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::{printable, quote};

/// Labels that Velero puts on all that it restores.
const RESTORED: [&str; 2] = ["velero.io/restore-name", "velero.io/backup-name"];

/// Annotation by which a person has a restored Operation run: its value is that of the label which tells of the restore. Backups have
/// annotations in them, so that one which releases whatever is restored would do so again after the next.
pub const RUN_RESTORED: &str = "hookhost.vworkspace.io/run-restored";

impl Operation {
    /// Lets it wait if it was restored and no person has released it; none if it may run.
    pub fn refuse_restored(&self) -> Option<Refusal> {
        let (label, value) = RESTORED.iter().find_map(|label| Some((label, self.labels.get(*label)?)))?;
        if self.annotations.get(RUN_RESTORED) == Some(value) {
            return None;
        }
        let message = format!(
            "the Operation was restored from a backup (label {label}: {}), without a status: nobody knows whether it has run before. \
             To run it: kubectl annotate operations.ops.vworkspace.io --namespace {} {} --overwrite {RUN_RESTORED}={}. Else delete it",
            quote(value),
            self.namespace.as_deref().unwrap_or_default(),
            self.name,
            printable(value),
        );
        Some(Refusal::wait(Reason::RestoredFromBackup, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Then;
    use crate::testing::spec_operation;

    #[test]
    fn a_restored_operation_waits_for_a_person() {
        let operation = |labels: &[&str], release: Option<&str>| {
            let mut operation = Operation::from_json(spec_operation()).unwrap();
            operation.labels =
                labels.iter().map(|label| ((*label).to_owned(), "nightly".to_owned())).collect();
            operation.annotations =
                release.map(|value| (RUN_RESTORED.to_owned(), value.to_owned())).into_iter().collect();
            operation.refuse_restored()
        };
        assert_eq!(operation(&["app"], None), None);
        for label in RESTORED {
            // Of an earlier restore, too.
            for release in [None, Some("false"), Some("true"), Some("earlier")] {
                let refusal = operation(&[label], release).unwrap();
                assert_eq!((refusal.reason, refusal.then), (Reason::RestoredFromBackup, Then::Wait));
                assert!(refusal.message.contains("hookhost.vworkspace.io/run-restored=nightly"), "{refusal}");
            }
            assert_eq!(operation(&[label], Some("nightly")), None);
        }
    }
}
