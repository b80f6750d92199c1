//! A *buffer* holds an object as the API server sends it, until it has been read. Whoever may create an object decides how large it
//! is, and any number are on their way at once: a list or watch for each namespace, and what is asked for by name. So all of
//! them share one budget.
//!
//! An object of a usual size needs none of it. For a larger one the buffer takes a place, and for one that is larger still another,
//! of which there is one; it waits for these. Whoever has the last place needs no other, so nobody waits for ever.
//!
//! What is made of a large object takes some milliseconds, on a busy machine many more. Meanwhile another thread does what there is
//! to do for others, so that nobody waits for as many of them as somebody else has made.

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;

/// Bytes of one object. etcd takes 1.5 MiB unless told otherwise, and what it keeps in a shorter form is a few times as long
/// in JSON.
pub const OBJECT_BYTES: usize = 16 << 20;

/// Bytes of an object of a usual size: some ten times those that charts and people make.
const SMALL_BYTES: usize = 32 << 10;

/// Bytes of a large object: one that etcd takes, unless much of it is written otherwise in JSON.
const LARGE_BYTES: usize = 2 << 20;

/// Large objects that are on their way at once.
const LARGE_AT_ONCE: usize = 4;

/// What all buffers of more than a usual size take together: large ones, and one that may be of any size.
pub const BUFFERS_BYTES: usize = LARGE_AT_ONCE * LARGE_BYTES + OBJECT_BYTES;

/// Places for large objects, and for one of any size.
#[derive(Debug)]
struct Places {
    large: Semaphore,
    any_size: Semaphore,
}

/// Those of the process: its memory is one, too.
static PLACES: Places = Places::new();

/// A text that no API server should send.
#[derive(Debug, thiserror::Error)]
#[error("the API server sent {what} of more than {allowed} bytes")]
pub struct TooLong {
    pub what: &'static str,
    pub allowed: usize,
}

/// The text of one object, as far as it has come, with its places.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    places: &'static Places,
    large: Option<SemaphorePermit<'static>>,
    any_size: Option<SemaphorePermit<'static>>,
}

impl Places {
    const fn new() -> Places {
        Places { large: Semaphore::const_new(LARGE_AT_ONCE), any_size: Semaphore::const_new(1) }
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::of(&PLACES)
    }
}

impl Buffer {
    fn of(places: &'static Places) -> Buffer {
        Buffer { bytes: Vec::new(), places, large: None, any_size: None }
    }

    /// How many bytes it may have with the places that it has.
    fn most(&self) -> usize {
        match (&self.large, &self.any_size) {
            (None, _) => SMALL_BYTES,
            (Some(_), None) => LARGE_BYTES,
            (Some(_), Some(_)) => OBJECT_BYTES,
        }
    }

    /// How many more it may have before it needs [`Buffer::make_room`].
    pub fn room(&self) -> usize {
        self.most() - self.bytes.len()
    }

    /// Waits for the next place, if it is full.
    ///
    /// # Errors
    /// If it has as much as any object may have.
    pub async fn make_room(&mut self) -> Result<(), TooLong> {
        if self.room() > 0 {
            return Ok(());
        }
        // Neither is ever closed.
        match (&self.large, &self.any_size) {
            (None, _) => self.large = self.places.large.acquire().await.ok(),
            (Some(_), None) => self.any_size = self.places.any_size.acquire().await.ok(),
            (Some(_), Some(_)) => return Err(TooLong { what: "an object", allowed: OBJECT_BYTES }),
        }
        // All of it at once, for to grow by doubling takes more for a moment: what is not written to takes no memory.
        self.bytes.reserve_exact(self.most() - self.bytes.len());
        Ok(())
    }

    /// One more byte, for which there is room.
    pub fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// More bytes, for which there is room.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    async fn filled(mut self, mut body: impl AsyncBufRead + Unpin) -> Result<Buffer, kube::Error> {
        loop {
            let bytes = body.fill_buf().await.map_err(kube::Error::ReadEvents)?;
            if bytes.is_empty() {
                return Ok(self);
            }
            let taken = bytes.len().min(self.room());
            self.extend(&bytes[..taken]);
            body.consume_unpin(taken);
            if taken == 0 {
                self.make_room().await.map_err(|error| kube::Error::Service(Box::new(error)))?;
            }
        }
    }

    /// What it has so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same as text.
    pub fn text(&self) -> Result<&str, kube::Error> {
        use serde::de::Error as _;
        // As a reader of JSON says it.
        let not_text = |error: std::str::Utf8Error| kube::Error::SerdeError(serde_json::Error::custom(error));
        std::str::from_utf8(&self.bytes).map_err(not_text)
    }
}

/// Parses so many bytes of text: a large text on a thread that serves nothing else, and one at a time.
pub fn apart<T>(bytes: usize, make: impl FnOnce() -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    let has_others =
        || Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes <= SMALL_BYTES || !has_others() {
        return make();
    }
    block_in_place(|| {
        let _turn = TURN.lock();
        make()
    })
}

/// The answer to a request, which is one object.
pub async fn text(client: &Client, request: http::Request<Vec<u8>>) -> Result<Buffer, kube::Error> {
    Buffer::default().filled(Box::pin(client.request_stream(request).await?)).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::FutureExt;
    use futures::io::Cursor;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_made_of_a_large_object_keeps_nothing_else_waiting() {
        let (begun, has_begun) = mpsc::channel();
        let (other, others) = mpsc::channel();
        let made = tokio::spawn(async move {
            apart(SMALL_BYTES + 1, || {
                begun.send(()).unwrap();
                others.recv_timeout(Duration::from_secs(30))
            })
        });
        has_begun.recv().unwrap();
        // The only thread that works is busy with it.
        tokio::spawn(async move { other.send("done").unwrap() });
        assert_eq!(made.await.unwrap(), Ok("done"));
    }

    #[tokio::test]
    async fn however_many_objects_are_on_their_way_the_large_ones_share_a_few_places() {
        static OWN: Places = Places::new();
        let of = |bytes: usize| Buffer::of(&OWN).filled(Cursor::new(vec![b'x'; bytes]));
        // Usual objects take no place.
        let mut small = Vec::new();
        for _ in 0..100 {
            small.push(of(SMALL_BYTES).await.unwrap());
        }
        assert!(small.iter().all(|buffer| buffer.bytes().len() == SMALL_BYTES));
        assert_eq!(OWN.large.available_permits(), LARGE_AT_ONCE);

        let mut large = Vec::new();
        for _ in 0..LARGE_AT_ONCE {
            large.push(of(SMALL_BYTES + 1).await.unwrap());
        }
        let mut next = Box::pin(of(LARGE_BYTES));
        assert!(next.as_mut().now_or_never().is_none(), "there is no place");
        assert!(of(SMALL_BYTES).now_or_never().is_some(), "which a usual one does not need");
        drop(large.pop());
        large.push(next.await.unwrap());
        let taken = large.iter().map(|buffer| buffer.bytes.capacity()).max();
        assert_eq!(taken, Some(LARGE_BYTES), "what it grows to is what is counted");

        // One of any size, and those that are not so large go on beside it.
        large.truncate(LARGE_AT_ONCE - 2);
        let largest = of(OBJECT_BYTES).await.unwrap();
        assert_eq!(largest.bytes.capacity(), OBJECT_BYTES);
        let mut next = Box::pin(of(LARGE_BYTES + 1));
        assert!(next.as_mut().now_or_never().is_none());
        drop(largest);
        drop(next.await.unwrap());

        let error = of(OBJECT_BYTES + 1).await.unwrap_err().to_string();
        assert!(error.contains("an object of more than 16777216 bytes"), "{error}");
        drop(large);
        assert_eq!((OWN.large.available_permits(), OWN.any_size.available_permits()), (LARGE_AT_ONCE, 1));
    }
}
