//! Text that a guest wrote, made safe for a terminal, a log and a condition.

/// `text` with every control character (and Unicode's invisible direction marks) replaced by a space, cut to
/// `max_chars` characters with "…" at the end.
pub(crate) fn clean(text: &str, max_chars: usize) -> String {
    let mut chars = text.trim().chars();
    let mut out: String =
        chars.by_ref().take(max_chars).map(|c| if is_unsafe(c) { ' ' } else { c }).collect();
    if chars.next().is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// Characters that move a cursor, start a terminal's escape sequence or reorder the text around them.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn escape_sequences_line_breaks_and_direction_marks_become_spaces() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{202e}d", 64), "a [31mb  c d");
    }

    #[test]
    fn long_text_is_cut_by_characters_and_says_so() {
        assert_eq!(clean("äöüß", 3), "äö…");
        assert_eq!(clean("äöü", 3), "äöü");
    }
}
