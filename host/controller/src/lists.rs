//! A *list* is all objects of a kind that have a label or a name, read once. For what no watch tells: Jobs in namespaces that are not
//! managed, and what an uninstall cleans.
//!
//! Whoever may create an object decides how large it is, and there may be any number: they are read as text, one at a time, and of
//! each only what whoever lists it needs to know is kept.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use hookhost_core::claim::{Claim, Keys};
use hookhost_core::keys::CLOSURE;
use hookhost_core::keys::{FINALIZER, OPERATION, SOURCE_HOOK, STEP};
use hookhost_core::stored::StoredJob;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep};

use hookhost_cluster::client::{self, Call, Error, Verb};
use hookhost_cluster::job::first_generation;
use hookhost_cluster::resource::{binding_resource, job_resource, resource};
use hookhost_cluster::stream::Selection;
use hookhost_core::keys::RIGHTS;
use hookhost_core::keys::UNATTENDED;

/// Namespaces that are asked about at once, and objects of one that are written at once: a polite guest of the API server.
pub(crate) const AT_ONCE: usize = 8;

/// Tries to list something before it is given up: an API server that has just been started answers the second.
const TRIES: u32 = 3;

/// The pause before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// How long all tries may take together: 10,000 Jobs take a busy API server some seconds.
const WITHIN: Duration = Duration::from_secs(60);

/// Bytes of an Operation's UID that are kept. A true one has 36.
const UID_BYTES: usize = 64;

/// An object, as far as it is known.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The UID of the Operation that a Job's label names.
    pub(crate) operation: Option<String>,
    /// Whether hookhost's finalizer for Jobs is on it.
    pub(crate) is_held: bool,
    /// Whether hookhost was uninstalled while the Job ran: what was made for it may be left.
    pub(crate) is_unattended: bool,
    /// Whether it says that something was made for it.
    pub(crate) borrows: bool,
    /// Whether it is one of an event's.
    pub(crate) is_step: bool,
    /// Whether its spec is not any more what it was created with: a step that was let start.
    pub(crate) is_changed: bool,
    /// Whether hookhost's finalizer for RoleBindings is on it.
    is_binding: bool,
    /// What proves that hookhost made it, where that was asked for.
    claim: Option<Claim>,
}

impl Listed {
    /// Whether hookhost has still something to do for a Job: its finalizer is on it, or what was made for it may be left.
    pub(crate) fn is_owed(&self) -> bool {
        self.is_held || self.is_unattended
    }

    /// Whether hookhost made it as it is, as far as these keys tell.
    pub(crate) fn is_genuine(&self, keys: &Keys) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_genuine(keys))
    }

    fn read(text: &str) -> Option<Listed> {
        let Object { metadata } = serde_json::from_str(text).ok()?;
        let Metadata {
            namespace,
            name,
            uid,
            generation,
            deletion_timestamp,
            labels,
            annotations,
            finalizers,
        } = metadata;
        let first = first_generation(deletion_timestamp.is_some());
        Some(Listed {
            namespace: namespace.into_owned(),
            name: name.into_owned(),
            uid: uid.into_owned(),
            operation: labels.operation,
            is_held: finalizers.has(FINALIZER),
            is_unattended: annotations.has(UNATTENDED),
            borrows: annotations.has(CLOSURE),
            is_step: annotations.has(STEP),
            is_changed: generation.is_some_and(|now| now > first),
            is_binding: finalizers.has(RIGHTS),
            claim: None,
        })
    }

    /// The same, with its claim.
    fn read_with_claim(text: &str) -> Option<Listed> {
        let mut listed = Listed::read(text).filter(Listed::is_owed)?;
        listed.claim = StoredJob::read(text)?.claim;
        Some(listed)
    }
}

#[derive(Deserialize)]
struct Object<'t> {
    #[serde(borrow)]
    metadata: Metadata<'t>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'t> {
    #[serde(borrow, default)]
    namespace: Cow<'t, str>,
    #[serde(borrow)]
    name: Cow<'t, str>,
    #[serde(borrow, default)]
    uid: Cow<'t, str>,
    generation: Option<i64>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: Known,
    #[serde(default)]
    annotations: Known,
    #[serde(default)]
    finalizers: Known,
}

/// Which of hookhost's own words are in a list, or among the keys of a mapping.
#[derive(Debug, Default)]
struct Known {
    found: Vec<&'static str>,
    /// The value of the one that names an Operation.
    operation: Option<String>,
}

impl Known {
    const WORDS: [&str; 5] = [FINALIZER, RIGHTS, UNATTENDED, CLOSURE, STEP];

    fn has(&self, word: &str) -> bool {
        self.found.contains(&word)
    }

    fn note(&mut self, word: &str) {
        let known = Known::WORDS.into_iter().find(|known| *known == word && !self.has(known));
        self.found.extend(known);
    }
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Word<'t>(#[serde(borrow)] Cow<'t, str>);

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Known, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Known;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or a mapping of texts")
            }

            fn visit_unit<E>(self) -> Result<Known, E> {
                Ok(Known::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Known, A::Error> {
                let mut known = Known::default();
                while let Some(Word(word)) = from.next_element()? {
                    known.note(&word);
                }
                Ok(known)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Known, A::Error> {
                let mut known = Known::default();
                while let Some(Word(key)) = from.next_key()? {
                    known.note(&key);
                    if key == OPERATION {
                        let Word(value) = from.next_value()?;
                        known.operation = Some(value.into_owned()).filter(|uid| uid.len() <= UID_BYTES);
                    } else {
                        from.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(known)
            }
        }
        from.deserialize_any(Words)
    }
}

/// Lists objects.
#[derive(Clone)]
pub(crate) struct Lists {
    client: kube::Client,
}

impl Lists {
    pub(crate) fn new(client: kube::Client) -> Lists {
        Lists { client }
    }

    /// The names of the namespaces that a label selector names; none names all.
    pub(crate) async fn namespaces(&self, selector: Option<&str>) -> Result<Vec<String>, Error> {
        let call = Call::new::<Namespace>(Verb::List, None, "");
        let all = Selection::new(self.client.clone(), &resource("", "v1", "Namespace", "namespaces"), None);
        let all = all.labels(selector.unwrap_or_default()).metadata();
        self.list(&call, &all, TRIES, |text| Some(Listed::read(text)?.name)).await
    }

    /// Those of hookhost's Jobs that are wanted, in one namespace or in all.
    pub(crate) async fn jobs(
        &self,
        namespace: Option<&str>,
        is_wanted: impl Fn(&Listed) -> bool,
    ) -> Result<Vec<Listed>, Error> {
        let jobs = self.selection(namespace).metadata();
        self.list(&Lists::call(namespace), &jobs, TRIES, |text| Listed::read(text).filter(&is_wanted)).await
    }

    /// The Jobs in a namespace for which hookhost may have something to do, with their claims.
    pub(crate) async fn owed(&self, namespace: &str) -> Result<Vec<Listed>, Error> {
        let jobs = self.selection(Some(namespace));
        self.list(&Lists::call(Some(namespace)), &jobs, TRIES, Listed::read_with_claim).await
    }

    /// Whether there is such a Job in a namespace, proven or not. Asked once only.
    pub(crate) async fn is_owed(&self, namespace: &str) -> Result<bool, Error> {
        let jobs = self.selection(Some(namespace)).metadata();
        let read = |text: &str| Listed::read(text).filter(Listed::is_owed).map(drop);
        let found = self.list(&Lists::call(Some(namespace)), &jobs, 1, read).await?;
        Ok(!found.is_empty())
    }

    /// The RoleBindings of one name with hookhost's finalizer, in all namespaces. The right to list them may be given for that
    /// name only.
    pub(crate) async fn role_bindings(&self, name: &str) -> Result<Vec<Listed>, Error> {
        let call = Call::new::<RoleBinding>(Verb::List, None, name);
        let named = Selection::new(self.client.clone(), &binding_resource(), None);
        let named = named.fields(&format!("metadata.name={name}")).metadata();
        self.list(&call, &named, TRIES, |text| Listed::read(text).filter(|binding| binding.is_binding)).await
    }

    /// Both labels, as the watch of Jobs has them.
    fn selection(&self, namespace: Option<&str>) -> Selection {
        let jobs = Selection::new(self.client.clone(), &job_resource(), namespace);
        jobs.labels(&format!("{OPERATION},{SOURCE_HOOK}"))
    }

    fn call(namespace: Option<&str>) -> Call {
        Call::new::<Job>(Verb::List, namespace, "")
    }

    /// All pages. What the API server cannot do now is tried again from the start: the place in the list may be too old.
    async fn list<T>(
        &self,
        call: &Call,
        selection: &Selection,
        mut tries: u32,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let (until, mut pause) = (Instant::now() + WITHIN, PAUSE);
        loop {
            let mut all = Vec::new();
            let rest = until.saturating_duration_since(Instant::now());
            match client::within(rest, call, selection.list_once(|text| all.extend(read(text)))).await {
                Ok(()) => return Ok(all),
                // What is left after the pause is long enough for an answer.
                Err(error)
                    if error.is_transient()
                        && tries > 1
                        && pause * 2 < until.saturating_duration_since(Instant::now()) =>
                {
                    tries -= 1;
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hookhost_core::claim::{KEY_BYTES, Key};
    use hookhost_core::keys::CLAIM;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn keys() -> Keys {
        Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None }
    }

    /// Lists on an API server that answers like this; and the queries that it was asked.
    fn lists(
        answer: impl Fn(usize) -> (u16, String) + Send + Sync + 'static,
    ) -> (Lists, Arc<Mutex<Vec<String>>>) {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, all) = (Arc::new(answer), asked.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let count = {
                let mut asked = all.lock().unwrap();
                asked.push(request.uri().query().unwrap_or_default().to_owned());
                asked.len()
            };
            let (code, text) = answer(count);
            async move {
                let answer = Response::builder().status(code).body(Body::from(text.into_bytes()));
                Ok::<_, std::convert::Infallible>(answer.unwrap())
            }
        });
        (Lists::new(kube::Client::new(service, "default")), asked)
    }

    fn page(items: &[Value], more: &str) -> (u16, String) {
        (200, json!({"metadata": {"continue": more}, "items": items}).to_string())
    }

    fn busy() -> (u16, String) {
        let status = json!({"kind": "Status", "status": "Failure", "code": 503, "reason": "ServiceUnavailable", "message": "busy"});
        (503, status.to_string())
    }

    #[test]
    fn of_a_job_as_large_as_any_only_what_is_asked_for_is_kept() {
        // Control characters have six bytes in JSON.
        let long = "\u{1}".repeat(255 << 10);
        let job = json!({
            "metadata": {
                "namespace": "org", "name": "op", "uid": "u", "generation": 2, "resourceVersion": "7",
                "labels": {OPERATION: "op-uid", "more": long},
                "annotations": {CLOSURE: long, UNATTENDED: "true", "more": long},
                "finalizers": vec![FINALIZER; 1000], "managedFields": [{"fieldsV1": {"f:x": long}}],
            },
            "spec": {"template": {"spec": {"x": long}}},
        });
        let listed = Listed::read(&job.to_string()).unwrap();
        assert_eq!(
            (listed.namespace.as_str(), listed.name.as_str(), listed.uid.as_str()),
            ("org", "op", "u")
        );
        assert_eq!(listed.operation.as_deref(), Some("op-uid"));
        assert!(listed.is_owed() && listed.is_held && listed.borrows && listed.is_changed && !listed.is_step);
        assert!(format!("{listed:?}").len() < 400, "{listed:?}");
        let nothing = Listed::read(r#"{"metadata":{"name":"x","labels":null,"finalizers":null}}"#).unwrap();
        assert!(!nothing.is_owed() && !nothing.is_changed && nothing.operation.is_none());
        assert!(Listed::read(r#"{"metadata":{}}"#).is_none() && Listed::read("[").is_none());
    }

    #[test]
    fn what_a_job_claims_is_read_of_the_whole_of_it() {
        let mut job = json!({
            "metadata": {"namespace": "org", "name": "op", "uid": "u", "finalizers": [FINALIZER], "annotations": {}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        });
        job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job("op-uid", &job));
        assert!(Listed::read_with_claim(&job.to_string()).unwrap().is_genuine(&keys()));
        job["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
        assert!(!Listed::read_with_claim(&job.to_string()).unwrap().is_genuine(&keys()));
        job["metadata"]["finalizers"] = json!([]);
        assert!(Listed::read_with_claim(&job.to_string()).is_none(), "nothing is to be done for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_tried_again_from_its_start_a_few_times_and_then_given_up() {
        let one = |name: &str| json!({"metadata": {"name": name}});
        let (works, asked) = lists(move |count| match count {
            1 => page(&[one("a"), one("b")], "more"),
            2 => busy(),
            3 => page(&[one("a")], "more"),
            _ => page(&[one("b")], ""),
        });
        assert_eq!(works.namespaces(None).await.unwrap(), ["a", "b"]);
        let asked = asked.lock().unwrap().clone();
        let goes_on: Vec<bool> = asked.iter().map(|query| query.contains("continue=more")).collect();
        assert_eq!(goes_on, [false, true, false, true]);

        let (never, asked) = lists(|_| busy());
        let begun = Instant::now();
        let error = never.namespaces(None).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(asked.lock().unwrap().len(), 3);
        assert!(begun.elapsed() >= 3 * PAUSE && begun.elapsed() < WITHIN, "{:?}", begun.elapsed());

        // One that always has another page.
        let (endless, _) = lists(|_| {
            std::thread::yield_now();
            page(&[], "more")
        });
        let error = tokio::time::timeout(2 * WITHIN, async {
            let first = endless.namespaces(None);
            tokio::select! { result = first => result, () = advance() => unreachable!() }
        });
        assert!(matches!(error.await.unwrap(), Err(Error::TimedOut { .. })));
    }

    /// Lets time pass though nothing waits for it.
    async fn advance() {
        loop {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}
