//! *Lines* of a container's log: each with the time that the kubelet gave it, each cut where it is longer than anyone reads.

use std::io;

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::jiff::Timestamp;

/// Bytes of a line that are shown: what container runtimes themselves write in one piece.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// When it was written; none where the kubelet itself says something.
    pub(super) at: Option<Timestamp>,
    pub(super) text: String,
}

/// Reads the next line of a log with timestamps; none at its end. What a line has beyond [`MAX_LINE_BYTES`] is left out.
pub(super) async fn next(log: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let mut is_cut = false;
    loop {
        let buffer = log.fill_buf().await?;
        if buffer.is_empty() {
            return Ok((!bytes.is_empty()).then(|| line(&bytes, is_cut)));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let kept = part.len().min(MAX_LINE_BYTES.saturating_sub(bytes.len()));
        bytes.extend_from_slice(part.get(..kept).unwrap_or_default());
        is_cut |= kept < part.len();
        let consumed = part.len() + usize::from(end.is_some());
        log.consume_unpin(consumed);
        if end.is_some() {
            return Ok(Some(line(&bytes, is_cut)));
        }
    }
}

fn line(bytes: &[u8], is_cut: bool) -> Line {
    let text = String::from_utf8_lossy(bytes);
    let (at, text) = match text.split_once(' ').map(|(time, rest)| (time.parse(), rest)) {
        Some((Ok(at), rest)) => (Some(at), rest),
        // An empty line has its time only.
        _ => match text.parse() {
            Ok(at) => (Some(at), ""),
            Err(_) => (None, text.as_ref()),
        },
    };
    let mut text = without_colours(text.trim_end_matches('\r'));
    if is_cut {
        text.push('…');
    }
    Line { at, text }
}

/// A text without the sequences that only colour it (ESC [ numbers m). All else that steers a terminal is made visible later.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != ';');
        match end.and_then(|end| after.get(end..)).and_then(|after| after.strip_prefix('m')) {
            Some(after) => rest = after,
            None => {
                plain.push_str("\u{1b}[");
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use futures::io::{BufReader, Cursor};
    use proptest::prelude::*;

    use super::*;

    fn block_on<T>(task: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task)
    }

    fn read(log: &[u8], buffer: usize) -> Vec<Line> {
        let mut log = BufReader::with_capacity(buffer, Cursor::new(log.to_vec()));
        let mut lines = Vec::new();
        while let Some(line) = block_on(next(&mut log)).unwrap() {
            lines.push(line);
        }
        lines
    }

    #[test]
    fn times_are_taken_off_the_lines() {
        let log = b"2026-05-28T14:00:00.123456789Z step 1\r\n2026-05-28T14:00:01.5Z \nfailed to watch: x\n2026-05-28T14:00:02Z end";
        let lines = read(log, 7);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["step 1", "", "failed to watch: x", "end"]);
        let times: Vec<bool> = lines.iter().map(|line| line.at.is_some()).collect();
        assert_eq!(times, [true, true, false, true]);
        assert!(lines[0].at < lines[1].at);
    }

    #[test]
    fn colours_are_left_out_and_what_moves_the_cursor_is_not() {
        let lines = read(b"\x1b[1;31mred\x1b[0m and \x1b[mplain\x1b[2J\x1b[", 64);
        assert_eq!(lines[0].text, "red and plain\u{1b}[2J\u{1b}[");
    }

    #[test]
    fn a_line_of_any_length_is_cut_and_the_next_one_is_whole() {
        let log = [&vec![b'x'; 10 << 20][..], b"\nnext\n"].concat();
        let lines = read(&log, 8192);
        assert_eq!(lines[0].text.len(), MAX_LINE_BYTES + "…".len());
        assert_eq!(lines[1].text, "next");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn bytes_of_any_kind_come_out_as_lines_however_they_are_buffered(
            log in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300), buffer in 1usize..64,
        ) {
            let lines = read(&log, buffer);
            prop_assert_eq!(lines.clone(), read(&log, 4096));
            let ends = log.iter().filter(|byte| **byte == b'\n').count();
            let has_rest = log.last().is_some_and(|byte| *byte != b'\n');
            prop_assert_eq!(lines.len(), ends + usize::from(has_rest));
        }
    }
}
