//! *Texts* are the Operations that are likely to be looked at soon, as JSON: parsed they would take ten times the room. All
//! together they have a bound; one whose text is not kept any more is read from the API server when it is looked at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hookhost_core::operation::TooLarge;
use hookhost_core::status::Foreign;

/// Bytes of all texts: some ten thousand Operations of the usual size.
pub(crate) const TEXTS_BYTES: usize = 32 << 20;

/// The text of an Operation.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) json: Arc<[u8]>,
    pub(super) too_large: Option<TooLarge>,
    /// The field manager that wrote the status last, besides hookhost.
    pub(super) other_writer: Option<String>,
    /// Which of its conditions are not hookhost's.
    pub(super) foreign: Foreign,
}

impl Text {
    fn bytes(&self) -> usize {
        self.json.len() + self.other_writer.as_ref().map_or(0, String::len)
    }
}

/// Texts by the Operations' UIDs; those that changed least recently go first.
#[derive(Debug)]
pub(super) struct Texts {
    of: HashMap<String, (u64, Text)>,
    by_age: BTreeMap<u64, String>,
    bytes: usize,
    most: usize,
    next: u64,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts::with_room(TEXTS_BYTES)
    }
}

impl Texts {
    fn with_room(most: usize) -> Texts {
        Texts { of: HashMap::new(), by_age: BTreeMap::new(), bytes: 0, most, next: 0 }
    }

    pub(super) fn get(&self, uid: &str) -> Option<Text> {
        self.of.get(uid).map(|(_, text)| text.clone())
    }

    /// Keeps the text instead of the one before.
    pub(super) fn insert(&mut self, uid: &str, text: Text) {
        self.remove(uid);
        self.bytes += text.bytes();
        self.next += 1;
        self.by_age.insert(self.next, uid.to_owned());
        self.of.insert(uid.to_owned(), (self.next, text));
        while self.bytes > self.most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.drop_text(&oldest);
        }
    }

    pub(super) fn remove(&mut self, uid: &str) {
        if let Some(age) = self.drop_text(uid) {
            self.by_age.remove(&age);
        }
    }

    fn drop_text(&mut self, uid: &str) -> Option<u64> {
        let (age, text) = self.of.remove(uid)?;
        self.bytes -= text.bytes();
        Some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Text {
        Text {
            json: vec![b' '; bytes].into(),
            too_large: None,
            other_writer: None,
            foreign: Foreign::default(),
        }
    }

    #[test]
    fn all_texts_together_stay_within_their_bound_and_the_oldest_go_first() {
        let mut texts = Texts::with_room(100);
        for uid in ["a", "b", "c"] {
            texts.insert(uid, text(30));
        }
        texts.insert("a", text(35));
        texts.insert("d", text(30));
        let kept: Vec<&str> =
            ["a", "b", "c", "d"].into_iter().filter(|uid| texts.get(uid).is_some()).collect();
        assert_eq!((kept, texts.bytes), (vec!["a", "c", "d"], 95));
        texts.insert("e", text(101));
        assert_eq!(
            (texts.of.len(), texts.by_age.len(), texts.bytes),
            (0, 0, 0),
            "one that never fits is not kept"
        );
        texts.insert("f", text(1));
        texts.remove("f");
        texts.remove("f");
        assert_eq!((texts.by_age.len(), texts.bytes), (0, 0));
    }
}
