//! Finding the one hook that an Operation means.

use std::collections::BTreeSet;
use std::fmt;

use super::{Hook, NotRunnable};
use crate::text::{list, printable, quote};

/// What tells one hook of a release from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selector<'a> {
    /// metadata.name, exactly; empty where the path alone tells: names that have the revision in them change with it.
    pub name: &'a str,
    /// The kind, whatever its case.
    pub kind: Option<&'a str>,
    /// The template's path, whole or its last parts: "templates/migrate.yaml" fits "shop/templates/migrate.yaml".
    pub path: Option<&'a str>,
    /// One of the hook's events.
    pub event: Option<&'a str>,
    /// The namespace in which Helm creates it.
    pub namespace: Option<&'a str>,
}

impl Selector<'_> {
    fn narrows(&self) -> bool {
        self.kind.is_some() || self.path.is_some() || self.event.is_some() || self.namespace.is_some()
    }

    fn fits(&self, hook: &Hook) -> bool {
        (hook.name == self.name || (self.name.is_empty() && self.path.is_some()))
            && self.kind.is_none_or(|kind| hook.kind.eq_ignore_ascii_case(kind))
            && self.path.is_none_or(|path| ends_with_path(&hook.path, path))
            && self.event.is_none_or(|event| hook.events.iter().any(|of| of == canonical_event(event)))
            && self.namespace.is_none_or(|namespace| hook.namespace == namespace)
    }
}

fn ends_with_path(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with('/'))
}

/// Helm records the event "test-success" as "test".
pub fn canonical_event(event: &str) -> &str {
    if event == "test-success" { "test" } else { event }
}

/// A hook as an error names it: what a selector can choose by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its template.
    pub path: String,
    /// Its events.
    pub events: Vec<String>,
    /// Its namespace, where that is another than the release's.
    pub namespace: Option<String>,
}

impl Candidate {
    fn of(hook: &Hook) -> Candidate {
        Candidate {
            name: hook.name.clone(),
            kind: hook.kind.clone(),
            path: hook.path.clone(),
            events: hook.events.clone(),
            namespace: hook.is_elsewhere.then(|| hook.namespace.clone()),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<String> = self.events.iter().take(SHOWN_EVENTS).map(|event| cut(event)).collect();
        let namespace = self.namespace.as_ref().map(|namespace| format!(", namespace {}", cut(namespace)));
        let (kind, name, path) = (cut(&self.kind), quote(&self.name), cut(&self.path));
        write!(f, "{kind} {name} ({}, {path}{})", events.join(","), namespace.unwrap_or_default())
    }
}

/// Events that a message shows of a hook: all that Helm knows.
const SHOWN_EVENTS: usize = 9;

/// Characters of a path that a message shows: its end, which tells most and which a selector may give.
const SHOWN_CHARS: usize = 100;

/// The end of a text from the record, fit to be shown.
pub fn cut(text: &str) -> String {
    match text.char_indices().rev().nth(SHOWN_CHARS) {
        Some((start, _)) => format!("…{}", printable(&text[start..])),
        None => printable(text),
    }
}

/// Why no hook, or not one hook, was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No hook fits.
    #[error("{}", not_found(.name, .path.as_deref(), .nearest, .others, .renamed.as_deref(), *.total))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The template asked for, where there is no name.
        path: Option<String>,
        /// Names of hooks that could be run, nearest first; at most [`MAX_NAMED`].
        nearest: Vec<String>,
        /// Hooks that have the name but another kind, path or event; at most [`MAX_NAMED`].
        others: Vec<Candidate>,
        /// One that may be the same hook at another revision: its name differs only in its end, which has digits.
        renamed: Option<Box<Candidate>>,
        /// How many hooks the release has.
        total: usize,
    },
    /// More than one fits.
    #[error("{}", ambiguous(.name, .path.as_deref(), .candidates, .by))]
    Ambiguous {
        /// The name asked for.
        name: String,
        /// The template asked for, where there is no name.
        path: Option<String>,
        /// Those that fit; at most [`MAX_NAMED`].
        candidates: Vec<Candidate>,
        /// The selectors that tell all of them apart: some of "kind", "path", "event", "namespace"; or "name", where none was
        /// given.
        by: Vec<&'static str>,
    },
    /// The one that fits cannot be run.
    #[error("the hook {} cannot be run", quote(.name))]
    NotRunnable {
        /// The name asked for.
        name: String,
        /// Its kind.
        kind: String,
        /// Why.
        #[source]
        why: NotRunnable,
    },
}

/// Hooks that a message names at most: a condition's message is read by people and holds 32 KiB.
pub const MAX_NAMED: usize = 8;

impl FindError {
    pub fn not_runnable(hook: &Hook, why: &NotRunnable) -> FindError {
        FindError::NotRunnable { name: hook.name.clone(), kind: hook.kind.clone(), why: why.clone() }
    }
}

/// The one hook that fits and can be run.
///
/// Of several that fit, Jobs and Pods go before other kinds, those that can be run before those that cannot, and those in the
/// release's namespace before those in others: a Job and its service account may share a name.
pub fn find<'h>(hooks: &'h [Hook], selector: &Selector<'_>) -> Result<&'h Hook, FindError> {
    let fitting: Vec<&Hook> = hooks.iter().filter(|hook| selector.fits(hook)).collect();
    let best = prefer(prefer(fitting, Hook::is_job_or_pod), |hook| hook.runnable.is_ok());
    let best = prefer(best, |hook| !hook.is_elsewhere);
    match best[..] {
        [] => Err(missing(hooks, selector)),
        [hook] => match &hook.runnable {
            Ok(()) => Ok(hook),
            Err(why) => Err(FindError::not_runnable(hook, why)),
        },
        [first, ..] => match &first.runnable {
            Ok(()) => Err(FindError::Ambiguous {
                name: selector.name.to_owned(),
                path: selector.path.filter(|_| selector.name.is_empty()).map(str::to_owned),
                candidates: best.iter().take(MAX_NAMED).map(|hook| Candidate::of(hook)).collect(),
                by: if selector.name.is_empty() { vec!["name"] } else { telling_apart(&best) },
            }),
            Err(why) => Err(FindError::not_runnable(first, why)),
        },
    }
}

/// Hooks of one event that are run in one Operation. A release of a large chart with its sub-charts has some ten.
pub const MAX_OF_EVENT: usize = 32;

/// Events of a release that a message names: more than Helm knows.
const MAX_EVENTS: usize = 32;

/// The hooks of an event that do something, Jobs and Pods, in the order in which Helm runs them: by weight, and of one weight as
/// they are [listed](super::Listing), by the names that Helm has recorded.
///
/// One that cannot be run refuses them all: whoever asks for an upgrade's hooks does not mean some of them.
pub fn of_event<'h>(hooks: &'h [Hook], event: &str) -> Result<Vec<&'h Hook>, EventError> {
    let event = canonical_event(event);
    let has_event = |hook: &&Hook| hook.events.iter().any(|of| of == event);
    let mut found: Vec<&Hook> =
        hooks.iter().filter(has_event).filter(|hook| hook.is_job_or_pod() || is_unreadable(hook)).collect();
    for hook in &found {
        if let Err(why) = &hook.runnable {
            return Err(EventError::not_runnable(event, hook, why));
        }
    }
    if found.is_empty() {
        let events: BTreeSet<&String> = hooks.iter().flat_map(|hook| &hook.events).collect();
        let events = events.into_iter().take(MAX_EVENTS).cloned().collect();
        return Err(EventError::NoHooks { event: event.to_owned(), events });
    }
    if found.len() > MAX_OF_EVENT {
        return Err(EventError::TooMany { event: event.to_owned(), found: found.len() });
    }
    found.sort_by_key(|hook| hook.weight);
    Ok(found)
}

/// Whether nobody can tell what it is: it may be a Job.
fn is_unreadable(hook: &Hook) -> bool {
    matches!(hook.runnable, Err(NotRunnable::Unreadable(_) | NotRunnable::TooMany))
}

/// Why the hooks of an event cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// There are none.
    #[error("no Job or Pod of the release is a hook of {event}; its hooks are of {}", shown(.events))]
    NoHooks {
        /// The event asked for.
        event: String,
        /// The events that the release has hooks of; at most 32.
        events: Vec<String>,
    },
    /// One of them cannot be run, so none is.
    #[error("the hooks of {event} are not run, because {} ({}) cannot be", quote(.name), cut(.path))]
    NotRunnable {
        /// The event asked for.
        event: String,
        /// The hook's name; may be empty.
        name: String,
        /// Its template.
        path: String,
        /// Why.
        #[source]
        why: Box<NotRunnable>,
    },
    /// More than [`MAX_OF_EVENT`].
    #[error(
        "the release has {found} hooks of {event}, more than the {MAX_OF_EVENT} that one Operation runs. Name them one by one"
    )]
    TooMany {
        /// The event asked for.
        event: String,
        /// How many there are.
        found: usize,
    },
}

impl EventError {
    pub fn not_runnable(event: &str, hook: &Hook, why: &NotRunnable) -> EventError {
        EventError::NotRunnable {
            event: event.to_owned(),
            name: hook.name.clone(),
            path: hook.path.clone(),
            why: Box::new(why.clone()),
        }
    }
}

fn shown(events: &[String]) -> String {
    if events.is_empty() { "no event".to_owned() } else { list(events) }
}

/// Those for which `better` holds, or all if it holds for none.
fn prefer(hooks: Vec<&Hook>, better: impl Fn(&Hook) -> bool) -> Vec<&Hook> {
    if hooks.iter().any(|hook| better(hook)) {
        hooks.into_iter().filter(|hook| better(hook)).collect()
    } else {
        hooks
    }
}

fn missing(hooks: &[Hook], selector: &Selector<'_>) -> FindError {
    let others = if selector.narrows() {
        hooks.iter().filter(|hook| hook.name == selector.name).take(MAX_NAMED).map(Candidate::of).collect()
    } else {
        Vec::new()
    };
    FindError::NotFound {
        name: selector.name.to_owned(),
        path: selector.path.filter(|_| selector.name.is_empty()).map(str::to_owned),
        nearest: nearest(hooks, selector.name),
        others,
        renamed: hooks
            .iter()
            .find(|hook| is_renamed(hook, selector.name))
            .map(|hook| Box::new(Candidate::of(hook))),
        total: hooks.len(),
    }
}

/// Whether a hook may be the one of this name at another revision: some charts end names with the revision, a checksum or random
/// letters.
fn is_renamed(hook: &Hook, name: &str) -> bool {
    let stem = |name: &str| match name.rsplit_once('-') {
        Some((stem, end)) if end.bytes().any(|byte| byte.is_ascii_digit()) => stem.to_owned(),
        _ => name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
    };
    let is_long = name.len() > MAX_COMPARED || hook.name.len() > MAX_COMPARED;
    hook.runnable.is_ok()
        && !hook.path.is_empty()
        && !is_long
        && hook.name != name
        && !stem(name).is_empty()
        && stem(&hook.name) == stem(name)
}

/// Bytes of a name that are compared. The longest name Kubernetes allows has 253; a longer one would only cost time.
const MAX_COMPARED: usize = 253;

/// Names that are compared letter by letter: each takes as many steps as the product of both lengths.
const MAX_DISTANCES: usize = 4 * MAX_NAMED;

/// The names of the runnable hooks, nearest first, each once.
fn nearest(hooks: &[Hook], name: &str) -> Vec<String> {
    let name = &name[..name.floor_char_boundary(MAX_COMPARED)];
    let mut found: Vec<(usize, &str)> = candidates(hooks, name)
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .collect();
    found.sort_unstable();
    found.into_iter().take(MAX_NAMED).map(|(_, other)| other.to_owned()).collect()
}

/// Those of the names that can be nearest by the letters that they have, in whatever order: at most [`MAX_DISTANCES`].
fn candidates<'h>(hooks: &'h [Hook], name: &str) -> Vec<&'h str> {
    let mut names: Vec<&str> = hooks
        .iter()
        .filter(|hook| hook.runnable.is_ok() && hook.name.len() <= MAX_COMPARED)
        .map(|hook| hook.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_DISTANCES {
        let letters = Letters::of(name);
        names.sort_by_cached_key(|other| letters.difference(other));
        names.truncate(MAX_DISTANCES);
    }
    names
}

/// How often each byte is in a name.
struct Letters([usize; 256]);

impl Letters {
    fn of(name: &str) -> Letters {
        let mut letters = [0; 256];
        name.bytes().for_each(|byte| letters[usize::from(byte)] += 1);
        Letters(letters)
    }

    /// How many letters it takes at least to make the one of the other. No edit changes fewer, so no name that is left out
    /// for it is nearer than this says.
    fn difference(&self, other: &str) -> usize {
        let other = Letters::of(other);
        let more = |a: &[usize; 256], b: &[usize; 256]| -> usize {
            a.iter().zip(b).map(|(a, b)| a.saturating_sub(*b)).sum()
        };
        more(&self.0, &other.0).max(more(&other.0, &self.0))
    }
}

/// The fewest of the selectors, tried in this order, by which each candidate could be chosen alone.
fn telling_apart(hooks: &[&Hook]) -> Vec<&'static str> {
    type Part = (&'static str, for<'h> fn(&'h Hook) -> &'h [String]);
    let parts: [Part; 4] = [
        ("kind", |hook| std::slice::from_ref(&hook.kind)),
        ("event", |hook| &hook.events),
        ("path", |hook| std::slice::from_ref(&hook.path)),
        ("namespace", |hook| std::slice::from_ref(&hook.namespace)),
    ];
    let mut sets: Vec<u8> = (1..16).collect();
    sets.sort_by_key(|set| set.count_ones());
    for set in sets {
        let chosen = || parts.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0).map(|(_, part)| part);
        let mut keys: Vec<Vec<&[String]>> =
            hooks.iter().map(|hook| chosen().map(|(_, of)| of(hook)).collect()).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() == hooks.len() {
            return chosen().map(|(name, _)| *name).collect();
        }
    }
    Vec::new()
}

/// "is named …", or where there is no name, "comes from the template …".
fn asked(name: &str, path: Option<&str>) -> String {
    match path {
        Some(path) => format!("comes from the template {}", quote(path)),
        None => format!("is named {}", quote(name)),
    }
}

fn not_found(
    name: &str,
    path: Option<&str>,
    nearest: &[String],
    others: &[Candidate],
    renamed: Option<&Candidate>,
    total: usize,
) -> String {
    let asked = asked(name, path);
    if total == 0 {
        return format!(
            "the release has no hooks, so none {asked}; its chart has no template with helm.sh/hook"
        );
    }
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(Candidate::to_string).collect();
        return format!(
            "no hook named {} has the kind, path, event and namespace asked for; there is {}",
            quote(name),
            others.join("; ")
        );
    }
    if nearest.is_empty() {
        return format!("no hook {asked}; none of the release's {total} hooks can be run");
    }
    let there = quoted(nearest);
    match renamed {
        Some(hook) => format!(
            "no hook {asked}; there is {there}. The name of {} seems to change with each revision of the release: choose it by its \
             template, parameters.hookPath: {} without hookName (`hookhost run --path`)",
            quote(&hook.name),
            quote(&hook.path)
        ),
        None => format!(
            "no hook {asked}; there is {there}. Choose by one of these names (parameters.hookName), by the template \
             (parameters.hookPath), or all hooks of an event (parameters.event); `hookhost hooks -o wide` lists all three"
        ),
    }
}

fn ambiguous(name: &str, path: Option<&str>, candidates: &[Candidate], by: &[&str]) -> String {
    let list: Vec<String> = candidates.iter().map(Candidate::to_string).collect();
    let advice = if by.is_empty() {
        "nothing tells them apart: give them different names in the chart".to_owned()
    } else {
        format!("choose with the Operation's {}", parameters(by))
    };
    format!("more than one hook {}: {}; {advice}", asked(name, path), list.join("; "))
}

/// The Operation's parameters for these selectors.
fn parameters(by: &[&str]) -> String {
    let parameter = |by: &&str| match *by {
        "kind" => "parameters.hookKind",
        "path" => "parameters.hookPath",
        "name" => "parameters.hookName",
        "namespace" => "parameters.hookNamespace",
        _ => "parameters.event",
    };
    by.iter().map(parameter).collect::<Vec<_>>().join(" and ")
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jobs(names: impl IntoIterator<Item = String>) -> Vec<Hook> {
        let pod = json!({"template": {"spec": {"containers": [{"name": "c"}]}}});
        let job =
            |name| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": pod});
        names.into_iter().map(|name| crate::testing::hook(job(name), "shop")).collect()
    }

    #[test]
    fn however_many_hooks_there_are_few_names_are_compared_letter_by_letter() {
        let padding = "x".repeat(MAX_COMPARED - 4);
        let all = jobs((0..crate::limits::MAX_HOOKS).map(|n| format!("{n:04}{padding}")));
        let wrong = "y".repeat(MAX_COMPARED);
        assert_eq!(candidates(&all, &wrong).len(), MAX_DISTANCES);
        assert_eq!(nearest(&all, &wrong).len(), MAX_NAMED);
    }

    #[test]
    fn the_nearest_name_is_found_among_thousands() {
        let others = (0..4000).map(|n| format!("job-{n:04}-of-a-large-chart"));
        let all = jobs(others.chain(["db-migrate".to_owned(), "db-rollback".to_owned()]));
        assert_eq!(nearest(&all, "db-migarte")[..2], ["db-migrate", "db-rollback"]);
    }
}
