//! Reading which *prerequisites* of a hook exist: see [`hookhost_core::prerequisites`].

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use hookhost_core::dependency::{MAX_KEYS, Reference};
use hookhost_core::loan::Loan;
use hookhost_core::maker;
use hookhost_core::prerequisites::Hooked;
use hookhost_core::refusal::Refusal;
use hookhost_core::target::{Applier, ToCreate};
use kube::api::GetParams;
use kube::core::ApiResource;

use crate::error::{Error, Result};
use crate::read::{Keys, Reader};
use crate::resource::{job_resource, needed_resource};

/// Objects that are asked for at once, of those that a pod refers to, and of the hooks that it needs: either may be 256.
pub const AT_ONCE: usize = 8;

/// What exists of what a pod refers to and has to be looked for, with those of its keys that the pod needs. `ahead` has the answers
/// that are known already.
pub async fn existing<'r>(
    reader: &Reader,
    namespace: &str,
    references: &'r [Reference],
    ahead: impl Fn(&Reference) -> Option<Option<Keys>>,
) -> Result<BTreeMap<&'r Reference, Keys>, Error> {
    let asked = references.iter().filter(|reference| reference.is_in_question());
    let keys = asked.map(async |reference| {
        let found = match ahead(reference) {
            Some(found) => found,
            None => ask(reader, namespace, reference).await?,
        };
        Ok::<_, Error>(found.map(|found| (reference, found)))
    });
    let keys: Vec<_> = keys.collect();
    let found: Vec<_> = stream::iter(keys).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The SecretProviderClasses that a hook's pod needs and that exist though Helm has deleted them, by its record: somebody has created
/// them again. Where that cannot be told, for want of the right or of the kind, the record is all that is known.
pub async fn existing_classes(reader: &Reader, hooked: &Hooked<'_>) -> Result<BTreeSet<String>> {
    let mut existing = BTreeSet::new();
    for class in maker::deleted_classes(&hooked.hook.manifest, hooked.makers) {
        if reader.provider_class_exists(hooked.namespace(), class.name()).await? == Some(true) {
            existing.insert(class.name().to_owned());
        }
    }
    Ok(existing)
}

/// Those keys of an object that the pod refers to, where it refers to any; else only whether there is the object.
async fn ask(reader: &Reader, namespace: &str, reference: &Reference) -> Result<Option<Keys>> {
    let Reference { kind, name, keys, .. } = reference;
    let now = GetParams::default();
    if keys.is_empty() {
        return Ok(reader.exists(*kind, namespace, name, &now).await?.then(Keys::new));
    }
    let is_wanted = |key: &str| keys.contains_key(key);
    // Of one object no more than so many are wanted.
    let found = reader.keys(*kind, namespace, name, &now, MAX_KEYS, is_wanted).await?;
    Ok(found.map(Option::unwrap_or_default))
}

/// Asks the API server whether the service account as which Flux applies the release could itself create the Jobs of these runs, by their
/// namespaces, and the objects that are created for each. It is asked anew for each start: rights change.
pub async fn review<'r>(
    reader: &Reader,
    applier: &Applier,
    runs: impl Iterator<Item = (&'r str, &'r [Loan])>,
) -> Result<Result<(), Refusal>> {
    let of = |resource: &ApiResource, namespace: &str| ToCreate {
        group: resource.group.clone(),
        resource: resource.plural.clone(),
        namespace: namespace.to_owned(),
    };
    let mut created = BTreeSet::new();
    for (namespace, loans) in runs {
        created.insert(of(&job_resource(), namespace));
        // Those that give rights have been refused already, and only those may be without a namespace.
        created.extend(loans.iter().map(|loan| of(&needed_resource(loan.object.kind), namespace)));
    }
    let answers = created.into_iter().map(async |one| {
        let is_allowed = reader.may_create(&applier.user(), &applier.groups(), &one).await?;
        Ok::<_, Error>((!is_allowed).then_some(one))
    });
    let forbidden: Vec<Option<ToCreate>> = stream::iter(answers).buffered(AT_ONCE).try_collect().await?;
    let forbidden: Vec<ToCreate> = forbidden.into_iter().flatten().collect();
    Ok(applier.refuse(&forbidden).map_or(Ok(()), Err))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use hookhost_core::kind::Kind;
    use kube::client::Body;
    use serde_json::{Map, Value, json};

    use super::*;
    use hookhost_core::dependency;

    /// An API server that has these config maps, and counts how many it is asked for at once.
    fn reader(keys: usize, most: &'static AtomicUsize) -> Reader {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let data: Map<String, Value> = (0..keys).map(|n| (format!("k{n}"), json!(""))).collect();
        let text = json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}).to_string();
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let text = text.clone();
            async move {
                most.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                NOW.fetch_sub(1, SeqCst);
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(text.into_bytes())))
            }
        });
        Reader::new(kube::Client::new(service, "default"))
    }

    #[tokio::test]
    async fn what_a_pod_refers_to_is_asked_for_a_few_at_a_time_and_read_as_far_as_it_is_needed() {
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let reference = |n: usize| Reference {
            kind: Kind::ConfigMap,
            name: format!("map-{n}"),
            optional: false,
            pulls: false,
            comes_with_pod: false,
            from: "here".into(),
            keys: ["k7", "absent"].map(|key| (key.to_owned(), "here".to_owned())).into(),
        };
        let references: Vec<Reference> = (0..dependency::MAX_REFERENCES).map(reference).collect();
        let reader = reader(1000, &MOST);
        let found = existing(&reader, "org", &references, |_| None).await.unwrap();
        assert_eq!(found.len(), references.len());
        assert!(found.values().all(|keys| *keys == ["k7".to_owned()].into()));
        assert!((2..=AT_ONCE).contains(&MOST.load(SeqCst)), "{MOST:?}");
    }
}
