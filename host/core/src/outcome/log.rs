//! The end of a container's log, made fit for a condition.

use hookhost_helm::text::cut;
use hookhost_helm::text::is_unprintable;

/// Bytes of one line: a stack trace's longest lines fit, and a program that writes one endless line leaves room for others.
pub const LINE_BYTES: usize = 1024;
/// Bytes of a raw line that are looked at. Colours and the like are taken out of it, so it is more than is kept.
const RAW_LINE_BYTES: usize = 4 * LINE_BYTES;

/// The last `lines` lines of a log, at most `bytes` in all and [`LINE_BYTES`] each, joined by newlines.
///
/// What is not UTF-8 becomes U+FFFD. Escape sequences and control characters are gone; of a line that a program has written over
/// again and again, as progress bars do, the last state is left. Blank lines at either end do not count.
pub fn tail(log: &[u8], lines: usize, bytes: usize) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut room = bytes;
    for raw in log.rsplit(|byte| *byte == b'\n') {
        if kept.len() == lines {
            break;
        }
        let line = line(raw);
        if kept.is_empty() && line.is_empty() {
            continue;
        }
        let needed = line.len() + usize::from(!kept.is_empty());
        if needed > room {
            if kept.is_empty() {
                kept.push(cut(&line, room));
            }
            break;
        }
        room -= needed;
        kept.push(line);
    }
    while kept.last().is_some_and(String::is_empty) {
        kept.pop();
    }
    kept.reverse();
    kept.join("\n")
}

fn line(raw: &[u8]) -> String {
    let written = raw.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty()).unwrap_or_default();
    let text = String::from_utf8_lossy(&written[..written.len().min(RAW_LINE_BYTES)]);
    let mut line = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\t' => line.push(' '),
            '\u{1b}' => skip_escape(&mut chars),
            // The control sequence introducer as one character.
            '\u{9b}' => skip_control_sequence(&mut chars),
            c if is_unprintable(c) => {}
            c => line.push(c),
        }
    }
    cut(line.trim_end(), LINE_BYTES)
}

/// Skips what follows an ESC (ECMA-48).
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => skip_control_sequence(chars),
        // A command string, a window's title for one: up to BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let mut before = ' ';
            for c in chars.by_ref() {
                if c == '\u{7}' || (before == '\u{1b}' && c == '\\') {
                    break;
                }
                before = c;
            }
        }
        // A character set takes one more.
        Some('(' | ')' | '*' | '+') => _ = chars.next(),
        _ => {}
    }
}

/// Skips parameters up to and with the final character.
fn skip_control_sequence(chars: &mut std::str::Chars<'_>) {
    for c in chars.by_ref() {
        if ('@'..='~').contains(&c) {
            break;
        }
    }
}
