//! The *Operation* that `hookhost run` makes: what was typed, as the object that the API server gets.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use hookhost_core::keys::{APPLICATION_INSTANCE, CLUSTER_ID, MANAGED_BY};
use hookhost_core::operation::{API_VERSION, ENGINE, KIND, Operation, OperationType};
use hookhost_core::request::Target;
use hookhost_core::target::TargetKind;
use hookhost_helm::name::{DNS_LABEL_BYTES, is_label_value};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// What the hook belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The vWorkspace operator's instance of an application
    #[value(name = "ApplicationInstance", alias = "applicationinstance", alias = "appinst")]
    ApplicationInstance,
    /// Flux's HelmRelease
    #[value(name = "HelmRelease", alias = "helmrelease", alias = "hr")]
    HelmRelease,
    /// A release that Helm itself made; only where hookhost was installed with the right to read those
    #[value(name = "Release", alias = "release")]
    Release,
}

impl Kind {
    fn target(self) -> TargetKind {
        match self {
            Kind::ApplicationInstance => TargetKind::ApplicationInstance,
            Kind::HelmRelease => TargetKind::HelmRelease,
            Kind::Release => TargetKind::Release,
        }
    }
}

/// What is wished for, as typed.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) name: Option<String>,
    /// None where all hooks of the event are meant.
    pub(super) hook: Option<String>,
    pub(super) target: String,
    pub(super) target_kind: Kind,
    pub(super) type_of: OperationType,
    pub(super) deadline: Option<Duration>,
    pub(super) backoff: Option<u32>,
    pub(super) ttl: Option<Duration>,
    pub(super) kind: Option<String>,
    pub(super) path: Option<String>,
    pub(super) hook_namespace: Option<String>,
    pub(super) event: Option<String>,
    pub(super) wait_for_hook: bool,
    pub(super) closure: bool,
    pub(super) wait_timeout: Option<Duration>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) cluster_id: Option<String>,
}

/// The value of the label [`MANAGED_BY`] on what the operator's docs call a resource whose intent comes from above: they require it
/// on each Operation.
const CONTROL_PLANE: &str = "control-plane";

impl Wish {
    /// The Operation's name: the one that was wished for, or one that says what it runs and when.
    pub(super) fn operation_name(&self, now: Timestamp) -> String {
        let template = self.path.as_ref().map(|path| template_name(path));
        let what = self.hook.as_deref().or(template).or(self.event.as_deref()).unwrap_or_default();
        self.name.clone().unwrap_or_else(|| generated_name(&self.target, what, now))
    }

    /// The labels that were given, and those that the vWorkspace operator's docs require on Operations or write there.
    fn all_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.insert(MANAGED_BY.to_owned(), CONTROL_PLANE.to_owned());
        if let Some(id) = &self.cluster_id {
            labels.insert(CLUSTER_ID.to_owned(), id.clone());
        }
        if self.target_kind == Kind::ApplicationInstance && is_label_value(&self.target) {
            labels.insert(APPLICATION_INSTANCE.to_owned(), self.target.clone());
        }
        labels
    }

    /// Gives the object the cluster's id of its target, where none was given.
    pub(super) fn take_cluster_id(&self, object: &mut Value, target: Option<&Target>) {
        let id = target.and_then(|target| target.labels.get(CLUSTER_ID)).filter(|id| is_label_value(id));
        if let (None, Some(id)) = (&self.cluster_id, id) {
            object["metadata"]["labels"][CLUSTER_ID] = json!(id);
        }
    }

    /// The object, checked by the same rules as in the controller.
    pub(super) fn object(&self, name: &str, namespace: &str) -> Result<Value, Problem> {
        let mut parameters = Map::new();
        let seconds = |duration: Duration| json!(duration.as_secs());
        let optional = [
            ("hookName", self.hook.as_ref().map(|hook| json!(hook))),
            ("hookKind", self.kind.as_ref().map(|kind| json!(kind))),
            ("hookPath", self.path.as_ref().map(|path| json!(path))),
            ("hookNamespace", self.hook_namespace.as_ref().map(|namespace| json!(namespace))),
            ("event", self.event.as_ref().map(|event| json!(event))),
            ("activeDeadlineSeconds", self.deadline.map(seconds)),
            ("backoffLimit", self.backoff.map(|backoff| json!(backoff))),
            ("ttlSecondsAfterFinished", self.ttl.map(seconds)),
            ("waitForHook", self.wait_for_hook.then_some(Value::Bool(true))),
            ("closure", self.closure.then_some(Value::Bool(true))),
            ("waitTimeout", self.wait_timeout.map(|timeout| json!(format!("{}s", timeout.as_secs())))),
        ];
        parameters.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        let target = self.target_kind.target();
        let mut metadata = json!({"name": name, "namespace": namespace});
        metadata["labels"] = json!(self.all_labels());
        if !self.annotations.is_empty() {
            metadata["annotations"] = json!(self.annotations);
        }
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": metadata,
            "spec": {
                "targetRef": {"apiVersion": target.api_version(), "kind": target.kind(), "name": self.target},
                "type": self.type_of.as_str(),
                "engine": ENGINE,
                "parameters": parameters,
            },
        });
        let operation = Operation::from_json(object.clone()).map_err(|error| {
            Problem::new(hookhost_core::Reason::UsageInvalid, "the arguments make no Operation")
                .with_source(error)
        })?;
        TargetKind::of(&operation.target_ref)
            .map_err(|refusal| Problem::new(hookhost_core::Reason::UsageInvalid, refusal.message))?;
        Ok(object)
    }
}

/// "migrate" of "templates/migrate.yaml".
fn template_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

/// TARGET-HOOK-YYYYMMDD-HHMMSS in UTC, or HOOK-… where the hook is named after the target already: at most 63 characters, so
/// that the Job has the same name.
pub(super) fn generated_name(target: &str, hook: &str, now: Timestamp) -> String {
    let time = now.strftime("-%Y%m%d-%H%M%S").to_string();
    let is_named_after =
        hook == target || hook.strip_prefix(target).is_some_and(|rest| rest.starts_with('-'));
    let what = if is_named_after { hook.to_owned() } else { format!("{target}-{hook}") };
    let legal = what.chars().map(|c| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    });
    let room = DNS_LABEL_BYTES.saturating_sub(time.len());
    let what: String = legal.skip_while(|c| *c == '-').take(room).collect();
    let what = what.trim_end_matches('-');
    format!("{}{time}", if what.is_empty() { "run" } else { what })
}

#[cfg(test)]
mod tests {
    use hookhost_helm::name::is_dns_label;
    use proptest::prelude::*;

    use super::*;

    fn wish() -> Wish {
        Wish {
            name: None,
            hook: Some("shop-migrate".into()),
            target: "shop".into(),
            target_kind: Kind::ApplicationInstance,
            type_of: OperationType::Migration,
            deadline: None,
            backoff: None,
            ttl: None,
            kind: None,
            path: None,
            hook_namespace: None,
            event: None,
            wait_for_hook: false,
            closure: false,
            wait_timeout: None,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            cluster_id: None,
        }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn a_generated_name_says_what_runs_and_when() {
        let now = at("2026-05-28T14:03:09.9Z");
        assert_eq!(generated_name("shop", "reindex", now), "shop-reindex-20260528-140309");
        assert_eq!(generated_name("shop", "shop-migrate", now), "shop-migrate-20260528-140309");
        assert_eq!(generated_name("shop", "shopping", now), "shop-shopping-20260528-140309");
        assert_eq!(generated_name("a.b", "C_d.", now), "a-b-c-d-20260528-140309");
        assert_eq!(wish().operation_name(now), "shop-migrate-20260528-140309");
        assert_eq!(Wish { name: Some("mine".into()), ..wish() }.operation_name(now), "mine");
    }

    #[test]
    fn only_what_was_asked_for_is_in_the_operation() {
        let object = wish().object("run-1", "acme").unwrap();
        assert_eq!(
            object,
            json!({
                "apiVersion": "ops.vworkspace.io/v1alpha1",
                "kind": "Operation",
                "metadata": {"name": "run-1", "namespace": "acme", "labels": {
                    "app.vworkspace.io/managed-by": "control-plane", "app.vworkspace.io/application-instance": "shop",
                }},
                "spec": {
                    "targetRef": {
                        "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "shop"
                    },
                    "type": "Migration",
                    "engine": "helmHookJob",
                    "parameters": {"hookName": "shop-migrate"},
                },
            })
        );
        let all = Wish {
            target_kind: Kind::HelmRelease,
            deadline: Some(Duration::from_secs(1800)),
            backoff: Some(0),
            ttl: Some(Duration::from_secs(60)),
            kind: Some("Job".into()),
            path: Some("templates/a.yaml".into()),
            hook_namespace: Some("shop-jobs".into()),
            event: Some("pre-upgrade".into()),
            wait_for_hook: true,
            closure: true,
            wait_timeout: Some(Duration::from_secs(7200)),
            ..wish()
        };
        let object = all.object("run-1", "acme").unwrap();
        assert_eq!(object["spec"]["targetRef"]["apiVersion"], "helm.toolkit.fluxcd.io/v2");
        assert_eq!(
            object["spec"]["parameters"],
            json!({
                "hookName": "shop-migrate", "hookKind": "Job", "hookPath": "templates/a.yaml", "hookNamespace": "shop-jobs",
                "event": "pre-upgrade",
                "activeDeadlineSeconds": 1800, "backoffLimit": 0, "ttlSecondsAfterFinished": 60, "waitForHook": true,
                "closure": true, "waitTimeout": "7200s",
            })
        );
    }

    #[test]
    fn labels_and_annotations_are_the_operations() {
        let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let wish = Wish { labels: one("team", "a"), annotations: one("example.com/why", "b"), ..wish() };
        let metadata = wish.object("run-1", "acme").unwrap()["metadata"].clone();
        assert_eq!(
            (&metadata["labels"]["team"], &metadata["annotations"]),
            (&json!("a"), &json!({"example.com/why": "b"}))
        );
    }

    #[test]
    fn the_clusters_id_is_the_one_that_was_given_or_else_the_targets() {
        let labels = |id: &str| BTreeMap::from([(CLUSTER_ID.to_owned(), id.to_owned())]);
        let id = |wish: Wish, labels: Option<BTreeMap<String, String>>| {
            let mut object = wish.object("run-1", "acme").unwrap();
            let target = labels.map(|labels| Target { labels, ..Target::default() });
            wish.take_cluster_id(&mut object, target.as_ref());
            object["metadata"]["labels"][CLUSTER_ID].as_str().map(str::to_owned)
        };
        assert_eq!(id(wish(), None), None);
        assert_eq!(id(wish(), Some(labels("eu-1"))).as_deref(), Some("eu-1"));
        assert_eq!(id(wish(), Some(labels("no label"))), None);
        let given = Wish { cluster_id: Some("eu-2".into()), ..wish() };
        assert_eq!(id(given, Some(labels("eu-1"))).as_deref(), Some("eu-2"));
        // Only an ApplicationInstance is one.
        let release = Wish { target_kind: Kind::HelmRelease, ..wish() };
        assert_eq!(
            release.object("run-1", "acme").unwrap()["metadata"]["labels"],
            json!({MANAGED_BY: "control-plane"})
        );
    }

    #[test]
    fn without_a_hook_all_of_the_event_are_asked_for() {
        let wish = Wish { hook: None, event: Some("post-upgrade".into()), ..wish() };
        let object = wish.object("run-1", "acme").unwrap();
        assert_eq!(object["spec"]["parameters"], json!({"event": "post-upgrade"}));
        assert_eq!(wish.operation_name(at("2026-05-28T14:03:09Z")), "shop-post-upgrade-20260528-140309");
    }

    #[test]
    fn a_template_stands_for_a_hook_whose_name_changes() {
        let wish = Wish { hook: None, path: Some("templates/migrate.yaml".into()), ..wish() };
        let object = wish.object("run-1", "acme").unwrap();
        assert_eq!(object["spec"]["parameters"], json!({"hookPath": "templates/migrate.yaml"}));
        assert_eq!(wish.operation_name(at("2026-05-28T14:03:09Z")), "shop-migrate-20260528-140309");
    }

    #[test]
    fn what_the_controller_would_refuse_is_refused_before_it_is_sent() {
        let wrong = Wish { event: Some("pre-upgade".into()), ..wish() }.object("run-1", "acme").unwrap_err();
        let wrong = format!("{:#}", anyhow::Error::new(wrong));
        assert!(wrong.contains("spec.parameters.event") && wrong.contains("pre-upgrade"), "{wrong}");
        let wrong = wish().object("Run_1", "acme").unwrap_err();
        assert!(format!("{:#}", anyhow::Error::new(wrong)).contains("metadata.name"));
        let wrong = Wish { target: "acme/shop".into(), ..wish() }.object("run-1", "acme").unwrap_err();
        assert!(wrong.to_string().contains("acme/shop"), "{wrong}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_target_and_hook_give_a_name_that_kubernetes_takes(
            target in any::<String>(), hook in any::<String>(), seconds in 0i64..253_402_000_000,
        ) {
            let now = Timestamp::from_second(seconds).unwrap();
            let name = generated_name(&target, &hook, now);
            prop_assert!(is_dns_label(&name), "{name}");
        }

        #[test]
        fn legal_names_are_kept_where_they_fit(
            target in "[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", hook in "[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?",
        ) {
            let name = generated_name(&target, &hook, Timestamp::UNIX_EPOCH);
            let whole = format!("{target}-{hook}-19700101-000000");
            prop_assert!(name == whole || name == format!("{hook}-19700101-000000"), "{name}");
        }
    }
}
