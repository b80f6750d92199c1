//! An *operation* is the wish to run one hook of a corpus, as hookhost would be asked by anyone.

use hookhost_core::operation::{API_VERSION, ENGINE, KIND};
use hookhost_helm::hook::{self, Hook, Selector};
use hookhost_helm::record::Record;
use serde_json::{Map, Value, json};

/// What an Operation has to say to mean this hook and no other of the release, in as few words as it takes; none where
/// nothing tells it from another.
pub(super) fn selector<'h>(hook: &'h Hook, hooks: &[Hook]) -> Option<Selector<'h>> {
    let name = Selector { name: &hook.name, ..Selector::default() };
    let kind = Selector { kind: Some(&hook.kind), ..name };
    let path = Selector { path: Some(&hook.path), ..kind };
    let with_event =
        |other: Selector<'h>| hook.events.iter().map(move |event| Selector { event: Some(event), ..other });
    let namespace = Selector { namespace: Some(&hook.namespace), ..kind };
    let both = Selector { namespace: Some(&hook.namespace), ..path };
    let near = [name, kind].into_iter().chain(with_event(kind)).chain([path]).chain(with_event(path));
    let far = [namespace].into_iter().chain(with_event(namespace)).chain([both]).chain(with_event(both));
    let mut all = near.chain(far);
    all.find(|selector| hook::find(hooks, selector).is_ok_and(|found| std::ptr::eq(found, hook)))
}

/// The Operation of that name, which has what the hook needs made for it. It makes no second attempt, which would only take
/// time, and has as long as is said here: what the chart's own Job declares would end it too early or too late.
pub(super) fn operation(name: &str, record: &Record, selector: &Selector<'_>, seconds: u64) -> Value {
    let mut parameters = Map::new();
    let Selector { name: hook, kind, path, event, namespace } = selector;
    let words = [
        ("hookName", Some(*hook)),
        ("hookKind", *kind),
        ("hookPath", *path),
        ("event", *event),
        ("hookNamespace", *namespace),
    ];
    parameters.extend(words.into_iter().filter_map(|(key, word)| Some((key.to_owned(), json!(word?)))));
    parameters.insert("activeDeadlineSeconds".to_owned(), json!(seconds));
    parameters.insert("backoffLimit".to_owned(), json!(0));
    parameters.insert("closure".to_owned(), json!(true));
    json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": name, "namespace": record.namespace},
        "spec": {
            "targetRef": {"apiVersion": "helm.sh/v3", "kind": "Release", "name": record.name},
            "type": "Migration", "engine": ENGINE, "parameters": parameters,
        },
    })
}
