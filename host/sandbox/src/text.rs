//! Text that a guest wrote, made safe for a terminal, a log and a condition.

use hookhost_helm::text::printable;

/// `text` without what steers a terminal, cut to `max_chars` characters with "…" at the end.
pub(crate) fn clean(text: &str, max_chars: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(max_chars) {
        None => printable(text),
        Some(_) => {
            let kept: String = text.chars().take(max_chars.saturating_sub(1)).collect();
            printable(&kept) + "…"
        }
    }
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
