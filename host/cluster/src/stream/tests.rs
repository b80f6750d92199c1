//! What a stream makes of the API server's answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use http::{Request as HttpRequest, Response};
use http_body_util::StreamBody;
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

/// What the API server answers to one request.
enum Script {
    Says(u16, String),
    /// Nothing at all.
    Silent,
    /// This, and then nothing more.
    Stuck(&'static str),
}

/// An API server that answers by a script, and what it was asked.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(VecDeque<Script>, Vec<String>)>>);

impl Server {
    fn new(answers: impl IntoIterator<Item = Script>) -> Server {
        Server(Arc::new(Mutex::new((answers.into_iter().collect(), Vec::new()))))
    }

    fn stream(&self) -> impl Stream<Item = Result<Event<String>, Error>> {
        let server = self.clone();
        let service = tower::service_fn(move |request: HttpRequest<Body>| {
            let mut state = server.0.lock().unwrap();
            state.1.push(request.uri().query().unwrap_or_default().to_owned());
            let answer = state.0.pop_front().unwrap_or(Script::Silent);
            async move {
                match answer {
                    Script::Says(code, text) => Ok::<_, std::convert::Infallible>(
                        Response::builder().status(code).body(body(text, false)).unwrap(),
                    ),
                    Script::Silent => std::future::pending().await,
                    Script::Stuck(text) => Ok(Response::new(body(text.to_owned(), true))),
                }
            }
        });
        let resource = crate::resource::operation_resource();
        let selection = Selection::new(Client::new(service, "default"), &resource, None);
        selection.stream(|text| {
            let object: Value = serde_json::from_str(text).ok()?;
            object["metadata"]["name"].as_str().map(str::to_owned)
        })
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }
}

type Frames =
    futures::stream::BoxStream<'static, Result<hyper::body::Frame<Bytes>, std::convert::Infallible>>;

/// A body that is this text; and then does not end, if it is stuck.
fn body(text: String, is_stuck: bool) -> StreamBody<Frames> {
    let begin = stream::iter([Ok(hyper::body::Frame::data(Bytes::from(text)))]);
    StreamBody::new(if is_stuck { begin.chain(stream::pending()).boxed() } else { begin.boxed() })
}

fn object(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": version}})
}

fn page(names: &[&str], version: &str, more: &str) -> Script {
    let items: Vec<Value> = names.iter().map(|name| object(name, "1")).collect();
    let list = json!({"kind": "OperationList", "metadata": {"resourceVersion": version, "continue": more}, "items": items});
    Script::Says(200, list.to_string())
}

fn changes(lines: &[(&str, &str, &str)]) -> Script {
    let line = |(what, name, version): &(&str, &str, &str)| {
        format!("{}\n", json!({"type": what, "object": object(name, version)}))
    };
    Script::Says(200, lines.iter().map(line).collect())
}

fn status(code: u16, message: &str) -> String {
    json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": "Expired"})
        .to_string()
}

async fn first(stream: impl Stream<Item = Result<Event<String>, Error>>, count: usize) -> Vec<String> {
    let words = stream.take(count).map(|event| match event {
        Ok(event) => match event {
            Event::Init => "init".to_owned(),
            Event::InitApply(name) => format!("listed {name}"),
            Event::InitDone => "done".to_owned(),
            Event::Apply(name) => format!("applied {name}"),
            Event::Delete(name) => format!("deleted {name}"),
        },
        Err(error) => format!("error: {error}"),
    });
    words.collect().await
}

#[tokio::test(start_paused = true)]
async fn all_objects_come_page_by_page_and_then_every_change_from_there_on() {
    let server = Server::new([
        page(&["a", "b"], "5", "next"),
        page(&["c"], "5", ""),
        changes(&[("ADDED", "d", "6"), ("BOOKMARK", "", "9")]),
        changes(&[("DELETED", "a", "10")]),
    ]);
    let found = first(server.stream(), 7).await;
    assert_eq!(found, ["init", "listed a", "listed b", "listed c", "done", "applied d", "deleted a"]);
    let asked = server.asked();
    assert!(asked[0].contains("limit=50") && asked[1].contains("continue=next"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=5") && asked[2].contains("watch=true"), "{asked:?}");
    assert!(asked[3].contains("resourceVersion=9"), "a watch that ended goes on where it was: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_page_has_as_many_objects_as_fit_its_bytes() {
    let large = json!({"metadata": {"name": "a"}, "spec": "x".repeat(1 << 20)});
    let list = |item: &Value| {
        Script::Says(
            200,
            json!({"metadata": {"resourceVersion": "1", "continue": "more"}, "items": [item]}).to_string(),
        )
    };
    let server = Server::new([list(&large), list(&object("b", "1")), page(&[], "1", "")]);
    assert_eq!(first(server.stream(), 4).await.len(), 4);
    let limits: Vec<String> = server
        .asked()
        .iter()
        .map(|query| {
            let limit = query.split('&').find_map(|pair| pair.strip_prefix("limit="));
            limit.unwrap().to_owned()
        })
        .collect();
    assert_eq!(limits, ["50", "7", "500"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_change_is_read_whole_and_one_that_is_cut_off_is_none() {
    let large =
        |name: &str| json!({"metadata": {"name": name, "resourceVersion": "6"}, "spec": "x".repeat(3 << 20)});
    let line = |name: &str| format!("{}\n", json!({"type": "ADDED", "object": large(name)}));
    let small = format!("{}\n", json!({"type": "ADDED", "object": object("b", "7")}));
    let cut_off = line("c")[..1 << 20].to_owned();
    let server = Server::new([
        page(&[], "5", ""),
        Script::Says(200, [line("a"), small, cut_off].concat()),
        changes(&[("ADDED", "d", "8")]),
    ]);
    assert_eq!(first(server.stream(), 5).await, ["init", "done", "applied a", "applied b", "applied d"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_is_an_error_in_time_and_is_tried_again() {
    for (hangs, events) in [(Script::Silent, 4), (Script::Stuck(r#"{"items":[{"meta"#), 5)] {
        let server = Server::new([hangs, page(&["a"], "5", "")]);
        let begun = Instant::now();
        let found = first(server.stream(), events).await;
        let error = found.iter().find(|word| word.starts_with("error")).unwrap();
        assert!(error.contains("did not answer, or not go on, within 20 s"), "{error}");
        assert!(begun.elapsed() < LIST_TIMEOUT * 2);
        assert_eq!(found.last().unwrap(), "done", "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_version_is_too_old_begins_with_a_list_again() {
    let gone = format!(
        "{}\n",
        json!({"type": "ERROR", "object": serde_json::from_str::<Value>(&status(410, "old")).unwrap()})
    );
    for end in [Script::Says(410, status(410, "old")), Script::Says(200, gone)] {
        let server = Server::new([page(&["a"], "5", ""), end, page(&["b"], "7", "")]);
        let found = first(server.stream(), 7).await;
        assert_eq!(&found[..3], ["init", "listed a", "done"]);
        assert!(found[3].starts_with("error"), "{found:?}");
        assert_eq!(&found[4..], ["init", "listed b", "done"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_refused_begins_with_a_list_again_once_it_is_allowed() {
    for code in [401, 403] {
        let refused = || Script::Says(code, status(code, "not now"));
        let busy = Script::Says(500, status(500, "busy"));
        let tries = [refused(), refused(), busy, refused(), changes(&[])];
        let mut answers = vec![page(&["a"], "5", "")];
        answers.extend(tries);
        answers.push(page(&["b"], "7", ""));
        let server = Server::new(answers);
        let found = first(server.stream(), 10).await;
        assert!(found[3..7].iter().all(|word| word.starts_with("error")), "{found:?}");
        assert_eq!(&found[7..], ["init", "listed b", "done"], "who waits knows when it is over");
        let lists = server.asked().iter().filter(|query| !query.contains("watch=true")).count();
        assert_eq!(lists, 2, "no list for each try: {:#?}", server.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_cut_off_is_an_error_not_an_empty_cluster() {
    let server =
        Server::new([Script::Says(200, r#"{"metadata":{"resourceVersion":"1"},"items":["#.to_owned())]);
    let found = first(server.stream(), 2).await;
    assert!(found[1].contains("cut off"), "{found:?}");
}
