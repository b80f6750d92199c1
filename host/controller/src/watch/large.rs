//! A *large* text is one that few of which may be in memory at once: whoever may create an object decides how large it is, and each
//! watch, list or get may have one under way. Small ones are read as they come; who reads on in a larger one has a place for
//! it first.

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::items::{OBJECT_BYTES, TooLong};
use crate::memory::WORKERS;

/// Bytes of a text that needs no place: objects that nobody has blown up have some thousand.
pub(super) const SMALL_BYTES: usize = 256 << 10;

/// The places: one for each thread, so that none waits for a text that another computes with.
static PLACES: Semaphore = Semaphore::const_new(WORKERS);

/// The place of a text that is being read, once it needs one. Dropped when nothing of the text is left.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<SemaphorePermit<'static>>);

impl Place {
    /// Waits for a place, if a text of so many bytes needs one before it goes on.
    pub(super) async fn reserve(&mut self, bytes: usize) {
        self.reserve_of(&PLACES, bytes).await;
    }

    async fn reserve_of(&mut self, places: &'static Semaphore, bytes: usize) {
        if bytes >= SMALL_BYTES && self.0.is_none() {
            // They are never closed.
            self.0 = places.acquire().await.ok();
        }
    }
}

/// Empties a buffer, and keeps no more of its memory than a small text needs.
pub(super) fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(SMALL_BYTES);
}

/// The text of an answer that is one object, with its place.
pub(crate) async fn text(
    client: &Client,
    request: http::Request<Vec<u8>>,
) -> Result<(String, Place), kube::Error> {
    let mut answer = Box::pin(client.request_stream(request).await?);
    let (mut text, mut place) = (Vec::new(), Place::default());
    loop {
        let bytes = fill(&mut answer).await?;
        if bytes.is_empty() {
            return Ok((String::from_utf8(text).map_err(kube::Error::FromUtf8)?, place));
        }
        if text.len() + bytes.len() > OBJECT_BYTES {
            let too_long = TooLong { what: "an object", allowed: OBJECT_BYTES };
            return Err(kube::Error::Service(Box::new(too_long)));
        }
        text.extend_from_slice(bytes);
        let taken = bytes.len();
        answer.consume_unpin(taken);
        place.reserve(text.len()).await;
    }
}

async fn fill(answer: &mut (impl AsyncBufRead + Unpin)) -> Result<&[u8], kube::Error> {
    answer.fill_buf().await.map_err(kube::Error::ReadEvents)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn no_more_large_texts_are_read_at_once_than_there_are_places_and_small_ones_need_none() {
        static PLACES: Semaphore = Semaphore::const_new(WORKERS);
        let reserve = |bytes: usize| {
            let mut place = Place::default();
            let has_one = place.reserve_of(&PLACES, bytes).now_or_never().is_some();
            has_one.then_some(place)
        };
        let mut places: Vec<Option<Place>> = (0..WORKERS).map(|_| reserve(SMALL_BYTES)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(reserve(OBJECT_BYTES).is_none() && reserve(SMALL_BYTES - 1).is_some());
        places.pop();
        assert!(reserve(OBJECT_BYTES).is_some());
    }

    #[test]
    fn of_the_memory_of_a_large_text_little_is_kept() {
        let mut buffer = vec![0; OBJECT_BYTES];
        clear(&mut buffer);
        assert!(buffer.is_empty() && buffer.capacity() <= SMALL_BYTES);
    }
}
