//! The labels and annotations that policies add.

use std::collections::BTreeMap;

use super::{Conflict, Demand, Party};
use crate::decision::Overrides;
use crate::keys::OWN_DOMAIN;
use hookhost_helm::text::quote;

/// Domains of label and annotation keys that no policy may use, with the reason.
pub const OWNED_DOMAINS: [(&str, &str); 9] = [
    (OWN_DOMAIN, "hookhost keeps there what it has to know of a Job"),
    ("app.vworkspace.io", "hookhost finds its Jobs by them"),
    ("ops.vworkspace.io", "hookhost finds its Jobs by them"),
    ("batch.kubernetes.io", "the Job controller finds its pods by them"),
    ("helm.sh", "Helm would take the Job for a hook"),
    ("meta.helm.sh", "Helm would adopt the Job"),
    ("helm.toolkit.fluxcd.io", "Flux would take the Job for a part of the release"),
    ("kustomize.toolkit.fluxcd.io", "Flux would prune the Job"),
    ("argocd.argoproj.io", "Argo CD would prune the Job"),
];

/// Label keys without a domain that the Job controller owns, from before it used its own domain.
pub(super) const JOB_CONTROLLER_LABELS: [&str; 2] = ["controller-uid", "job-name"];

/// Bytes of all labels that policies add. Kubernetes sets no bound; 160 of the longest fit, and the Job stays far from
/// etcd's limit of 1.5 MiB an object.
pub const LABELS_BYTES: usize = 64 * 1024;
/// Bytes of all annotations that policies add: Kubernetes takes 256 KiB in all, and hookhost needs the rest for its
/// own.
pub const ANNOTATIONS_BYTES: usize = 192 * 1024;

/// Why `key` may not be set by a policy; none if it may.
pub fn is_host_owned(key: &str) -> Option<&'static str> {
    if JOB_CONTROLLER_LABELS.contains(&key) {
        return Some("the Job controller finds its pods by it");
    }
    let (domain, _) = key.split_once('/')?;
    OWNED_DOMAINS.iter().find(|(owned, _)| *owned == domain).map(|(_, why)| *why)
}

/// A label or annotation that policies add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: String,
    /// The policies that demand it, sorted.
    pub policies: Vec<String>,
}

pub(super) fn solve_labels(
    chart: &BTreeMap<String, String>,
    allows: &[(&str, &Overrides)],
    conflicts: &mut Vec<Conflict>,
) -> BTreeMap<String, Entry> {
    let labels = gather(allows, |overrides| &overrides.labels);
    settle("label", LABELS_BYTES, labels, Some(chart), conflicts)
}

pub(super) fn solve_annotations(
    allows: &[(&str, &Overrides)],
    conflicts: &mut Vec<Conflict>,
) -> BTreeMap<String, Entry> {
    let annotations = gather(allows, |overrides| &overrides.annotations);
    settle("annotation", ANNOTATIONS_BYTES, annotations, None, conflicts)
}

/// Who demands which values of each key.
type Gathered<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a str>>>;

fn gather<'a>(
    allows: &[(&'a str, &'a Overrides)],
    of: fn(&Overrides) -> &BTreeMap<String, String>,
) -> Gathered<'a> {
    let mut gathered = Gathered::new();
    for (policy, overrides) in allows {
        for (key, value) in of(overrides) {
            gathered.entry(key).or_default().entry(value).or_default().push(policy);
        }
    }
    for values in gathered.values_mut() {
        for policies in values.values_mut() {
            policies.sort_unstable();
            policies.dedup();
        }
    }
    gathered
}

fn settle(
    what: &str,
    most_bytes: usize,
    gathered: Gathered<'_>,
    chart: Option<&BTreeMap<String, String>>,
    conflicts: &mut Vec<Conflict>,
) -> BTreeMap<String, Entry> {
    let mut settled = BTreeMap::new();
    let mut bytes_by_policy: BTreeMap<&str, usize> = BTreeMap::new();
    let mut bytes = 0;
    for (key, values) in gathered {
        let field = || format!("{what} {key}");
        let mut demands: Vec<Demand> = values
            .iter()
            .flat_map(|(value, policies)| policies.iter().map(move |policy| (value, policy)))
            .map(|(value, policy)| Demand {
                party: Party::Policy((*policy).to_owned()),
                what: format!("the value {}", quote(value)),
            })
            .collect();
        if let Some(why) = is_host_owned(key) {
            demands
                .push(Demand { party: Party::Hookhost, what: format!("the key is not for policies: {why}") });
            conflicts.push(Conflict::new(field(), demands));
            continue;
        }
        if let Some(value) = chart.and_then(|chart| chart.get(key))
            && !(values.len() == 1 && values.contains_key(value.as_str()))
        {
            demands.push(Demand { party: Party::Chart, what: format!("the value {}", quote(value)) });
            conflicts.push(Conflict::new(field(), demands));
            continue;
        }
        if values.len() > 1 {
            conflicts.push(Conflict::new(field(), demands));
            continue;
        }
        for (value, policies) in values {
            bytes += key.len() + value.len();
            for policy in &policies {
                *bytes_by_policy.entry(policy).or_default() += key.len() + value.len();
            }
            let policies = policies.into_iter().map(str::to_owned).collect();
            settled.insert(key.to_owned(), Entry { value: value.to_owned(), policies });
        }
    }
    if bytes > most_bytes {
        let mut demands: Vec<Demand> = bytes_by_policy
            .into_iter()
            .map(|(policy, bytes)| Demand {
                party: Party::Policy(policy.to_owned()),
                what: format!("{bytes} bytes"),
            })
            .collect();
        demands.push(Demand { party: Party::Hookhost, what: format!("at most {most_bytes} bytes in all") });
        conflicts.push(Conflict::new(format!("{what}s"), demands));
    }
    settled
}
