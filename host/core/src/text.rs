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

/// Control characters, and the format characters that reorder or hide text (bidirectional overrides, zero-width
/// characters, line and paragraph separators).
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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

#[cfg(test)]
mod tests {
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
