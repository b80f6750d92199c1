//! An *index* of a release's hooks tells which of them an Operation means, as [`find`](hookhost_helm::hook::find) and
//! [`of_event`](hookhost_helm::hook::of_event) do, but not by their texts: whatever is in a release, it takes some hundred bytes for each
//! hook. So one can be shared by all Operations that wait for a hook of the release.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use crate::operation::Operation;
use hookhost_helm::hook::{Hook, MAX_OF_EVENT, NotRunnable, canonical_event};

/// Parts of a template's path by which a hook is found here. Helm's own have three: chart, "templates", file; a sub-chart's two
/// more.
const MAX_PARTS: usize = 8;

/// What an Operation means of a release's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// What can be run.
    Found,
    /// Nothing that is there.
    NotFound,
    /// Something that cannot be run, or not one thing.
    Otherwise,
    /// Only the hooks themselves tell.
    Unsure,
}

/// The hooks of a release by digests. With a hasher that nobody can foresee, none can be made that are taken for others.
#[derive(Clone, Debug)]
pub struct Index<S> {
    hasher: S,
    heads: Vec<Head>,
    /// Digests of the ends of paths, and of events, one hook after the other.
    digests: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Head {
    name: u64,
    kind: u64,
    namespace: u64,
    /// Where its digests end, and how many of them there are of each sort.
    end: u32,
    parts: u8,
    events: u8,
    /// Whether its path has more parts than are known.
    is_deep: bool,
    is_job_or_pod: bool,
    is_runnable: bool,
    is_unreadable: bool,
    is_elsewhere: bool,
}

impl<S: BuildHasher> Index<S> {
    /// Of all hooks of a release.
    pub fn of(hooks: &[Hook], hasher: S) -> Index<S> {
        let mut index = Index { hasher, heads: Vec::with_capacity(hooks.len()), digests: Vec::new() };
        for hook in hooks {
            let ends = || ends(&hook.path);
            let events = &hook.events[..hook.events.len().min(usize::from(u8::MAX))];
            let digests = ends().take(MAX_PARTS).chain(events.iter().map(String::as_str));
            let digests: Vec<u64> = digests.map(|text| index.hasher.hash_one(text)).collect();
            index.digests.extend(digests);
            index.heads.push(Head {
                name: index.hasher.hash_one(hook.name.as_str()),
                kind: index.hasher.hash_one(hook.kind.to_ascii_lowercase()),
                namespace: index.hasher.hash_one(hook.namespace.as_str()),
                end: u32::try_from(index.digests.len()).unwrap_or(u32::MAX),
                parts: u8::try_from(ends().take(MAX_PARTS).count()).unwrap_or(u8::MAX),
                events: u8::try_from(events.len()).unwrap_or(u8::MAX),
                is_deep: ends().nth(MAX_PARTS).is_some(),
                is_job_or_pod: hook.is_job_or_pod(),
                is_runnable: hook.runnable.is_ok(),
                is_unreadable: matches!(
                    hook.runnable,
                    Err(NotRunnable::Unreadable(_) | NotRunnable::TooMany)
                ),
                is_elsewhere: hook.is_elsewhere,
            });
        }
        index
    }

    /// What the Operation means of them, as [`Operation::choose`] does.
    pub fn meant(&self, operation: &Operation) -> Meant {
        match operation.parameters.whole_event() {
            Some(event) => self.of_event(event),
            None => self.find(operation),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&self.heads[..]) + size_of_val(&self.digests[..])
    }

    fn of_event(&self, event: &str) -> Meant {
        let event = self.hasher.hash_one(canonical_event(event));
        let has_event = |head: &&Head| self.events(head).contains(&event);
        let of_event = self.heads.iter().filter(has_event);
        let found: Vec<&Head> = of_event.filter(|head| head.is_job_or_pod || head.is_unreadable).collect();
        match found.len() {
            0 => Meant::NotFound,
            1..=MAX_OF_EVENT if found.iter().all(|head| head.is_runnable) => Meant::Found,
            _ => Meant::Otherwise,
        }
    }

    fn find(&self, operation: &Operation) -> Meant {
        let selector = operation.selector();
        let name = self.hasher.hash_one(selector.name);
        let kind = selector.kind.map(|kind| self.hasher.hash_one(kind.to_ascii_lowercase()));
        let event = selector.event.map(|event| self.hasher.hash_one(canonical_event(event)));
        let namespace = selector.namespace.map(|namespace| self.hasher.hash_one(namespace));
        let path = selector.path.map(|path| self.hasher.hash_one(path));
        let is_long = selector.path.is_some_and(|path| path.split('/').count() > MAX_PARTS);
        let fits_but_for_its_path = |head: &&Head| {
            (head.name == name || (selector.name.is_empty() && path.is_some()))
                && kind.is_none_or(|kind| head.kind == kind)
                && event.is_none_or(|event| self.events(head).contains(&event))
                && namespace.is_none_or(|namespace| head.namespace == namespace)
        };
        let (mut best, mut found) = ((false, false, false), 0);
        for head in self.heads.iter().filter(fits_but_for_its_path) {
            if is_long && head.is_deep {
                return Meant::Unsure;
            }
            if path.is_some_and(|path| !self.ends(head).contains(&path)) {
                continue;
            }
            // Jobs and Pods go before other kinds, those that can be run before those that cannot, and those in the release's
            // namespace before those in others.
            let rank = (head.is_job_or_pod, head.is_runnable, !head.is_elsewhere);
            match rank.cmp(&best) {
                Ordering::Less => {}
                Ordering::Equal => found += 1,
                Ordering::Greater => (best, found) = (rank, 1),
            }
        }
        match (found, best) {
            (0, _) => Meant::NotFound,
            (1, (_, true, _)) => Meant::Found,
            _ => Meant::Otherwise,
        }
    }

    fn ends(&self, head: &Head) -> &[u64] {
        let (parts, events) = (usize::from(head.parts), usize::from(head.events));
        let end = (head.end as usize).saturating_sub(events);
        self.digests.get(end.saturating_sub(parts)..end).unwrap_or_default()
    }

    fn events(&self, head: &Head) -> &[u64] {
        let end = head.end as usize;
        self.digests.get(end.saturating_sub(usize::from(head.events))..end).unwrap_or_default()
    }
}

/// What a selector may say of a path: its last part, its last two, and so on, up to the whole.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    let after_slashes = path.rmatch_indices('/').map(|(at, _)| &path[at + 1..]);
    after_slashes.chain(std::iter::once(path))
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::Reason;

    fn any_hook() -> impl Strategy<Value = Hook> {
        let kinds = ["Job", "Pod", "ConfigMap", "job"];
        let parts = prop::collection::vec(prop::sample::select(vec!["a", "b", "", "c.yaml"]), 1..12);
        let events = prop::collection::vec(prop::sample::select(vec!["test", "pre-upgrade"]), 0..3);
        let namespaces = prop::sample::select(vec!["", "shop", "other", "further"]);
        (0_u8..3, prop::sample::select(kinds.to_vec()), parts, events, any::<bool>(), namespaces).prop_map(
            |(name, kind, parts, events, can_run, namespace)| {
                let pod = if can_run { json!({"spec": {"containers": [{"name": "c"}]}}) } else { json!(null) };
                let (version, spec) = match kind {
                    "Job" => ("batch/v1", json!({"template": pod})),
                    _ => ("v1", pod["spec"].clone()),
                };
                let manifest = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name.to_string(), "namespace": namespace}, "spec": spec});
                let mut hook = crate::testing::hook(manifest, "shop");
                hook.path = parts.join("/");
                hook.events = events.into_iter().map(str::to_owned).collect();
                hook
            },
        )
    }

    fn any_parameters() -> impl Strategy<Value = Value> {
        let name = prop::option::of((0_u8..3).prop_map(|name| name.to_string()));
        let kind = prop::option::of(prop::sample::select(vec!["JOB", "Pod", "Secret"]));
        let parts = prop::collection::vec(prop::sample::select(vec!["a", "b", "", "c.yaml"]), 1..12);
        let event = prop::option::of(prop::sample::select(vec!["test-success", "pre-upgrade", "rollback"]));
        let namespace = prop::option::of(prop::sample::select(vec!["shop", "other", "none"]));
        (name, kind, prop::option::of(parts), event, namespace).prop_map(|(name, kind, parts, event, namespace)| {
            let all = json!({"hookName": name, "hookKind": kind, "hookPath": parts.map(|parts| parts.join("/")),
                "event": event, "hookNamespace": namespace});
            let given = all.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(key, value)| (key.clone(), value.clone())).collect())
        })
    }

    fn operation(parameters: &Value) -> Option<Operation> {
        let mut operation = crate::testing::spec_operation();
        operation["spec"]["parameters"] = parameters.clone();
        Operation::from_json(operation).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn an_index_of_digests_tells_what_the_hooks_themselves_tell(
            hooks in prop::collection::vec(any_hook(), 0..6), parameters in any_parameters(), is_end in any::<bool>(),
        ) {
            let mut parameters = parameters;
            if let (true, Some(hook)) = (is_end, hooks.first()) {
                parameters["hookPath"] = hook.path.clone().into();
            }
            let Some(operation) = operation(&parameters) else { return Ok(()) };
            let chosen = operation.choose(&hooks);
            let expected = match &chosen {
                Ok(_) => Meant::Found,
                Err(refusal) if refusal.reason == Reason::HookNotFound => Meant::NotFound,
                Err(_) => Meant::Otherwise,
            };
            let meant = Index::of(&hooks, RandomState::new()).meant(&operation);
            let is_long = operation.selector().path.is_some_and(|path| path.split('/').count() > MAX_PARTS);
            prop_assert!(meant == expected || (is_long && meant == Meant::Unsure), "{meant:?}: {chosen:?}");
        }
    }

    #[test]
    fn whatever_is_in_a_release_its_index_is_small() {
        let manifest = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x".repeat(4096)},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}});
        let mut hook = crate::testing::hook(manifest, "shop");
        hook.path = "a/".repeat(2000);
        hook.events = vec!["y".repeat(4096); hookhost_helm::limits::MAX_HOOK_WORDS];
        let hooks = vec![hook; hookhost_helm::limits::MAX_HOOKS];
        assert!(Index::of(&hooks, RandomState::new()).bytes() < 1 << 20);
    }
}
