//! A *text* here is one that the contract bounds in characters.

use std::borrow::Cow;

/// The text, or as much of its beginning as fits `limit` characters with an ellipsis at the end.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    // No text has more characters than bytes, so the usual case costs nothing.
    if text.len() <= limit || text.chars().count() <= limit {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_is_cut_only_beyond_its_limit_and_then_to_exactly_it() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
