//! A request on its way into a guest, held to the contract's bounds.

use std::collections::BTreeMap;

use hookhost_core::closure::{ClosureObject, RbacRule, RoleRef, Subject};
use hookhost_core::decision::limits::{REQUEST_BYTES, SETTINGS_BYTES};
use hookhost_core::request::{Container, Hook, Numbers, Operation, Release, Request, Target};

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
    closure: Vec<Object<'a>>,
}

/// All labels and annotations of a request in one list, cut where one map ends.
struct Entries<'a> {
    list: Vec<wit::EntryParam<'a>>,
    ends: [usize; 6],
}

/// The lists of one object of the closure.
struct Object<'a> {
    rules: Vec<Rule<'a>>,
    subjects: Vec<wit::Subject<'a>>,
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
            closure: hook.closure.iter().map(Object::new).collect(),
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
            self.closure.iter().map(|lists| lists.rules.iter().map(Rule::wit).collect()).collect();
        let closure: Vec<wit::ClosureObject<'_>> = hook
            .closure
            .iter()
            .zip(&self.closure)
            .zip(&rules)
            .map(|((object, lists), rules)| lists.wit(object, rules))
            .collect();
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

    /// Bytes of all text of the request, as it is passed. Names every field, so that a new one is not forgotten.
    fn text_bytes(&self) -> usize {
        fn sum<'s>(texts: impl IntoIterator<Item = &'s String>) -> usize {
            texts.into_iter().map(String::len).sum()
        }
        let Request { operation, target, organisation, cluster_id, release, hook, requested: _, now: _ } =
            self.request;
        let Operation {
            name,
            namespace,
            uid,
            type_of,
            labels: _,
            annotations: _,
            created: _,
            parameters: _,
            approved_by,
        } = operation;
        let mut bytes = sum([name, namespace, uid, type_of, &self.parameters]) + sum(approved_by);
        let Target { kind, name, labels: _, annotations: _ } = target;
        bytes += sum([kind, name, organisation, cluster_id]);
        let Release {
            name,
            namespace,
            revision: _,
            chart,
            chart_version,
            app_version,
            first_deployed: _,
            last_deployed: _,
        } = release;
        bytes += sum([name, namespace, chart, chart_version]) + sum(app_version);
        let Hook {
            name,
            kind,
            events,
            weight: _,
            delete_policies,
            labels: _,
            annotations: _,
            service_account,
            containers,
            declared: _,
            closure,
            manifest: _,
        } = hook;
        bytes += sum([name, kind, service_account, &self.manifest]) + sum(events) + sum(delete_policies);
        bytes +=
            containers.iter().map(|Container { name, image, init: _ }| sum([name, image])).sum::<usize>();
        for ClosureObject { api_version, kind, name, namespace, rules, role_ref, subjects } in closure {
            bytes += sum([api_version, kind, name, namespace]);
            bytes += role_ref.iter().map(|RoleRef { kind, name }| sum([kind, name])).sum::<usize>();
            bytes += subjects
                .iter()
                .map(|Subject { kind, name, namespace }| sum([kind, name, namespace]))
                .sum::<usize>();
            for RbacRule { api_groups, resources, verbs, resource_names, non_resource_urls } in rules {
                bytes += [api_groups, resources, verbs, resource_names, non_resource_urls]
                    .map(sum)
                    .iter()
                    .sum::<usize>();
            }
        }
        bytes + self.labels.list.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>()
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

impl<'a> Object<'a> {
    fn new(object: &'a ClosureObject) -> Object<'a> {
        let subject = |Subject { kind, name, namespace }: &'a Subject| wit::Subject { kind, name, namespace };
        Object {
            rules: object.rules.iter().map(Rule::new).collect(),
            subjects: object.subjects.iter().map(subject).collect(),
        }
    }

    fn wit<'o>(
        &'o self,
        object: &'o ClosureObject,
        rules: &'o [wit::RbacRule<'o>],
    ) -> wit::ClosureObject<'o> {
        let ClosureObject { api_version, kind, name, namespace, rules: _, role_ref, subjects: _ } = object;
        wit::ClosureObject {
            api_version,
            kind,
            name,
            namespace,
            rules,
            role_ref: role_ref.as_ref().map(|RoleRef { kind, name }| wit::RoleRef { kind, name }),
            subjects: &self.subjects,
        }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A request with something in every field.
    fn full() -> Value {
        let map = json!({"a": "b"});
        json!({
            "operation": {
                "name": "o", "namespace": "n", "uid": "u", "type": "Backup", "labels": map, "annotations": map,
                "created": "2026-01-01T00:00:00Z", "parameters": {"p": "q"}, "approvedBy": "me",
            },
            "target": {"kind": "k", "name": "t", "labels": map, "annotations": map},
            "organisation": "org", "clusterId": "c",
            "release": {
                "name": "r", "namespace": "n", "revision": 1, "chart": "c", "chartVersion": "1", "appVersion": "2",
                "firstDeployed": "2026-01-01T00:00:00Z", "lastDeployed": "2026-01-01T00:00:00Z",
            },
            "hook": {
                "name": "h", "kind": "Job", "events": ["test"], "weight": 1, "deletePolicies": ["d"], "labels": map,
                "annotations": map, "serviceAccount": "s", "containers": [{"name": "c", "image": "i", "init": true}],
                "declared": {"backoffLimit": 1}, "manifest": {"m": "n"},
                "closure": [
                    {"apiVersion": "v1", "kind": "Role", "name": "r", "namespace": "n", "rules": [{
                        "apiGroups": ["g"], "resources": ["r"], "verbs": ["v"], "resourceNames": ["n"],
                        "nonResourceURLs": ["u"],
                    }]},
                    {"roleRef": {"kind": "k", "name": "n"}, "subjects": [{"kind": "k", "name": "n", "namespace": "s"}]},
                ],
            },
            "requested": {"backoffLimit": 1},
            "now": "2026-01-01T00:00:00Z",
        })
    }

    /// Every text in it, made longer one at a time.
    fn lengthened(value: &Value, by: &str) -> Vec<Value> {
        match value {
            Value::String(text) => vec![json!(format!("{text}{by}"))],
            Value::Array(list) => (0..list.len())
                .flat_map(|at| lengthened(&list[at], by).into_iter().map(move |longer| (at, longer)))
                .map(|(at, longer)| {
                    let mut list = list.clone();
                    list[at] = longer;
                    Value::Array(list)
                })
                .collect(),
            Value::Object(map) => map
                .iter()
                .flat_map(|(key, value)| lengthened(value, by).into_iter().map(move |longer| (key, longer)))
                .map(|(key, longer)| {
                    let mut map = map.clone();
                    map.insert(key.clone(), longer);
                    Value::Object(map)
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_text_of_a_request_counts_towards_its_size() {
        let size = |request: &Request| PreparedRequest::new(request).unwrap().text_bytes();
        let request: Request = serde_json::from_value(full()).unwrap();
        let (bytes, by) = (size(&request), "0123456789");
        // A time that is made longer is none any more.
        let longer: Vec<Request> =
            lengthened(&full(), by).into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect();
        assert_eq!(longer.len(), 43);
        for longer in &longer {
            assert_eq!(size(longer), bytes + by.len(), "{longer:?}");
        }
        let mut more = request;
        for map in [&mut more.operation.labels, &mut more.target.annotations, &mut more.hook.labels] {
            map.insert("key".to_owned(), String::new());
        }
        assert_eq!(size(&more), bytes + 9);
    }
}
