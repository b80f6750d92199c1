//! The *items* of a list, taken out of its text as it comes: a page of 500 Operations may have 750 MB, of which no more than
//! one object is ever held.

use crate::buffer::{Buffer, TooLong};

/// Bytes of a list without its items: its kind, its version, and where to go on.
const FRAME_BYTES: usize = 64 << 10;

/// The text of a list, as far as it has come.
#[derive(Debug, Default)]
pub struct Items {
    /// How many lists and mappings are open.
    depth: usize,
    is_text: bool,
    is_escaped: bool,
    /// Whether the list of items is open.
    is_inside: bool,
    /// Where the last text of the frame begins that is a key, or the value of one.
    key: usize,
    /// The list without its items.
    frame: Vec<u8>,
    /// The item that has begun.
    item: Buffer,
}

/// What came of some of the text.
#[derive(Debug)]
pub enum Taken {
    /// All of it is taken, and the item is not whole.
    All,
    /// So many bytes are taken; the item needs more room for the next.
    Full(usize),
    /// With so many bytes this item is whole.
    Item(usize, Buffer),
}

/// How many of these bytes certainly belong to the string in which they begin: not those of an escape that is cut off.
fn within_text(text: &[u8]) -> usize {
    let mut within = 0;
    while let Some(rest) = text.get(within..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            None => return text.len(),
            Some(at) if rest.get(at) == Some(&b'\\') && rest.len() > at + 1 => within += at + 2,
            Some(at) => return within + at,
        }
    }
    within
}

/// How deep the list of items is, within the list.
const INSIDE: usize = 2;

impl Items {
    /// Takes text until an item is whole, or needs more room.
    pub fn take(&mut self, text: &[u8]) -> Result<Taken, TooLong> {
        let mut taken = 0;
        while let Some((byte, rest)) = text.get(taken..).and_then(<[u8]>::split_first) {
            if self.item.room() == 0 {
                return Ok(Taken::Full(taken));
            }
            taken += 1;
            if self.push(*byte)? {
                return Ok(Taken::Item(taken, std::mem::take(&mut self.item)));
            }
            if self.is_text && !self.is_escaped && self.is_inside && self.depth > INSIDE {
                // Nearly all of a large object is within texts.
                let rest = rest.get(..self.item.room()).unwrap_or(rest);
                let within = rest.get(..within_text(rest)).unwrap_or_default();
                self.item.extend(within);
                taken += within.len();
            }
        }
        Ok(Taken::All)
    }

    /// Waits until there is room for more of the item.
    pub async fn make_room(&mut self) -> Result<(), TooLong> {
        self.item.make_room().await
    }

    /// The list without its items, once all of it has come.
    pub fn frame(&self) -> Option<&[u8]> {
        (self.depth == 0 && !self.frame.is_empty()).then_some(&self.frame)
    }

    /// Whether an item is whole with this byte.
    fn push(&mut self, byte: u8) -> Result<bool, TooLong> {
        let before = self.depth;
        let mut is_whole = false;
        if self.is_escaped {
            self.is_escaped = false;
        } else if self.is_text {
            self.is_escaped = byte == b'\\';
            self.is_text = byte != b'"';
        } else {
            match byte {
                b'"' => {
                    self.is_text = true;
                    if before == 1 {
                        self.key = self.frame.len();
                    }
                }
                b'[' if before == 1 && self.is_key(b"\"items\"") => {
                    self.depth = INSIDE;
                    self.is_inside = true;
                    self.frame.push(byte);
                    return Ok(false);
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    is_whole = self.is_inside && self.depth == INSIDE;
                    self.is_inside &= self.depth >= INSIDE;
                }
                _ => {}
            }
        }
        if !self.is_inside {
            if self.frame.len() == FRAME_BYTES {
                return Err(TooLong { what: "a list", allowed: FRAME_BYTES });
            }
            self.frame.push(byte);
        } else if before.max(self.depth) > INSIDE {
            self.item.push(byte);
        }
        // Else it is between two items.
        Ok(is_whole)
    }

    fn is_key(&self, key: &[u8]) -> bool {
        self.frame.get(self.key..).is_some_and(|rest| rest.starts_with(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The next item, with how many bytes it took, if there is one.
    fn step(list: &mut Items, mut text: &[u8]) -> Result<Option<(usize, Buffer)>, TooLong> {
        let mut before = 0;
        loop {
            match list.take(text)? {
                Taken::All => return Ok(None),
                Taken::Item(taken, item) => return Ok(Some((before + taken, item))),
                Taken::Full(taken) => {
                    (before, text) = (before + taken, &text[taken..]);
                    let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    waiting.block_on(list.make_room())?;
                }
            }
        }
    }

    /// The items and the frame of a text that comes in pieces of this size.
    fn taken(text: &str, piece: usize) -> (Vec<Value>, Option<Value>) {
        let (mut list, mut items) = (Items::default(), Vec::new());
        for mut rest in text.as_bytes().chunks(piece.max(1)) {
            while !rest.is_empty() {
                let Some((taken, item)) = step(&mut list, rest).unwrap() else { break };
                rest = &rest[taken..];
                items.push(serde_json::from_slice(item.bytes()).unwrap());
            }
        }
        (items, list.frame().map(|frame| serde_json::from_slice(frame).unwrap()))
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            r#"[a-z{}\[\]"\\:, é]{0,8}"#.prop_map(Value::from)
        ];
        let inner = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z{\"\\\\]{0,5}|items", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::hash_map("[a-z]{1,5}|items", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn every_item_is_taken_out_whole_wherever_the_text_is_cut(
            items in prop::collection::vec(any_object(), 0..6), is_pretty in any::<bool>(), piece in 1usize..40,
            metadata in any_object(),
        ) {
            let list = json!({"kind": "items", "metadata": metadata, "items": items, "z": {"items": [1]}});
            let text = if is_pretty { serde_json::to_string_pretty(&list).unwrap() } else { list.to_string() };
            let (found, frame) = taken(&text, piece);
            prop_assert_eq!(found, items);
            let mut without = list;
            without["items"] = json!([]);
            prop_assert_eq!(frame, Some(without));
            // What is cut off has no end.
            let (_, frame) = taken(&text[..text.trim_end().len() - 1], piece);
            prop_assert_eq!(frame, None);
        }

        #[test]
        fn any_bytes_are_taken_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut list = Items::default();
            let mut rest = &bytes[..];
            while let Some((taken, _)) = step(&mut list, rest).unwrap() {
                rest = &rest[taken..];
            }
        }
    }

    #[test]
    fn a_list_without_items_is_one() {
        for items in ["[]", "null"] {
            let text = format!(r#"{{"metadata":{{"resourceVersion":"7"}},"items":{items}}}"#);
            let (found, frame) = taken(&text, 5);
            assert!(found.is_empty());
            assert_eq!(frame.unwrap()["metadata"]["resourceVersion"], "7");
        }
    }

    #[test]
    fn an_object_without_an_end_is_given_up() {
        let mut list = Items::default();
        assert!(step(&mut list, br#"{"items":[{"a":""#).unwrap().is_none());
        let piece = vec![b'x'; 1 << 20];
        let error = (0..17).find_map(|_| step(&mut list, &piece).err()).unwrap();
        assert_eq!(error.to_string(), "the API server sent an object of more than 16777216 bytes");
    }
}
