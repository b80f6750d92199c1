//! A *line* is one event, with the fields of the spans around it, as bytes.
//!
//! tracing-subscriber's own JSON is not used: it can neither name the fields as vWorkspace's tools look for them, nor bound
//! them, nor put JSON into a line as JSON.

use std::fmt::{self, Write};

use hookhost_helm::text::{is_unprintable, terminal_safe_json};
use k8s_openapi::jiff::Timestamp;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{CLUSTER_ID, Format};

/// Bytes of one text in a line. A message of an Operation's condition can be longer, but then the end of a log in it
/// is what is missing here.
pub const FIELD_BYTES: usize = 8 * 1024;
/// Bytes of a JSON document in a line: the answers of a few dozen policies, each of which is bounded by the contract.
/// A longer one becomes a text, and is cut as such.
const JSON_BYTES: usize = 64 * 1024;
/// A field of this ending holds JSON, which becomes part of the line, under the name without it.
const JSON_SUFFIX: &str = ".json";
/// The field in which tracing puts an event's message.
const MESSAGE: &str = "message";
/// Spans of other crates describe requests, not Operations, and their fields are not ours to promise.
const OUR_TARGETS: &str = "hookhost";
/// The names that the line itself has.
const RESERVED: [&str; 6] = ["ts", "level", "msg", "controller", "operator_version", "target"];

/// Writes events as lines.
pub(super) struct Lines<W> {
    format: Format,
    write: W,
}

/// Names and values, in the order in which they came.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl<W: Fn(&[u8])> Lines<W> {
    /// Lines of a format, given one by one to a function.
    pub(super) fn new(format: Format, write: W) -> Lines<W> {
        Lines { format, write }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&[u8]) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !attributes.metadata().target().starts_with(OUR_TARGETS) {
            return;
        }
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                outer.0.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        let mut message = String::new();
        for (name, value) in own.0 {
            match value {
                Value::String(text) if name == MESSAGE && message.is_empty() => message = text,
                value => fields.set(name, value),
            }
        }
        let metadata = event.metadata();
        let head = Head { level: level(*metadata.level()), message: &message, target: metadata.target() };
        (self.write)(&match self.format {
            Format::Json => head.json(&fields),
            Format::Text => head.text(&fields),
        });
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

struct Head<'a> {
    level: &'static str,
    message: &'a str,
    target: &'a str,
}

impl Head<'_> {
    fn json(&self, fields: &Fields) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        // Strings, numbers and JSON values into memory: none of it can fail, and a line cut short is better than none.
        let _ = self.write_json(&mut line, fields);
        // A person may look at it in a terminal all the same.
        let mut line = terminal_safe_json(String::from_utf8(line).unwrap_or_default()).into_bytes();
        line.push(b'\n');
        line
    }

    fn write_json(&self, line: &mut Vec<u8>, fields: &Fields) -> Result<(), serde_json::Error> {
        let mut serializer = serde_json::Serializer::new(line);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ts", &now())?;
        map.serialize_entry("level", self.level)?;
        map.serialize_entry("msg", self.message)?;
        map.serialize_entry("controller", "hookhost")?;
        map.serialize_entry("operator_version", env!("CARGO_PKG_VERSION"))?;
        if let Some(id) = CLUSTER_ID.get() {
            map.serialize_entry("cluster_id", id)?;
        }
        for (name, value) in &fields.0 {
            if RESERVED.contains(name) {
                map.serialize_entry(&format!("{name}_"), value)?;
            } else if *name != "cluster_id" || CLUSTER_ID.get().is_none() {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry("target", self.target)?;
        map.end()
    }

    fn text(&self, fields: &Fields) -> Vec<u8> {
        let mut line = format!("{} {:5} ", now(), self.level.to_ascii_uppercase());
        push_printable(&mut line, self.message);
        for (name, value) in &fields.0 {
            let _ = write!(line, " {name}=");
            match value {
                Value::String(text) if is_word(text) => line.push_str(text),
                // As JSON, in quotes; what JSON leaves as it is, but a terminal would obey, becomes a space.
                other => push_printable(&mut line, &other.to_string()),
            }
        }
        line.push('\n');
        line.into_bytes()
    }
}

fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

/// Whether a text can stand without quotes.
fn is_word(text: &str) -> bool {
    let plain = |c: char| !(c.is_whitespace() || c == '"' || c == '=' || is_unprintable(c));
    !text.is_empty() && text.chars().all(plain)
}

fn push_printable(line: &mut String, text: &str) {
    line.extend(text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }));
}

impl Fields {
    /// The last word on a name counts.
    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn set_text(&mut self, field: &Field, text: &str) {
        if let Some(name) = field.name().strip_suffix(JSON_SUFFIX) {
            if text.len() <= JSON_BYTES
                && let Ok(value) = serde_json::from_str(text)
            {
                return self.set(name, value);
            }
            return self.set(name, cut(text));
        }
        self.set(field.name(), cut(text));
    }
}

fn cut(text: &str) -> Value {
    let end = text.floor_char_boundary(FIELD_BYTES);
    let dots = if end < text.len() { "…" } else { "" };
    Value::String(format!("{}{dots}", &text[..end]))
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_text(field, &format!("{value:?}"));
    }

    /// The error and its causes, on one line.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.set_text(field, &text);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }
}
