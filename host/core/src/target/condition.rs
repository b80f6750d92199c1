//! A *condition* is what a controller says of an object's state: Kubernetes' own shape, of which only what decides is
//! read.

use std::fmt;

use serde_json::Value;

use hookhost_helm::text::printable;

/// One condition of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// "True", "False" or "Unknown".
    pub status: String,
    /// The word for programs.
    pub reason: String,
    /// The words for people.
    pub message: String,
    /// The generation of the object that it is about; none where its controller does not say.
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// The condition of this type in an object's status. What is not a condition there reads as absent, as Kubernetes'
    /// own tools read it.
    pub(super) fn find(object: &Value, type_of: &str) -> Option<Condition> {
        let all = object.pointer("/status/conditions").and_then(Value::as_array)?;
        let found =
            all.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(type_of))?;
        let text = |field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Condition {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            observed_generation: found.get("observedGeneration").and_then(Value::as_i64),
        })
    }

    /// Whether its status is "True".
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// Characters of a condition's message that are repeated: a few lines, enough for the first error of several.
const SHOWN_CHARS: usize = 400;

/// `Status/Reason: message`, on one line and cut.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { status, reason, message, .. } = self;
        write!(f, "{}/{}", cut(status), cut(reason))?;
        if message.is_empty() { Ok(()) } else { write!(f, ": {}", cut(message)) }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}
