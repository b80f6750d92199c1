//! A request on its way into a guest, held to the contract's bounds.

use std::collections::BTreeMap;

use hookhost_core::decision::limits::{REQUEST_BYTES, SETTINGS_BYTES};
use hookhost_core::request::{ClosureObject, Numbers, RbacRule, Request};

use crate::Error;
use crate::wit::types as wit;

/// A request ready to be given to any number of policies: its manifest and parameters become text once, its size is
/// checked once. Everything else is borrowed from the [`Request`].
pub struct PreparedRequest<'a> {
    request: &'a Request,
    parameters: String,
    manifest: String,
    labels: Entries<'a>,
    events: Vec<&'a str>,
    delete_policies: Vec<&'a str>,
    containers: Vec<wit::Container<'a>>,
    rules: Vec<Vec<Rule<'a>>>,
}

/// All labels and annotations of a request in one list, cut where one map ends.
struct Entries<'a> {
    list: Vec<wit::EntryParam<'a>>,
    ends: [usize; 6],
}

/// The lists of one RBAC rule.
struct Rule<'a>([Vec<&'a str>; 5]);

impl<'a> PreparedRequest<'a> {
    /// Prepares a request; one with more than 1 MiB of text is [`Error::RequestTooLarge`].
    pub fn new(request: &'a Request) -> Result<PreparedRequest<'a>, Error> {
        let Request { operation, target, hook, .. } = request;
        let prepared = PreparedRequest {
            request,
            parameters: text(&operation.parameters)?,
            manifest: text(&hook.manifest)?,
            labels: Entries::new([
                &operation.labels,
                &operation.annotations,
                &target.labels,
                &target.annotations,
                &hook.labels,
                &hook.annotations,
            ]),
            events: strs(&hook.events),
            delete_policies: strs(&hook.delete_policies),
            containers: hook
                .containers
                .iter()
                .map(|c| wit::Container { name: &c.name, image: &c.image, init: c.init })
                .collect(),
            rules: hook.closure.iter().map(|object| object.rules.iter().map(Rule::new).collect()).collect(),
        };
        let found = prepared.text_bytes();
        if found > REQUEST_BYTES {
            return Err(Error::RequestTooLarge { found, limit: REQUEST_BYTES });
        }
        Ok(prepared)
    }

    /// Calls `ask` with the request as the contract has it.
    pub(crate) fn with<R>(&self, ask: impl FnOnce(wit::Request<'_>) -> R) -> R {
        let Request { operation, target, organisation, cluster_id, release, hook, requested, now } =
            self.request;
        let rules: Vec<Vec<wit::RbacRule<'_>>> =
            self.rules.iter().map(|rules| rules.iter().map(Rule::wit).collect()).collect();
        let closure: Vec<wit::ClosureObject<'_>> =
            hook.closure.iter().zip(&rules).map(|(object, rules)| closure_object(object, rules)).collect();
        let [labels, annotations, target_labels, target_annotations, hook_labels, hook_annotations] =
            self.labels.maps();
        ask(wit::Request {
            operation: wit::Operation {
                name: &operation.name,
                namespace: &operation.namespace,
                uid: &operation.uid,
                type_of: &operation.type_of,
                labels,
                annotations,
                created: operation.created.as_second(),
                parameters: &self.parameters,
                approved_by: operation.approved_by.as_deref(),
            },
            target: wit::Target {
                kind: &target.kind,
                name: &target.name,
                labels: target_labels,
                annotations: target_annotations,
            },
            organisation,
            cluster_id,
            release: wit::Release {
                name: &release.name,
                namespace: &release.namespace,
                revision: release.revision,
                chart: &release.chart,
                chart_version: &release.chart_version,
                app_version: release.app_version.as_deref(),
                first_deployed: release.first_deployed.map(|t| t.as_second()),
                last_deployed: release.last_deployed.map(|t| t.as_second()),
            },
            hook: wit::Hook {
                name: &hook.name,
                kind: &hook.kind,
                events: &self.events,
                weight: hook.weight,
                delete_policies: &self.delete_policies,
                labels: hook_labels,
                annotations: hook_annotations,
                service_account: &hook.service_account,
                containers: &self.containers,
                declared: numbers(hook.declared),
                closure: &closure,
                manifest: &self.manifest,
            },
            requested: numbers(*requested),
            now: now.as_second(),
        })
    }

    /// Bytes of all text of the request.
    fn text_bytes(&self) -> usize {
        let Request { operation: o, target: t, organisation, cluster_id, release: r, hook: h, .. } =
            self.request;
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let fields =
            [&o.name, &o.namespace, &o.uid, &o.type_of, &self.parameters, &t.kind, &t.name, organisation]
                .into_iter()
                .chain([cluster_id, &r.name, &r.namespace, &r.chart, &r.chart_version, &h.name, &h.kind])
                .chain([&h.service_account, &self.manifest])
                .map(String::len);
        let entries = self.labels.list.iter().map(|e| e.key.len() + e.value.len());
        let lists = self.events.iter().chain(&self.delete_policies).map(|s| s.len());
        let containers = h.containers.iter().map(|c| c.name.len() + c.image.len());
        let closure = h.closure.iter().map(|c| c.api_version.len() + c.kind.len() + c.name.len());
        let rules = self.rules.iter().flatten().flat_map(|rule| rule.0.iter().flatten()).map(|s| s.len());
        let sums = entries.chain(lists).chain(containers).chain(closure).chain(rules);
        fields.chain(sums).sum::<usize>() + optional(&o.approved_by) + optional(&r.app_version)
    }
}

/// Holds settings to the contract's size.
pub(crate) fn check_settings(settings: &str) -> Result<(), Error> {
    if settings.len() > SETTINGS_BYTES {
        return Err(Error::SettingsTooLarge { found: settings.len(), limit: SETTINGS_BYTES });
    }
    Ok(())
}

impl<'a> Entries<'a> {
    fn new(maps: [&'a BTreeMap<String, String>; 6]) -> Entries<'a> {
        let mut list = Vec::with_capacity(maps.iter().map(|map| map.len()).sum());
        let ends = maps.map(|map| {
            list.extend(map.iter().map(|(key, value)| wit::EntryParam { key, value }));
            list.len()
        });
        Entries { list, ends }
    }

    fn maps(&self) -> [&[wit::EntryParam<'a>]; 6] {
        let mut start = 0;
        self.ends.map(|end| {
            let map = self.list.get(start..end).unwrap_or_default();
            start = end;
            map
        })
    }
}

impl<'a> Rule<'a> {
    fn new(rule: &'a RbacRule) -> Rule<'a> {
        let RbacRule { api_groups, resources, verbs, resource_names, non_resource_urls } = rule;
        Rule([api_groups, resources, verbs, resource_names, non_resource_urls].map(|list| strs(list)))
    }

    fn wit(&self) -> wit::RbacRule<'_> {
        let [api_groups, resources, verbs, resource_names, non_resource_urls] = &self.0;
        wit::RbacRule { api_groups, resources, verbs, resource_names, non_resource_urls }
    }
}

fn closure_object<'a>(object: &'a ClosureObject, rules: &'a [wit::RbacRule<'a>]) -> wit::ClosureObject<'a> {
    wit::ClosureObject { api_version: &object.api_version, kind: &object.kind, name: &object.name, rules }
}

fn numbers(numbers: Numbers) -> wit::Numbers {
    wit::Numbers {
        active_deadline_seconds: numbers.active_deadline_seconds,
        backoff_limit: numbers.backoff_limit,
        ttl_seconds_after_finished: numbers.ttl_seconds_after_finished,
    }
}

fn strs(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn text(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::host("a request cannot be written as JSON", e))
}
