//! *Text* that came from outside, made fit to be shown: short, and without characters that steer a terminal.

/// Characters of a foreign text that a message repeats: enough to recognise it, short enough that a few of them
/// still make a readable line.
const QUOTED_CHARS: usize = 80;

/// `text` in quotes, cut to 80 characters, control characters escaped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().min(QUOTED_CHARS) + 2);
    quoted.push('"');
    for (n, c) in text.chars().enumerate() {
        if n == QUOTED_CHARS {
            quoted.push('…');
            break;
        }
        if c == '"' || c == '\\' || is_unprintable(c) {
            quoted.extend(c.escape_debug());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

/// `text` with every control character replaced by a space, so that a policy's message cannot forge a second line
/// of a log or steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// Control characters (C0, DEL and C1), and the format characters that reorder or hide text: all that Unicode calls
/// bidirectional controls, zero-width characters, line and paragraph separators, annotation marks, and tags, which are
/// letters that nobody sees.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON text that means the same and that no terminal obeys: what [`is_unprintable`] becomes `\u` escapes.
///
/// `json` is what serde_json writes. There such characters stand in texts only, where an escape means the character; but
/// for the line feeds between values, which stay.
pub fn terminal_safe_json(json: String) -> String {
    let is_escaped = |c: char| c != '\n' && is_unprintable(c);
    // Nearly always.
    if !json.chars().any(is_escaped) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if is_escaped(c) {
            // JSON has no escape for a whole character beyond U+FFFF, only for the two halves of its UTF-16.
            for half in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{half:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// The first `most` of `items` and how many more there are, as [`list`] has them.
pub fn shortlist(items: impl IntoIterator<Item = String>, most: usize) -> String {
    let mut items = items.into_iter();
    let mut shown: Vec<String> = items.by_ref().take(most).collect();
    let more = items.count();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    list(&shown)
}

/// Bytes as lowercase hexadecimal.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a SHA-256 digest as 64 hexadecimal digits in lower case; none if it is anything else.
pub fn digest_of_hex(hex: &str) -> Option<[u8; 32]> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// `text` on one line, without what steers a terminal, at most `max` bytes.
pub fn clean(text: &str, max: usize) -> String {
    // Far more than `max` needs no cleaning first.
    let text = &text[..text.floor_char_boundary(max.saturating_mul(4))];
    cut(printable(text).trim(), max)
}

/// `text`, or as much of its start as fits in `max` bytes with a "…" behind.
pub fn cut(text: &str, max: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    match max.checked_sub(CUT.len()) {
        Some(room) => format!("{}{CUT}", &text[..text.floor_char_boundary(room)]),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_quoted_text_is_cut_and_cannot_steer_a_terminal() {
        assert_eq!(quote("a\u{1b}[31m\"b\n"), r#""a\u{1b}[31m\"b\n""#);
        assert_eq!(quote(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
        assert_eq!(quote("\u{202e}"), r#""\u{202e}""#);
    }

    #[test]
    fn a_message_becomes_one_line() {
        assert_eq!(printable("a\nb\tc\u{2028}d é"), "a b c d é");
    }

    /// Unicode's Bidi_Control, which PropList.txt lists whole, and the separators beside them.
    const DIRECTION_MARKS: &str = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{2028}\u{2029}";

    #[test]
    fn json_for_a_terminal_has_no_character_that_it_would_obey_and_means_the_same() {
        let controls: String = (0..=0x9f_u8).map(char::from).filter(|c| c.is_control()).collect();
        for hostile in [controls.as_str(), DIRECTION_MARKS, "\u{200b}\u{feff}\u{e0041}"] {
            assert!(hostile.chars().all(is_unprintable));
            let value = json!({ hostile: [hostile, {"nested": format!("a{hostile}b")}] });
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let lines = text.matches('\n').count();
                let safe = terminal_safe_json(text);
                assert!(!safe.chars().any(|c| c != '\n' && is_unprintable(c)), "{safe:?}");
                assert_eq!(safe.matches('\n').count(), lines);
                assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
            }
        }
        assert_eq!(terminal_safe_json(json!("h\u{9b}2J").to_string()), r#""h\u009b2J""#);
        assert_eq!(terminal_safe_json(json!("\u{e0041}").to_string()), r#""\udb40\udc41""#);
        assert_eq!(terminal_safe_json(json!("äöü 漢字 😀").to_string()), "\"äöü 漢字 😀\"");
    }

    proptest! {
        #[test]
        fn any_text_comes_through_json_for_a_terminal_whole(text in any::<String>()) {
            let safe = terminal_safe_json(json!(text).to_string());
            prop_assert!(!safe.chars().any(is_unprintable));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        let names = || ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(shortlist(names(), 2), "a, b and 2 more");
        assert_eq!(shortlist(names(), 4), "a, b, c and d");
    }
}
