//! The *texts* of a differential run: YAML of the fixtures and of the shapes of public charts, changed by chance.

use anyhow::{Context, Result, ensure};
use hookhost_helm::yaml;
use serde_json::Value;

use super::shapes::shape;
use crate::run::root;

/// Bytes of a text: enough for what the fixtures have in a row, and little enough for a million.
const TEXT_BYTES: usize = 2048;

/// What a line, or a place within one, may get: everything by which YAML, in one of its versions, means something.
const TOKENS: [&str; 64] = [
    ": ",
    ":",
    "- ",
    "-",
    "? ",
    "?",
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    "&a ",
    "*a",
    "*a ",
    "!",
    "!!",
    "!!str ",
    "!!int ",
    "!!binary ",
    "!a ",
    "|",
    "|-",
    "|+",
    "|2",
    ">",
    ">-",
    "'",
    "\"",
    "#",
    " #",
    "# ",
    "---",
    "--- ",
    "---\n",
    "...",
    "...\n",
    "%YAML 1.1\n",
    "%TAG ! a:\n",
    "<<: ",
    "<<: *a",
    "~",
    "null",
    "yes",
    "0x1F",
    "010",
    "1e3",
    ".5",
    "1_0",
    "12:30",
    "\t",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{e9}",
    "\\",
    "@",
    "`",
];

/// Texts without end.
pub(super) struct Texts {
    sources: Vec<String>,
    random: Random,
}

impl Texts {
    pub(super) fn new(seed: u64) -> Result<Texts> {
        let fixtures = root().join("tests/fixtures");
        let mut sources = Vec::new();
        for folder in ["yaml", "records/helm3", "records/helm4"] {
            let folder = fixtures.join(folder);
            for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let is_source = if folder.ends_with("yaml") {
                    name.ends_with(".yaml")
                } else {
                    name.ends_with(".hooks.yaml")
                };
                if is_source
                    && let Ok(text) = std::fs::read_to_string(&path)
                    && !text.contains('\0')
                {
                    sources.push((name, text));
                }
            }
        }
        // A folder has no order of its own.
        sources.sort();
        let sources: Vec<String> = sources.into_iter().flat_map(|(_, text)| pieces(&text)).collect();
        ensure!(sources.len() > 500, "only {} texts to begin with", sources.len());
        Ok(Texts { sources, random: Random::new(seed) })
    }

    pub(super) fn next(&mut self) -> String {
        let is_shape = self.random.below(2) == 0;
        let source = if is_shape {
            shape(&mut self.random)
        } else {
            self.sources[self.random.below(self.sources.len())].clone()
        };
        let mut lines: Vec<String> = source.split_inclusive('\n').map(str::to_owned).collect();
        // A shape is made by chance already.
        for _ in usize::from(is_shape)..=self.random.below(4) {
            self.change(&mut lines);
        }
        let mut text = lines.concat();
        match self.random.below(16) {
            0 => text = text.replace('\n', "\r\n"),
            1 => text.truncate(text.trim_end().len()),
            2 => {
                let end = text.floor_char_boundary(self.random.below(text.len() + 1));
                text.truncate(end);
            }
            // What a template's toJson makes of it.
            3 => {
                if let Ok(values) = yaml::read(&text) {
                    text = values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
                }
            }
            _ => {}
        }
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        // The builder looks for a brace in the first 4096 bytes, takes lines in parts of as many, and Go's parser decodes 512
        // at a time.
        if self.random.below(64) == 0 {
            let filler = self.random.one(&[" ", "\n", "# \u{e9}\n", "x", "\u{feff}", "\r"]);
            let place = text.floor_char_boundary(self.random.below(2) * self.random.below(text.len() + 1));
            text.insert_str(place, &filler.repeat(self.random.below(5000)));
        }
        text
    }

    fn change(&mut self, lines: &mut Vec<String>) {
        if lines.is_empty() {
            lines.push(self.token().to_owned());
            return;
        }
        let at = self.random.below(lines.len());
        match self.random.below(10) {
            0 => drop(lines.remove(at)),
            1 => {
                let to = self.random.below(lines.len());
                lines.swap(at, to);
            }
            2 => {
                let line = lines[at].clone();
                lines.insert(self.random.below(lines.len() + 1), line);
            }
            3 => {
                let blanks = " ".repeat(self.random.below(5));
                lines[at] = format!("{blanks}{}", lines[at].trim_start_matches(' '));
            }
            4 => {
                // Some lines of another text.
                let other = self.random.below(self.sources.len());
                let others: Vec<String> =
                    self.sources[other].split_inclusive('\n').map(str::to_owned).collect();
                let from = self.random.below(others.len().max(1));
                let count = 1 + self.random.below(4);
                for (n, line) in others.into_iter().skip(from).take(count).enumerate() {
                    lines.insert(at + n, line);
                }
            }
            5 => {
                let line = &mut lines[at];
                let place = line.floor_char_boundary(self.random.below(line.len() + 1));
                if line[place..].chars().next().is_some() {
                    line.remove(place);
                }
            }
            _ => {
                let token = self.token();
                let line = &mut lines[at];
                let place = line.floor_char_boundary(self.random.below(line.len() + 1));
                line.insert_str(place, token);
            }
        }
    }

    fn token(&mut self) -> &'static str {
        TOKENS[self.random.below(TOKENS.len())]
    }
}

/// A text as such, and cut at its separators: a hook's manifest has none.
fn pieces(text: &str) -> Vec<String> {
    let cut = |text: &str| text[..text.floor_char_boundary(TEXT_BYTES)].to_owned();
    let mut pieces = vec![cut(text)];
    if text.contains("\n---\n") {
        pieces.extend(text.split("\n---\n").filter(|piece| !piece.trim().is_empty()).map(cut));
    }
    pieces
}

/// Numbers that look random (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0) % end.max(1)
    }

    /// One of these.
    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
