//! A *claim* is one Operation's right to start a hook of a release: two Operations for one hook that are looked at in the
//! same moment must not both find it free.

use std::collections::HashMap;

use hookhost_cluster::job::HookOfRelease;
use parking_lot::Mutex;

/// Which Operation holds which hook, by the Operation's UID.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<HookOfRelease, String>>);

impl Claims {
    /// Whether the hook is this Operation's now.
    pub(crate) fn take(&self, hook: HookOfRelease, operation_uid: &str) -> bool {
        let mut claims = self.0.lock();
        *claims.entry(hook).or_insert_with(|| operation_uid.to_owned()) == *operation_uid
    }

    /// Gives back what the Operation holds.
    pub(crate) fn release(&self, operation_uid: &str) {
        self.0.lock().retain(|_, holder| holder != operation_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_one_operations_at_a_time() {
        let claims = Claims::default();
        let hook = ["org", "shop", "migrate"].map(str::to_owned);
        assert!(claims.take(hook.clone(), "a") && claims.take(hook.clone(), "a"));
        assert!(!claims.take(hook.clone(), "b"));
        claims.release("a");
        assert!(claims.take(hook, "b"));
    }
}
