//! From what Helm stored to the objects in it: first which there are, and each whole only where it is asked for.
//!
//! A *listing* has each object as far as it takes to tell it from others and to say whether it can be run. That takes
//! no more memory than one document's few fields, whatever else is in it, and each text is gone through once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::Hook;
use super::runnable::{self, NotRunnable};
use crate::limits::{MAX_DOCUMENTS, MAX_HOOKS, MAX_LISTED_BYTES, MAX_NODES, MAX_RUN_BYTES, MAX_WHOLE_BYTES};
use crate::record::StoredHook;
use crate::workload::at;
use crate::yaml::{self, Budget, Document, Head, Keep, YamlError};

/// The objects of a release's hooks, in the order in which Helm runs those of one event: by weight, then by name, then
/// as stored.
pub struct Listing<'r> {
    heads: Vec<Hook>,
    /// Where each is; none where it could not be read.
    places: Vec<Option<Place<'r>>>,
    /// The texts of those that could not be read, or not all, by their positions.
    unread: Vec<(usize, &'r str)>,
    release_namespace: &'r str,
}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
struct Place<'r> {
    document: Document<'r>,
    /// Which of its objects.
    nth: usize,
}

/// What of an object tells it from others, and whether it can be run.
const HEAD: Keep = Keep::Entries(&[
    ("apiVersion", Keep::Scalar),
    ("kind", Keep::Scalar),
    (
        "metadata",
        Keep::Entries(&[("name", Keep::Scalar), ("generateName", Keep::Scalar), ("namespace", Keep::Scalar)]),
    ),
    (
        "spec",
        Keep::Entries(&[
            ("parallelism", Keep::Scalar),
            ("completions", Keep::Scalar),
            ("managedBy", Keep::Scalar),
            ("containers", Keep::Mappings),
            ("template", Keep::Entries(&[("spec", Keep::Entries(&[("containers", Keep::Mappings)]))])),
        ]),
    ),
    ("items", Keep::Objects),
]);

impl<'r> Listing<'r> {
    /// Lists what was stored. `release_namespace` is where the release is installed.
    ///
    /// A hook that cannot be read, or goes beyond what is looked at of a record's hooks ([`limits`](crate::limits)),
    /// is listed once, with the reason. At most [`MAX_HOOKS`] objects are listed; what was stored with more is listed once
    /// more for them, as not runnable.
    pub fn of(stored: &'r [StoredHook], release_namespace: &'r str) -> Listing<'r> {
        let mut in_order: Vec<&StoredHook> = stored.iter().collect();
        in_order.sort_by(|a, b| (a.weight, &a.name).cmp(&(b.weight, &b.name)));
        let mut listing = Listing {
            heads: Vec::with_capacity(stored.len()),
            places: Vec::with_capacity(stored.len()),
            unread: Vec::new(),
            release_namespace,
        };
        let mut room = Room::default();
        for hook in in_order {
            listing.add(hook, &mut room);
        }
        listing
    }

    /// The objects, each without its manifest: that is null.
    pub fn heads(&self) -> &[Hook] {
        &self.heads
    }

    /// Where the release is installed.
    pub fn release_namespace(&self) -> &'r str {
        self.release_namespace
    }

    /// Every object with its manifest. All of them together are bounded as one YAML text is; those beyond the bound are
    /// given as unreadable.
    pub fn read_all(&self) -> Vec<Hook> {
        let mut hooks = self.heads.clone();
        let mut budget = Budget::default();
        self.read_each(0..hooks.len(), |position, manifest| {
            let manifest = manifest.and_then(|manifest| {
                budget.charge(yaml::cost(&manifest)).map_err(|problem| self.wrong(position, problem))?;
                Ok(manifest)
            });
            hooks[position] = self.with_manifest(position, manifest);
        });
        hooks
    }

    /// Hands over the manifests of the objects at these positions, in rising order, one after the other: each document is
    /// read once, and forgotten with the last of its objects. What could not be listed is passed over.
    pub fn read_each(
        &self,
        positions: impl IntoIterator<Item = usize>,
        mut take: impl FnMut(usize, Result<Value, YamlError>),
    ) {
        let mut last: Option<(Document<'r>, Result<Vec<Value>, YamlError>)> = None;
        for position in positions {
            let Some(Place { document, nth }) = self.places.get(position).copied().flatten() else {
                continue;
            };
            if last.as_ref().is_none_or(|(of, _)| !of.is(&document)) {
                // What was read before is freed first.
                last = None;
            }
            let (_, objects) = last.get_or_insert_with(|| {
                (document, objects(&document, MAX_HOOKS + 1, &mut Budget::of(MAX_RUN_BYTES)))
            });
            let manifest = match objects {
                Ok(objects) => Ok(objects.get_mut(nth).map(Value::take).unwrap_or_default()),
                Err(error) => Err(error.clone()),
            };
            take(position, manifest);
        }
    }

    /// Hands over what `keep` says of the objects at these positions, as [`read_each`](Self::read_each) does the whole. Each
    /// value that is looked at counts against `nodes`.
    pub fn sketch_each(
        &self,
        positions: impl IntoIterator<Item = (usize, &'static Keep)>,
        nodes: &mut Budget,
        mut take: impl FnMut(usize, Result<Value, YamlError>),
    ) {
        let mut whole = BTreeMap::new();
        for (position, keep) in positions {
            let Some(Place { document, .. }) = self.places.get(position).copied().flatten() else { continue };
            match document.head(keep, nodes, &mut Budget::of(MAX_RUN_BYTES)) {
                Ok(Head::Found(value)) => take(position, Ok(keep.prune(value))),
                Ok(Head::Useless) => drop(whole.insert(position, keep)),
                Err(error) => take(position, Err(error)),
            }
        }
        self.read_each(whole.keys().copied(), |position, manifest| {
            take(position, manifest.map(|manifest| whole[&position].prune(manifest)));
        });
    }

    /// The object at a position with its manifest, or with why it cannot be read.
    pub fn with_manifest(&self, position: usize, manifest: Result<Value, YamlError>) -> Hook {
        let head = self.heads[position].clone();
        match manifest {
            Ok(manifest) => Hook {
                runnable: runnable::check(&manifest),
                manifest: if manifest.is_object() { Arc::new(manifest) } else { Arc::default() },
                ..head
            },
            Err(error) => Hook { runnable: Err(NotRunnable::Unreadable(error)), ..head },
        }
    }

    /// Bytes of the document that the object at a position is in.
    pub fn text_bytes(&self, position: usize) -> usize {
        self.places.get(position).copied().flatten().map_or(0, |place| place.document.text().len())
    }

    /// Why the object at a position is beyond a bound.
    pub fn wrong(&self, position: usize, problem: yaml::YamlProblem) -> YamlError {
        let place = self.places.get(position).copied().flatten();
        YamlError { line: 1 + place.map_or(0, |place| place.document.lines_before()), column: 1, problem }
    }

    /// The texts that could not be read, or not all of whose objects are listed, each with its position.
    pub fn unread(&self) -> impl Iterator<Item = (usize, &'r str)> {
        self.unread.iter().copied()
    }

    fn add(&mut self, stored: &'r StoredHook, room: &mut Room) {
        let before = self.heads.len();
        match self.add_objects(stored, room) {
            Ok(None) if self.heads.len() == before => {
                let why = NotRunnable::NotAnObject { missing: "it is empty" };
                self.push(unreadable(stored, self.release_namespace, why), None);
            }
            Ok(None) => {}
            Ok(Some(TooMany)) => self.add_unread(stored, NotRunnable::TooMany),
            Err(error) => {
                self.heads.truncate(before);
                self.places.truncate(before);
                self.add_unread(stored, NotRunnable::Unreadable(error));
            }
        }
    }

    /// Adds the objects of one stored hook, as far as there is room.
    fn add_objects(&mut self, stored: &'r StoredHook, room: &mut Room) -> Result<Option<TooMany>, YamlError> {
        for document in yaml::documents(&stored.manifest) {
            let document = document?;
            let Some(left) = room.documents.checked_sub(1) else { return Ok(Some(TooMany)) };
            room.documents = left;
            // One more than there is room for, so that it shows.
            for (nth, object) in heads(&document, room)?.iter().enumerate() {
                let hook = object_of(stored, object, self.release_namespace);
                let has_room = room.objects > 0 && room.listed.charge(hook.text_bytes()).is_ok();
                if !has_room {
                    room.objects = 0;
                    return Ok(Some(TooMany));
                }
                room.objects -= 1;
                self.push(hook, Some(Place { document, nth }));
            }
        }
        Ok(None)
    }

    fn add_unread(&mut self, stored: &'r StoredHook, why: NotRunnable) {
        self.unread.push((self.heads.len(), &stored.manifest));
        self.push(unreadable(stored, self.release_namespace, why), None);
    }

    fn push(&mut self, hook: Hook, place: Option<Place<'r>>) {
        self.heads.push(hook);
        self.places.push(place);
    }
}

/// Names the objects; never prints a manifest.
impl fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.heads).finish()
    }
}

/// There are objects that are not listed.
struct TooMany;

/// What may still be looked at of a record's hooks.
struct Room {
    objects: usize,
    documents: usize,
    nodes: Budget,
    whole: Budget,
    listed: Budget,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            objects: MAX_HOOKS,
            documents: MAX_DOCUMENTS,
            nodes: Budget::of(MAX_NODES),
            whole: Budget::of(MAX_WHOLE_BYTES),
            listed: Budget::of(MAX_LISTED_BYTES),
        }
    }
}

/// The heads of a document's objects; of a List, and where there are aliases, the whole objects.
fn heads(document: &Document<'_>, room: &mut Room) -> Result<Vec<Value>, YamlError> {
    match document.head(&HEAD, &mut room.nodes, &mut Budget::of(MAX_RUN_BYTES))? {
        Head::Found(Value::Null) => Ok(Vec::new()),
        Head::Found(head) => Ok(vec![head]),
        Head::Useless => {
            let most = room.objects + 1;
            let mut budget = room.whole.at_most(MAX_RUN_BYTES);
            let before = budget.left();
            let objects = objects(document, most, &mut budget);
            // Never more than there was.
            let _ = room.whole.charge(before - budget.left());
            objects
        }
    }
}

/// A document's objects, at most `most`.
fn objects(document: &Document<'_>, most: usize, budget: &mut Budget) -> Result<Vec<Value>, YamlError> {
    let mut objects = Vec::new();
    flatten(document.read(budget)?, most, &mut objects);
    Ok(objects)
}

/// The objects of a release's hooks, each with its manifest: see [`Listing::read_all`].
pub fn list(stored: &[StoredHook], release_namespace: &str) -> Vec<Hook> {
    Listing::of(stored, release_namespace).read_all()
}

/// Bytes of a kind or an API version that an item takes from its List: more than Kubernetes' longest. Each of thousands of
/// items has a copy.
const MAX_INHERITED_BYTES: usize = 253;

/// The objects of a document: itself, or what it lists, however deep.
///
/// As for kubectl, everything with a list of `items` is a List, and an item without a kind is of the List's: a
/// "ConfigMapList" lists ConfigMaps. At most `most` objects are taken.
fn flatten(document: Value, most: usize, objects: &mut Vec<Value>) {
    match document {
        Value::Null => {}
        Value::Object(mut map) if map.get("items").is_some_and(Value::is_array) => {
            let Some(Value::Array(items)) = map.remove("items") else { return };
            let short = |key: &str| {
                let text = map.get(key).and_then(Value::as_str);
                text.filter(|text| text.len() <= MAX_INHERITED_BYTES)
            };
            let kind =
                short("kind").and_then(|kind| kind.strip_suffix("List")).filter(|kind| !kind.is_empty());
            let api_version = short("apiVersion").map(Value::from).unwrap_or_default();
            for mut item in items {
                if objects.len() == most {
                    return;
                }
                if let (Some(kind), Value::Object(item)) = (kind, &mut item)
                    && item.get("kind").is_none_or(Value::is_null)
                {
                    item.insert("kind".to_owned(), Value::from(kind));
                    item.insert("apiVersion".to_owned(), api_version.clone());
                }
                flatten(item, most, objects);
            }
        }
        other if objects.len() < most => objects.push(other),
        _ => {}
    }
}

fn object_of(stored: &StoredHook, manifest: &Value, release_namespace: &str) -> Hook {
    let runnable = runnable::check(manifest);
    if !manifest.is_object() {
        // It keeps the name by which Helm knows it.
        return Hook { runnable, ..of(stored, release_namespace) };
    }
    let text = |path: &str| at(manifest, path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    let mut name = text("metadata.name");
    // What others refer to has a name of its own.
    if name.is_empty() && runnable::is_job_or_pod(&api_version, &kind) {
        name = text("metadata.generateName");
    }
    let own = Some(text("metadata.namespace")).filter(|namespace| !namespace.is_empty());
    let namespace = own.unwrap_or_else(|| release_namespace.to_owned());
    let is_elsewhere = namespace != release_namespace;
    Hook { name, kind, api_version, namespace, is_elsewhere, runnable, ..of(stored, release_namespace) }
}

fn unreadable(stored: &StoredHook, release_namespace: &str, why: NotRunnable) -> Hook {
    Hook { runnable: Err(why), ..of(stored, release_namespace) }
}

/// What is known of the hook before its manifest is read.
fn of(stored: &StoredHook, release_namespace: &str) -> Hook {
    Hook {
        name: stored.name.clone(),
        kind: stored.kind.clone(),
        api_version: String::new(),
        namespace: release_namespace.to_owned(),
        is_elsewhere: false,
        path: stored.path.clone(),
        events: stored.events.iter().map(|event| super::find::canonical_event(event).to_owned()).collect(),
        weight: stored.weight,
        delete_policies: stored.delete_policies.clone(),
        last_run: stored.last_run.clone(),
        manifest: Arc::default(),
        runnable: Ok(()),
    }
}
