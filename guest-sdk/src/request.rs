//! A *request* is everything that a decision may depend on; these are the questions that policies ask of it.

use serde::Deserialize;

use crate::bindings::vworkspace::hook_policy::types::{Entry, Hook, Operation, Request, Subject, Target};

/// The value of a key in a list of labels or annotations.
fn value<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

impl Request {
    /// Seconds from `now` until a moment, which is in seconds since 1970 too: what [`Decision::hold`](crate::Decision::hold) wants.
    /// 0 if the moment is past, and at most what fits the type.
    ///
    /// ```
    /// # use hook_policy::Decision;
    /// # let request = hook_policy::testing::request().build();
    /// let settled = request.release.last_deployed.unwrap_or(request.now) + 7200;
    /// let wait = request.seconds_until(settled);
    /// assert_eq!(wait, 3600, "it was deployed an hour ago");
    /// let decision = if wait == 0 { Decision::allow() } else { Decision::hold("JustDeployed", "…", wait) };
    /// ```
    pub fn seconds_until(&self, moment: i64) -> u32 {
        u32::try_from(moment.saturating_sub(self.now).max(0)).unwrap_or(u32::MAX)
    }
}

impl Operation {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }

    /// The value of one of its annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        value(&self.annotations, key)
    }

    /// spec.parameters, read into a `serde_json::Value` or into a type that names what the policy wants.
    ///
    /// # Errors
    /// If the parameters do not fit the type: a user wrote them.
    pub fn parse_parameters<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(&self.parameters)
    }
}

impl Target {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }

    /// The value of one of its annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        value(&self.annotations, key)
    }
}

impl Hook {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }

    /// The value of one of its annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        value(&self.annotations, key)
    }

    /// Whether it runs at this event of Helm's, for example "pre-upgrade" or [`Event::PreUpgrade`](crate::Event).
    pub fn has_event(&self, event: impl AsRef<str>) -> bool {
        self.events.iter().any(|found| found == event.as_ref())
    }

    /// The images of its containers, init containers first, as the chart wrote them.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.containers.iter().map(|container| container.image.as_str())
    }

    /// The whole manifest, read into a `serde_json::Value` or, which is much faster, into a type that names only what
    /// the policy wants. Until this is called, the manifest costs nothing.
    ///
    /// # Errors
    /// If the manifest does not fit the type, or nests deeper than 127 levels. A chart's author wrote it: deny then,
    /// rather than panic.
    pub fn parse_manifest<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(&self.manifest)
    }
}

impl Subject {
    /// The service account that it is, as namespace and name: by its kind, or as the user that a service account is.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        match self.kind.as_str() {
            "ServiceAccount" => Some((&self.namespace, &self.name)),
            "User" => self.name.strip_prefix("system:serviceaccount:")?.split_once(':'),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use crate::testing::{request, subject};

    #[test]
    fn a_service_account_is_one_by_either_name() {
        let account = Some(("acme", "shop"));
        assert_eq!(subject("ServiceAccount", "shop", "acme").service_account(), account);
        assert_eq!(subject("User", "system:serviceaccount:acme:shop", "").service_account(), account);
        for (kind, name) in [
            ("User", "shop"),
            ("User", "system:serviceaccount:acme"),
            ("Group", "system:serviceaccount:acme:shop"),
        ] {
            assert_eq!(subject(kind, name, "acme").service_account(), None, "{kind} {name}");
        }
    }

    #[test]
    fn a_manifest_is_read_whole_or_in_the_part_that_is_asked_for() {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let request = request().manifest(json!({"kind": "Job", "spec": {"backoffLimit": 1}})).build();
        assert_eq!(request.hook.parse_manifest::<Value>().unwrap()["spec"]["backoffLimit"], 1);
        assert_eq!(request.hook.parse_manifest::<Kind>().unwrap().kind, "Job");
    }

    #[test]
    fn labels_are_found_by_key() {
        let request = request().operation_label("tier", "gold").build();
        assert_eq!(request.operation.label("tier"), Some("gold"));
        assert_eq!(request.operation.label("colour"), None);
    }
}
