//! The *claim key* is what only hookhost has, and by which it proves that an object is one that it made: see
//! [`hookhost_core::claim`]. It is in a Secret of hookhost's own namespace, so that it outlives every process.
//!
//! | key of the Secret's data | what it is |
//! |---|---|
//! | `current` | 32 bytes; claims are made with it. Where there is none, hookhost makes one |
//! | `previous` | the one before, whose claims are still believed; may be absent |
//!
//! - **Only the leader reads and writes it**, when it begins to lead. Without a lease two may write at once: the Secret's
//!   resourceVersion lets one of them be the first, and the other takes what is there.
//! - **It is never written over.** What is no key there is told, and nothing is done until somebody has repaired it.
//! - It is read again where a claim does not hold: somebody may have put back a key that was lost.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::claim::{KEY_BYTES, Key, Keys};
use hookhost_core::keys::FIELD_MANAGER;
use hookhost_helm::text::printable;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::time::sleep;

use hookhost_cluster::client::{self, Call, Verb};
use hookhost_cluster::error::{Error, chain};
use hookhost_cluster::writer::Writer;

/// The Secret's name, unless told otherwise.
pub const DEFAULT_SECRET: &str = "hookhost-claim-key";

/// The Secret's key for the key by which claims are made.
const CURRENT: &str = "current";

/// The Secret's key for the one before.
const PREVIOUS: &str = "previous";

/// Tries to write a key while others do: each try that is in vain finds the key of another.
const TRIES: usize = 5;

/// Pauses after the Secret could not be read or written: the first, and the longest. Nothing runs meanwhile.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Where the key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSecret {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
}

/// `namespace/name`
impl std::fmt::Display for ClaimSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", printable(&self.namespace), printable(&self.name))
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The API server refused or could not be asked.
    #[error(transparent)]
    Api(#[from] client::Error),
    /// What is in the Secret is no key.
    #[error("its {0} is not {KEY_BYTES} bytes. Put the right key there, or delete that entry")]
    NoKey(&'static str),
    /// The operating system has no random numbers.
    #[error("this machine gives no random numbers")]
    NoRandom,
    /// Others changed the Secret each time.
    #[error("others change it again and again")]
    Contended,
}

/// What is known of the key.
#[derive(Clone, Debug)]
enum State {
    /// It has not been read yet.
    Unread,
    /// Why it is not there.
    Unavailable(String),
    /// It is there.
    Known(Arc<Keys>),
}

/// The key, as this process has it; clones share it.
#[derive(Clone)]
pub(crate) struct Keyring(Arc<Inner>);

struct Inner {
    secret: ClaimSecret,
    api: Api<Secret>,
    writer: Writer,
    state: watch::Sender<State>,
}

impl Keyring {
    pub(crate) fn new(client: kube::Client, writer: Writer, secret: ClaimSecret) -> Keyring {
        let api = Api::namespaced(client, &secret.namespace);
        Keyring(Arc::new(Inner { secret, api, writer, state: watch::Sender::new(State::Unread) }))
    }

    /// The keys; none as long as they are not known.
    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        match &*self.0.state.borrow() {
            State::Known(keys) => Some(keys.clone()),
            State::Unread | State::Unavailable(_) => None,
        }
    }

    /// The keys, for what is not done without them.
    pub(crate) fn needed(&self) -> Result<Arc<Keys>, Error> {
        self.keys().ok_or(Error::NoClaimKey)
    }

    /// Waits until the keys are known.
    pub(crate) async fn known(&self) -> Arc<Keys> {
        let mut state = self.0.state.subscribe();
        loop {
            if let State::Known(keys) = &*state.borrow_and_update() {
                return keys.clone();
            }
            // This holds the sender, so it is never closed.
            let _ = state.changed().await;
        }
    }

    /// Calls this with the keys, and again whenever they are others, for ever.
    pub(crate) async fn follow(&self, mut tell: impl FnMut(Arc<Keys>)) {
        let mut state = self.0.state.subscribe();
        loop {
            let keys = match &*state.borrow_and_update() {
                State::Known(keys) => Some(keys.clone()),
                State::Unread | State::Unavailable(_) => None,
            };
            keys.map(&mut tell);
            // This holds the sender, so it is never closed.
            let _ = state.changed().await;
        }
    }

    /// Why the keys cannot be had; none where they are known, or nobody has looked yet.
    pub(crate) fn problem(&self) -> Option<String> {
        match &*self.0.state.borrow() {
            State::Unavailable(why) => Some(why.clone()),
            State::Unread | State::Known(_) => None,
        }
    }

    /// Which Secret it is in.
    pub(crate) fn secret(&self) -> &ClaimSecret {
        &self.0.secret
    }

    /// Reads the key, or makes it, trying for ever; `tell` is called when it cannot be had, and when it is there.
    pub(crate) async fn keep(self, tell: impl Fn()) {
        let [mut pause, longest] = PAUSES;
        loop {
            match self.load().await {
                Ok(()) => {
                    tell();
                    return;
                }
                Err(error) => {
                    let why = chain(&error);
                    tracing::warn!(secret = %self.0.secret, why, "the key of claims cannot be had; trying again");
                    self.0.state.send_replace(State::Unavailable(why));
                    tell();
                    sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Reads the key again, where it is known: somebody may have changed it. Whether it is another now.
    pub(crate) async fn refresh(&self) -> Result<bool, KeyError> {
        let Some(before) = self.keys() else { return Ok(false) };
        let Some(keys) = self.read().await?.map(|secret| found(&secret)).transpose()?.flatten() else {
            // What is gone from the Secret is still good here.
            return Ok(false);
        };
        let is_new = *before != keys;
        if is_new {
            tracing::info!(secret = %self.0.secret, "the key of claims was changed");
            self.0.state.send_replace(State::Known(Arc::new(keys)));
        }
        Ok(is_new)
    }

    /// Only reads the key: for whoever makes no claims.
    pub(crate) async fn load_existing(&self) -> Result<(), KeyError> {
        if let Some(keys) = self.read().await?.map(|secret| found(&secret)).transpose()?.flatten() {
            self.0.state.send_replace(State::Known(Arc::new(keys)));
        }
        Ok(())
    }

    async fn load(&self) -> Result<(), KeyError> {
        for _ in 0..TRIES {
            let secret = self.read().await?;
            if let Some(keys) = secret.as_ref().map(found).transpose()?.flatten() {
                self.0.state.send_replace(State::Known(Arc::new(keys)));
                return Ok(());
            }
            match self.write(secret, new_key()?).await {
                // What was written is read back: what is there counts.
                Ok(()) => tracing::info!(
                    secret = %self.0.secret,
                    "made a key of claims: there was none. Runs that were begun with one that was lost wait for it"
                ),
                Err(client::Error::AlreadyExists { .. } | client::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(KeyError::Contended)
    }

    async fn read(&self) -> Result<Option<Secret>, KeyError> {
        let call = self.call(Verb::Get);
        match client::read(&call, self.0.api.get(&self.0.secret.name)).await {
            Ok(secret) => Ok(Some(secret)),
            Err(client::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a key into the Secret, which has none, if nobody has changed it since it was read; makes it where there is none.
    async fn write(&self, secret: Option<Secret>, key: Vec<u8>) -> Result<(), client::Error> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run: false };
        let (api, name, is_there) = (&self.0.api, &self.0.secret.name, secret.is_some());
        let mut secret = secret.unwrap_or_default();
        secret.metadata.name = Some(name.clone());
        secret.data.get_or_insert_default().insert(CURRENT.to_owned(), ByteString(key));
        let sent = if is_there {
            // With the resourceVersion that was read.
            self.0.writer.send(&self.call(Verb::Update), api.replace(name, &params, &secret)).await
        } else {
            self.0.writer.send(&self.call(Verb::Create), api.create(&params, &secret)).await
        };
        sent.map(drop)
    }

    fn call(&self, verb: Verb) -> Call {
        Call::new::<Secret>(verb, Some(&self.0.secret.namespace), &self.0.secret.name)
    }
}

/// The keys in a Secret; none where there is none to make claims with.
fn found(secret: &Secret) -> Result<Option<Keys>, KeyError> {
    let key = |name: &'static str| {
        // Whoever takes the bytes away with an editor leaves an empty text.
        let bytes = secret.data.as_ref().and_then(|data| data.get(name)).filter(|bytes| !bytes.0.is_empty());
        bytes.map(|bytes| Key::new(&bytes.0).ok_or(KeyError::NoKey(name))).transpose()
    };
    let previous = key(PREVIOUS)?;
    Ok(key(CURRENT)?.map(|current| Keys { current, previous }))
}

fn new_key() -> Result<Vec<u8>, KeyError> {
    let mut bytes = vec![0; KEY_BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| KeyError::NoRandom)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: &[(&str, &[u8])]) -> Secret {
        let data = data.iter().map(|(name, bytes)| ((*name).to_owned(), ByteString(bytes.to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_secret_has_the_key_the_one_before_it_or_nothing_but_never_half_a_key() {
        assert!(matches!(found(&Secret::default()), Ok(None)));
        assert!(matches!(found(&secret(&[(CURRENT, b"")])), Ok(None)));
        let key = |byte: u8| Key::new(&[byte; KEY_BYTES]).unwrap();
        let both = secret(&[(CURRENT, &[1; 32]), (PREVIOUS, &[2; 32])]);
        assert_eq!(found(&both).unwrap(), Some(Keys { current: key(1), previous: Some(key(2)) }));
        // As it is when a key is changed: hookhost makes the new one.
        assert!(matches!(found(&secret(&[(PREVIOUS, &[2; 32])])), Ok(None)));
        for broken in [secret(&[(CURRENT, &[1; 31])]), secret(&[(CURRENT, &[1; 32]), (PREVIOUS, b"x")])] {
            assert!(matches!(found(&broken), Err(KeyError::NoKey(_))));
        }
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        assert!(one.len() == KEY_BYTES && one != other && one != [0; KEY_BYTES]);
    }
}
