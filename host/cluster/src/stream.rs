//! A *stream* is all objects of a kind, and then every change of one, for ever: a list followed by a watch. It is what kube's
//! own watcher gives, with four differences, for whoever may create an object decides how large it is:
//!
//! - Objects come as texts, one at a time, and whoever reads them decides what is made of a text. Never is more than one
//!   object of a page, or of the watch, in memory.
//! - Pages are asked for by bytes: after each the number of objects of the next follows from their size.
//! - A list that does not go on is an error after [`LIST_TIMEOUT`], and is tried again. So is a watch that does not begin.
//! - After a watch that was refused all objects are listed again, but not before a watch is allowed: the tries cost no list.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use futures::{Stream, stream};
use kube::api::{ListParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, Request, Status};
use kube::runtime::watcher::{Error, Event};
use kube::{Client, Resource};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::buffer::{Buffer, apart};
use crate::items::{Items, Taken};

/// Time for the API server to begin an answer, and to go on with it: as for all that is read.
pub const LIST_TIMEOUT: Duration = crate::client::READ_TIMEOUT;
/// Seconds after which the API server ends a watch; it is begun again where it ended. Below 300, at which proxies cut.
const WATCH_SECONDS: u32 = 290;
/// Time after which a watch of which nothing is heard is taken for broken.
const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// Objects of the first page, whose size nobody knows: were all as large as etcd takes them, the API server would have to
/// hold 75 MiB for it.
const FIRST_PAGE: u32 = 50;
/// The same where few objects are expected, and it is read again and again.
const FIRST_OF_FEW: u32 = 20;
/// Objects of a page at most: client-go's default.
const LARGEST_PAGE: u32 = 500;
/// Bytes that a page should have.
const PAGE_BYTES: usize = 8 << 20;

/// Nothing came from the API server for too long.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer, or not go on, within {} s", LIST_TIMEOUT.as_secs())]
pub struct Silence;

/// An answer of the API server that is none.
#[derive(Debug, thiserror::Error)]
#[error("the API server's answer is cut off")]
struct CutOff;

/// Which objects are streamed.
#[derive(Clone)]
pub struct Selection {
    client: Client,
    request: Request,
    labels: Option<String>,
    fields: Option<String>,
    is_metadata: bool,
}

impl Selection {
    /// All objects of a kind, in a namespace or in all.
    pub fn new(client: Client, resource: &ApiResource, namespace: Option<&str>) -> Selection {
        let request = Request::new(DynamicObject::url_path(resource, namespace));
        Selection { client, request, labels: None, fields: None, is_metadata: false }
    }

    /// Only those that a label selector names.
    pub fn labels(self, selector: &str) -> Selection {
        Selection { labels: Some(selector.to_owned()), ..self }
    }

    /// Only those that a field selector names.
    pub fn fields(self, selector: &str) -> Selection {
        Selection { fields: Some(selector.to_owned()), ..self }
    }

    /// Only their metadata.
    pub fn metadata(self) -> Selection {
        Selection { is_metadata: true, ..self }
    }

    /// Begins. `read` makes an object of its text; what it makes nothing of is passed over.
    pub fn stream<K: Send>(
        self,
        read: impl FnMut(&str) -> Option<K> + Send,
    ) -> impl Stream<Item = Result<Event<K>, Error>> + Send {
        let begun = Course { selection: self, read, state: State::Empty };
        stream::unfold(begun, |mut course| async {
            let event = course.next().await;
            Some((event, course))
        })
    }

    /// Lists all objects once, and hands on the text of each.
    pub async fn list_once(&self, read: impl FnMut(&str)) -> Result<(), kube::Error> {
        self.list_pages(FIRST_PAGE, usize::MAX, read).await.map(drop)
    }

    /// The same of few objects, until their texts have so many bytes. Whether it came to the end of the list.
    pub async fn list_up_to(&self, most: usize, read: impl FnMut(&str)) -> Result<bool, kube::Error> {
        self.list_pages(FIRST_OF_FEW, most, read).await
    }

    async fn list_pages(
        &self,
        mut limit: u32,
        most: usize,
        mut read: impl FnMut(&str),
    ) -> Result<bool, kube::Error> {
        let (mut more, mut bytes) = (None, 0_usize);
        loop {
            let mut page = Page::new(self.list(limit, more).await?);
            while let Some(item) = page.next().await? {
                let text = item.text()?;
                bytes = bytes.saturating_add(text.len());
                if bytes > most {
                    return Ok(false);
                }
                apart(text.len(), || read(text));
            }
            more = Some(page.end()?.more).filter(|more| !more.is_empty());
            if more.is_none() {
                return Ok(true);
            }
            limit = page.next_limit(limit);
        }
    }

    async fn list(&self, limit: u32, more: Option<String>) -> Result<Answer, kube::Error> {
        let params = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(limit),
            continue_token: more,
            ..ListParams::default()
        };
        let request =
            if self.is_metadata { self.request.list_metadata(&params) } else { self.request.list(&params) };
        self.send(request).await
    }

    async fn watch(&self, version: &str) -> Result<Answer, kube::Error> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = if self.is_metadata {
            self.request.watch_metadata(&params, version)
        } else {
            self.request.watch(&params, version)
        };
        self.send(request).await
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Answer, kube::Error> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        let answer = timeout(LIST_TIMEOUT, self.client.request_stream(request));
        Ok(Box::pin(answer.await.map_err(|_| service(Silence))??))
    }
}

/// The body of an answer.
type Answer = Pin<Box<dyn AsyncBufRead + Send>>;

/// A stream, as far as it has come.
struct Course<R> {
    selection: Selection,
    read: R,
    state: State,
}

/// Where it is.
enum State {
    /// Nothing is known, or not any more.
    Empty,
    /// Objects are being listed: where the next page begins, and how many objects it is to have.
    Listing { more: Option<String>, limit: u32, page: Option<Page> },
    /// All were listed, or the watch has ended, at this version.
    Listed(String),
    /// A watch from this version was refused.
    Refused(String),
    /// Changes are awaited.
    Watching(Watch),
}

/// A page of the list that is being read.
struct Page {
    answer: Answer,
    items: Items,
    /// Of its objects so far.
    count: usize,
    bytes: usize,
}

/// A watch.
struct Watch {
    answer: Answer,
    version: String,
    line: Buffer,
}

/// What a list says of itself.
#[derive(Deserialize)]
struct Frame {
    metadata: FrameMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FrameMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    more: String,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow, rename = "type")]
    what: Cow<'l, str>,
    #[serde(borrow)]
    object: &'l RawValue,
}

#[derive(Deserialize)]
struct Versioned<'l> {
    #[serde(borrow)]
    metadata: Version<'l>,
}

#[derive(Deserialize)]
struct Version<'l> {
    #[serde(borrow, rename = "resourceVersion")]
    version: Cow<'l, str>,
}

impl<K, R: FnMut(&str) -> Option<K>> Course<R> {
    async fn next(&mut self) -> Result<Event<K>, Error> {
        loop {
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    /// Goes on; nothing where that is not an event.
    async fn step(&mut self) -> Option<Result<Event<K>, Error>> {
        // An error leaves it where the next step begins anew.
        match std::mem::replace(&mut self.state, State::Empty) {
            State::Empty => {
                // Not told before it is known that there is an answer: who takes the beginning for a success would not pause
                // after an error.
                let page = match self.selection.list(FIRST_PAGE, None).await {
                    Ok(answer) => Page::new(answer),
                    Err(error) => return Some(Err(Error::InitialListFailed(error))),
                };
                self.state = State::Listing { more: None, limit: FIRST_PAGE, page: Some(page) };
                Some(Ok(Event::Init))
            }
            State::Listing { more, limit, page: None } => match self.selection.list(limit, more).await {
                Ok(answer) => {
                    self.state = State::Listing { more: None, limit, page: Some(Page::new(answer)) };
                    None
                }
                Err(error) => Some(Err(Error::InitialListFailed(error))),
            },
            State::Listing { limit, page: Some(mut page), .. } => match page.next().await {
                Ok(Some(item)) => match item.text() {
                    Ok(text) => {
                        self.state = State::Listing { more: None, limit, page: Some(page) };
                        let object = apart(text.len(), || (self.read)(text));
                        object.map(|object| Ok(Event::InitApply(object)))
                    }
                    Err(error) => Some(Err(Error::InitialListFailed(error))),
                },
                Ok(None) => match page.end() {
                    Ok(FrameMeta { more, .. }) if !more.is_empty() => {
                        self.state =
                            State::Listing { more: Some(more), limit: page.next_limit(limit), page: None };
                        None
                    }
                    Ok(FrameMeta { resource_version, .. }) if resource_version.is_empty() => {
                        Some(Err(Error::NoResourceVersion))
                    }
                    Ok(FrameMeta { resource_version, .. }) => {
                        self.state = State::Listed(resource_version);
                        Some(Ok(Event::InitDone))
                    }
                    Err(error) => Some(Err(Error::InitialListFailed(error))),
                },
                Err(error) => Some(Err(Error::InitialListFailed(error))),
            },
            State::Listed(version) => match self.selection.watch(&version).await {
                Ok(answer) => {
                    self.state = State::Watching(Watch::new(answer, version));
                    None
                }
                Err(error) => {
                    self.state = State::after(&error, version, State::Listed);
                    Some(Err(Error::WatchStartFailed(error)))
                }
            },
            State::Refused(version) => match self.selection.watch(&version).await {
                // Allowed again: all is listed anew, so that whoever waits for it knows that it is over.
                Ok(_) => None,
                Err(error) => {
                    self.state = State::after(&error, version, State::Refused);
                    Some(Err(Error::WatchStartFailed(error)))
                }
            },
            State::Watching(mut watch) => match watch.next().await {
                Ok(true) => {
                    let event = apart(watch.line.bytes().len(), || watch.event(&mut self.read));
                    // With its places.
                    watch.line = Buffer::default();
                    match event {
                        Ok(event) => {
                            self.state = State::Watching(watch);
                            event.map(Ok)
                        }
                        Err(Error::WatchError(status)) if status.code == 410 => {
                            Some(Err(Error::WatchError(status)))
                        }
                        Err(error) => {
                            self.state = State::Listed(watch.version);
                            Some(Err(error))
                        }
                    }
                }
                // Its time is over.
                Ok(false) => {
                    self.state = State::Listed(watch.version);
                    None
                }
                Err(error) => {
                    self.state = State::Listed(watch.version);
                    Some(Err(Error::WatchFailed(error)))
                }
            },
        }
    }
}

impl State {
    /// Where it is after a watch from this version did not begin; `otherwise`: for another cause than those known here.
    fn after(error: &kube::Error, version: String, otherwise: fn(String) -> State) -> State {
        match error {
            // All is listed anew.
            error if is_gone(error) => State::Empty,
            error if is_refused(error) => State::Refused(version),
            _ => otherwise(version),
        }
    }
}

impl Page {
    fn new(answer: Answer) -> Page {
        Page { answer, items: Items::default(), count: 0, bytes: 0 }
    }

    /// The text of the next object; none where it was the last one.
    async fn next(&mut self) -> Result<Option<Buffer>, kube::Error> {
        loop {
            let bytes = timeout(LIST_TIMEOUT, self.answer.fill_buf()).await.map_err(|_| service(Silence))?;
            let bytes = bytes.map_err(kube::Error::ReadEvents)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            match self.items.take(bytes).map_err(service)? {
                Taken::All => {
                    let taken = bytes.len();
                    self.answer.consume_unpin(taken);
                }
                Taken::Full(taken) => {
                    self.answer.consume_unpin(taken);
                    self.items.make_room().await.map_err(service)?;
                }
                Taken::Item(taken, item) => {
                    self.answer.consume_unpin(taken);
                    self.count += 1;
                    self.bytes += item.bytes().len();
                    return Ok(Some(item));
                }
            }
        }
    }

    /// What the list says of itself, after its last object.
    fn end(&self) -> Result<FrameMeta, kube::Error> {
        let frame = self.items.frame().ok_or_else(|| service(CutOff))?;
        let frame: Frame = serde_json::from_slice(frame).map_err(kube::Error::SerdeError)?;
        Ok(frame.metadata)
    }

    /// How many objects of this size make a page; after an empty page as many as before.
    fn next_limit(&self, limit: u32) -> u32 {
        let Some(each) = self.bytes.checked_div(self.count) else { return limit };
        let fit = PAGE_BYTES / each.max(1);
        u32::try_from(fit).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE)
    }
}

impl Watch {
    fn new(answer: Answer, version: String) -> Watch {
        Watch { answer, version, line: Buffer::default() }
    }

    /// Waits for the next line; whether there is one. A line that is cut off is no event.
    async fn next(&mut self) -> Result<bool, kube::Error> {
        loop {
            // What has begun goes on soon, and may have a place that others wait for.
            let patience = if self.line.bytes().is_empty() { WATCH_TIMEOUT } else { LIST_TIMEOUT };
            let bytes = match timeout(patience, self.answer.fill_buf()).await {
                Ok(Ok(bytes)) if !bytes.is_empty() => bytes,
                // How a server that is restarted, and proxies, end a watch.
                Ok(Err(error)) if !is_end(&error) => return Err(kube::Error::ReadEvents(error)),
                Ok(_) | Err(_) => return Ok(false),
            };
            let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
            let taken = end.unwrap_or(bytes.len()).min(self.line.room());
            self.line.extend(bytes.get(..taken).unwrap_or_default());
            self.answer.consume_unpin(taken);
            if end == Some(taken) {
                return Ok(true);
            }
            self.line.make_room().await.map_err(service)?;
        }
    }

    /// The event of the line; none where it is a sign of life only.
    fn event<K>(&mut self, mut read: impl FnMut(&str) -> Option<K>) -> Result<Option<Event<K>>, Error> {
        let wrong = |error| Error::WatchFailed(kube::Error::SerdeError(error));
        let line: Line<'_> = serde_json::from_slice(self.line.bytes()).map_err(wrong)?;
        let text = line.object.get();
        if line.what == "ERROR" {
            let status: Status = serde_json::from_str(text).map_err(wrong)?;
            return Err(Error::WatchError(status.boxed()));
        }
        let of: Versioned<'_> = serde_json::from_str(text).map_err(wrong)?;
        self.version = of.metadata.version.into_owned();
        Ok(match &*line.what {
            "ADDED" | "MODIFIED" => read(text).map(Event::Apply),
            "DELETED" => read(text).map(Event::Delete),
            _ => None,
        })
    }
}

/// Whether the version is too old to go on from.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

/// Whether the API server does not know the account, or does not allow it.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

/// Whether the connection has ended where there was more to come.
fn is_end(error: &std::io::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if ["unexpected EOF", "unexpected end of file", "end of file before message length reached"]
            .iter()
            .any(|end| words.contains(end))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn service(error: impl std::error::Error + Send + Sync + 'static) -> kube::Error {
    kube::Error::Service(Box::new(error))
}

#[cfg(test)]
mod tests;
