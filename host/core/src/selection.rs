//! A *selection* is what of a release record one Operation is about: its hook, or all hooks of its event, each read in full
//! with those of the release's other hooks that it needs. It owns all that it has, so the record can be freed.
//!
//! Nothing else of the record is read further than it takes to list it. What is read in full of one record is bounded by
//! [`MAX_RUN_BYTES`] for each run.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::closure::{self, ClosureError};
use crate::kind::Kind;
use crate::maker::{MAKER, MAX_MAKERS, Maker};
use crate::object::ObjectRef;
use crate::operation::Operation;
use crate::refusal::Refusal;
use crate::request::Release;
use crate::step::Step;
use hookhost_helm::hook::{EventError, FindError, Hook, Listing, NotRunnable};
use hookhost_helm::limits::{MAX_MANIFEST_BYTES, MAX_NODES, MAX_RUN_BYTES, selected_bytes};
use hookhost_helm::record::Record;
use hookhost_helm::text::quote;
use hookhost_helm::workload::Workload;
use hookhost_helm::yaml::{Budget, Keep, cost};

/// What of a record an Operation is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The release.
    pub release: Release,
    /// The hook, or all of the event in the order in which they are run.
    pub hooks: Vec<Selected>,
    /// All Jobs of the release's hooks, without their manifests: what the run's Job may not be called.
    pub jobs: Vec<Hook>,
    /// Hooks of which some controller may make what a run needs.
    pub makers: Vec<Maker>,
    counted: usize,
}

/// A hook of a selection.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// The hook.
    pub hook: Hook,
    /// The release's other hooks that it needs, in the order in which Helm makes them: see
    /// [`closure`](crate::closure::closure).
    pub others: Vec<Hook>,
    /// Network policies among the release's hooks that select the pods of Helm's own run of it and not those of hookhost's.
    pub missed: Vec<ObjectRef>,
}

impl Selection {
    /// An upper bound of the memory that it takes, with the copies that are made of it on the way to its Jobs.
    pub fn bytes(&self) -> usize {
        selected_bytes(self.counted)
            + self.jobs.iter().map(Hook::text_bytes).sum::<usize>()
            + self.makers.iter().map(Maker::bytes).sum::<usize>()
            + self.hooks.iter().flat_map(|selected| &selected.missed).map(ObjectRef::bytes).sum::<usize>()
    }
}

/// What the Operation is about in the record.
///
/// # Errors
/// If the release has no such hook, or it cannot be run; if it, or what it needs, cannot be read within the bounds; and if a
/// hook that may give it rights cannot be.
pub fn select(record: &Record, operation: &Operation) -> Result<Selection, Refusal> {
    let listing = record.listing();
    let found = operation.choose(listing.heads())?;
    let event = operation.parameters.whole_event();
    let mut reader = Reader::new(&listing);
    let mut hooks = Vec::with_capacity(found.len());
    for (n, head) in found.iter().enumerate() {
        let step = event.map(|_| Step { number: n + 1, of: found.len() });
        let hook = reader.hook(head);
        if let Err(why) = &hook.runnable {
            return Err(match event {
                Some(event) => EventError::not_runnable(event, &hook, why).into(),
                None => FindError::not_runnable(&hook, why).into(),
            });
        }
        let others = reader.others(&hook);
        let others = others.map_err(|error| Refusal::from(error).of_step(&hook.name, step))?;
        let missed = reader.missed(&hook)?;
        hooks.push(Selected { hook, others, missed });
    }
    let counted = MAX_RUN_BYTES - reader.room.left();
    let jobs = listing.heads().iter().filter(|head| head.kind == "Job").cloned().collect();
    let makers = makers(&listing);
    Ok(Selection { release: Release::from(record), hooks, jobs, makers, counted })
}

/// The makers among the hooks, as far as they can be read and there is room for them.
fn makers(listing: &Listing<'_>) -> Vec<Maker> {
    let heads = listing.heads();
    let known = heads.iter().enumerate().filter(|(_, head)| Maker::may_be(head)).take(MAX_MAKERS);
    let known = known.map(|(position, _)| (position, &MAKER));
    let mut makers = Vec::new();
    listing.sketch_each(known, &mut Budget::of(MAX_NODES), |position, manifest| {
        if let Ok(manifest) = manifest {
            makers.push(Maker::of(&heads[position], &manifest));
        }
    });
    makers
}

/// Bytes of text of a record that are read in full, whatever is asked for and however often: several times all that there may
/// be.
const MAX_READ_BYTES: usize = 8 * MAX_MANIFEST_BYTES;

/// Reads the hooks of a listing in full, as far as they are asked for, within what one run may take.
pub struct Reader<'l, 'r> {
    listing: &'l Listing<'r>,
    /// None until they are asked for.
    sketches: Option<Sketches>,
    /// What was read, by its position.
    read: BTreeMap<usize, Hook>,
    room: Budget,
    text: Budget,
}

/// The hooks that others may need, each as far as it takes to tell which do.
#[derive(Clone)]
struct Sketches {
    hooks: Vec<Hook>,
    /// Their positions in the listing.
    positions: Vec<usize>,
}

impl<'l, 'r> Reader<'l, 'r> {
    /// Of this listing.
    pub fn new(listing: &'l Listing<'r>) -> Reader<'l, 'r> {
        Reader {
            listing,
            sketches: None,
            read: BTreeMap::new(),
            room: Budget::of(MAX_RUN_BYTES),
            text: Budget::of(MAX_READ_BYTES),
        }
    }

    /// Forgets what was read, so that there is room for another run.
    pub fn forget(&mut self) {
        self.read.clear();
        let sketched = self.sketches.iter().flat_map(|sketches| &sketches.hooks);
        let sketched = sketched.map(|hook| cost(&hook.manifest) + hook.text_bytes()).sum();
        self.room = Budget::of(MAX_RUN_BYTES);
        // It was within the room.
        let _ = self.room.charge(sketched);
    }

    /// One of the listing's heads, with its manifest; not runnable where that cannot be read.
    pub fn hook(&mut self, head: &Hook) -> Hook {
        let heads = self.listing.heads();
        let Some(position) = heads.iter().position(|one| std::ptr::eq(one, head)) else {
            return head.clone();
        };
        self.read([position]);
        self.read.get(&position).unwrap_or(head).clone()
    }

    /// The hooks that the pod of a hook needs, whose manifest was read.
    ///
    /// # Errors
    /// If they are more than policies are shown, or one that may be among them cannot be read.
    pub fn others(&mut self, hook: &Hook) -> Result<Vec<Hook>, ClosureError> {
        let listing = self.listing;
        let heads = listing.heads();
        if let Some((position, _)) = listing.unread().find(|(_, text)| may_give_rights(text)) {
            return Err(unreadable(&heads[position]));
        }
        let Sketches { hooks, positions } = self.sketches()?;
        let needed = closure::positions(Workload::of(&hook.manifest), listing.release_namespace(), hooks)?;
        let needed: BTreeSet<usize> = needed.into_iter().filter_map(|n| positions.get(n).copied()).collect();
        self.read(needed.iter().copied());
        let mut others = Vec::with_capacity(needed.len());
        for position in needed {
            let other = self.read.get(&position).unwrap_or(&heads[position]);
            if matches!(other.runnable, Err(NotRunnable::Unreadable(_))) {
                return Err(unreadable(other));
            }
            self.room.charge(other.text_bytes()).map_err(|problem| {
                unreadable_because(other, NotRunnable::Unreadable(listing.wrong(position, problem)))
            })?;
            others.push(other.clone());
        }
        Ok(others)
    }

    /// The network policies that select the pods of Helm's own run of a hook and not those of hookhost's.
    ///
    /// # Errors
    /// As [`Reader::others`].
    pub fn missed(&mut self, hook: &Hook) -> Result<Vec<ObjectRef>, ClosureError> {
        let namespace = self.listing.release_namespace();
        Ok(closure::missed(hook, namespace, &self.sketches()?.hooks))
    }

    /// Reads those at these positions that were not read yet.
    fn read(&mut self, positions: impl IntoIterator<Item = usize>) {
        let Reader { listing, read, room, text, .. } = self;
        let new: Vec<usize> = positions.into_iter().filter(|position| !read.contains_key(position)).collect();
        let mut wrong = Vec::new();
        let new = new.into_iter().filter(|position| match text.charge(listing.text_bytes(*position)) {
            Ok(()) => true,
            Err(problem) => {
                wrong.push((*position, problem));
                false
            }
        });
        let new: Vec<usize> = new.collect();
        listing.read_each(new, |position, manifest| {
            let manifest = manifest.and_then(|manifest| {
                let charged = room.charge(cost(&manifest) + listing.heads()[position].text_bytes());
                charged.map(|()| manifest).map_err(|problem| listing.wrong(position, problem))
            });
            read.insert(position, listing.with_manifest(position, manifest));
        });
        for (position, problem) in wrong {
            let error = listing.wrong(position, problem);
            read.insert(position, listing.with_manifest(position, Err(error)));
        }
    }

    fn sketches(&mut self) -> Result<&Sketches, ClosureError> {
        if self.sketches.is_none() {
            self.sketches = Some(Sketches::of(self.listing, &mut self.room)?);
        }
        Ok(self.sketches.get_or_insert_with(|| Sketches { hooks: Vec::new(), positions: Vec::new() }))
    }
}

impl Sketches {
    /// Of all that a pod may need. What gives rights and cannot be read refuses all: it may be any hook that it gives them to.
    fn of(listing: &Listing<'_>, room: &mut Budget) -> Result<Sketches, ClosureError> {
        let mut sketches = Sketches { hooks: Vec::new(), positions: Vec::new() };
        let kinds = listing.heads().iter().map(|head| Kind::of(&head.api_version, &head.kind));
        let wanted = kinds.enumerate().filter_map(|(position, kind)| Some((position, sketch(kind?))));
        let wanted: Vec<(usize, &'static Keep)> = wanted.collect();
        for (position, _) in &wanted {
            let head = &listing.heads()[*position];
            room.charge(head.text_bytes()).map_err(|problem| {
                unreadable_because(head, NotRunnable::Unreadable(listing.wrong(*position, problem)))
            })?;
        }
        let mut failed = None;
        listing.sketch_each(wanted, &mut Budget::of(MAX_NODES), |position, manifest| {
            let head = &listing.heads()[position];
            let charged = manifest.and_then(|manifest| {
                let charged = room.charge(cost(&manifest));
                charged.map(|()| manifest).map_err(|problem| listing.wrong(position, problem))
            });
            match charged {
                Err(error) => {
                    let why = NotRunnable::Unreadable(error);
                    failed.get_or_insert_with(|| unreadable_because(head, why));
                }
                Ok(manifest) => {
                    // Only what tells which it is; the rest is many times as much.
                    let (name, kind, api_version) =
                        (head.name.clone(), head.kind.clone(), head.api_version.clone());
                    sketches.hooks.push(Hook::sketch(name, kind, api_version, manifest));
                    sketches.positions.push(position);
                }
            }
        });
        failed.map_or(Ok(sketches), Err)
    }
}

/// The fields of every kind by which a closure is found.
macro_rules! sketch {
    ([$($metadata:expr),*] $($field:expr),*) => {
        &Keep::Entries(&[
            ("metadata", Keep::Entries(&[("namespace", Keep::Scalar), $($metadata),*])),
            ("items", Keep::Objects),
            $($field),*
        ])
    };
}

/// What of a hook of this kind tells which pods need it.
fn sketch(kind: Kind) -> &'static Keep {
    match kind {
        Kind::ServiceAccount => {
            sketch!([]("imagePullSecrets", Keep::Whole), ("secrets", Keep::Whole))
        }
        Kind::RoleBinding | Kind::ClusterRoleBinding => {
            sketch!([]("subjects", Keep::Whole), ("roleRef", Keep::Whole))
        }
        Kind::NetworkPolicy => sketch!([]("spec", Keep::Entries(&[("podSelector", Keep::Whole)]))),
        Kind::ClusterRole => sketch!([("labels", Keep::Whole)]("aggregationRule", Keep::Whole)),
        Kind::Secret | Kind::ConfigMap | Kind::PersistentVolumeClaim | Kind::Role => sketch!([]),
    }
}

/// Whether a text that cannot be read may have an object that gives rights: one of the API group of roles and bindings, or a
/// service account. It may if it has these words, or a way to write them otherwise.
fn may_give_rights(text: &str) -> bool {
    const WORDS: [&str; 2] = ["rbac.authorization.k8s.io", "ServiceAccount"];
    // Base64 text has a tag.
    let has_tag = || {
        let mut before = ' ';
        text.chars().any(|c| {
            let is_tag = c == '!' && (before.is_whitespace() || "[{,:-?".contains(before));
            before = c;
            is_tag
        })
    };
    WORDS.iter().any(|word| text.contains(word)) || text.contains('\\') || has_tag()
}

fn unreadable(hook: &Hook) -> ClosureError {
    let why = hook.runnable.as_ref().err().cloned();
    unreadable_because(hook, why.unwrap_or(NotRunnable::TooMany))
}

fn unreadable_because(hook: &Hook, why: NotRunnable) -> ClosureError {
    let document = format!(
        "{} {} ({})",
        hookhost_helm::hook::cut(&hook.kind),
        quote(&hook.name),
        hookhost_helm::hook::cut(&hook.path)
    );
    ClosureError::Unreadable { document, why: Box::new(why) }
}
