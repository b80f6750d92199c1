//! A *page* is a Markdown file of the documentation; its *blocks* are fenced. The info string of a block of shell tells what a
//! test may do with it:
//!
//! | info string | what a test does with the block |
//! |---|---|
//! | `sh` | runs it in a temporary folder (pages of the book only) |
//! | `sh author` | runs it with a Rust toolchain, in the folder that the blocks before it left |
//! | `sh cluster` | checks the arguments, for it needs a cluster |
//!
//! `exit=3` after these is the expected exit code. A block of `text` right after one that runs is its output, or its errors if
//! it is expected to fail; `…` in it stands for anything, and alone on a line for any lines.
// Each of the tests that share this needs a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// A Markdown file.
pub(crate) struct Page {
    /// Relative to the repository's top folder.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// Page and line, for messages.
    pub(crate) place: String,
    info: String,
    pub(crate) text: String,
    /// The output that the page shows for it.
    pub(crate) output: Option<String>,
}

/// The repository's top folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All pages: those of the top folder, of the book, of the chart, the policies and the SDK.
pub(crate) fn all() -> Vec<Page> {
    let mut files = Vec::new();
    for folder in ["", "docs/src", "deploy", "policies", "guest-sdk"] {
        markdown(&root().join(folder), !folder.is_empty(), &mut files);
    }
    files.sort();
    let page = |file: PathBuf| Page {
        path: file.strip_prefix(root()).unwrap().display().to_string(),
        text: std::fs::read_to_string(&file).unwrap(),
    };
    files.into_iter().map(page).collect()
}

/// One of them.
pub(crate) fn named(path: &str) -> Page {
    all().into_iter().find(|page| page.path == path).unwrap_or_else(|| panic!("there is no {path}"))
}

fn markdown(folder: &Path, deep: bool, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            markdown(&path, deep, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

impl Page {
    /// The fenced blocks, in order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut lines = self.text.lines().enumerate();
        let mut adjoins = false;
        while let Some((number, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                adjoins &= line.is_empty();
                continue;
            };
            let inner = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let text: String = inner.flat_map(|line| [line, "\n"]).collect();
            if info == "text" && adjoins {
                blocks.last_mut().unwrap().output = Some(text);
                adjoins = false;
                continue;
            }
            let place = format!("{}:{}", self.path, number + 1);
            blocks.push(Block { place, info: info.to_owned(), text, output: None });
            adjoins = true;
        }
        blocks
    }

    /// The text without its fenced blocks.
    pub(crate) fn prose(&self) -> String {
        self.text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
    }

    /// The inline code of the prose.
    pub(crate) fn spans(&self) -> Vec<String> {
        let prose = self.prose();
        let spans = prose.split('`').skip(1).step_by(2);
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

impl Block {
    /// The first word of the info string.
    pub(crate) fn language(&self) -> &str {
        self.words().next().unwrap_or_default()
    }

    /// Whether the info string has a word besides the language.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.words().skip(1).any(|it| it == word)
    }

    /// The exit code that is expected.
    pub(crate) fn code(&self) -> i32 {
        self.words().find_map(|word| word.strip_prefix("exit=")).map_or(0, |code| code.parse().unwrap())
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.info.split(' ')
    }

    /// The block as a script that leaves its folder in the file `$DOCS_FOLDER`, for the next block.
    pub(crate) fn script(&self) -> String {
        format!("set -eu\ntrap 'pwd > \"$DOCS_FOLDER\"' EXIT\n{}", self.text)
    }

    /// The manifests that it shows or gives to kubectl.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let typed = self.text.split("<<EOF\n").skip(1).filter_map(|rest| rest.split("\nEOF\n").next());
        let shown = (self.language() == "yaml").then_some(self.text.as_str());
        typed.chain(shown).filter(|text| text.contains("apiVersion: ")).map(str::to_owned).collect()
    }

    /// The simple commands of a block of shell, word by word, those in `$(…)` included.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let mut commands = Vec::new();
        Shell { text: &without_documents(&self.text), commands: &mut commands }.read(false);
        commands
    }
}

/// Shell without its here-documents.
fn without_documents(text: &str) -> String {
    let mut lines = text.lines();
    let mut rest = String::new();
    while let Some(line) = lines.next() {
        rest.push_str(&line.replace("<<EOF", ""));
        rest.push('\n');
        if line.contains("<<EOF") {
            lines.by_ref().find(|line| *line == "EOF");
        }
    }
    rest
}

/// As much of a shell's grammar as documentation has.
struct Shell<'a> {
    text: &'a str,
    commands: &'a mut Vec<Vec<String>>,
}

impl Shell<'_> {
    fn next(&mut self) -> Option<char> {
        let first = self.text.chars().next()?;
        self.text = &self.text[first.len_utf8()..];
        Some(first)
    }

    /// Reads commands up to the end, or to the parenthesis that ends a substitution.
    fn read(&mut self, is_inner: bool) {
        let (mut command, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
        while let Some(next) = self.next() {
            match (quote, next) {
                (Some(open), close) if open == close => quote = None,
                (Some('\''), _) => word.get_or_insert_default().push(next),
                (_, '$') if self.text.starts_with('(') => {
                    self.next();
                    self.read(true);
                    word.get_or_insert_default().push_str("SUBSTITUTED");
                }
                (_, '\\') => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped) => word.get_or_insert_default().push(escaped),
                },
                (Some(_), _) => word.get_or_insert_default().push(next),
                (None, '\'' | '"') => {
                    word.get_or_insert_default();
                    quote = Some(next);
                }
                (None, '#') if word.is_none() => {
                    self.text = self.text.find('\n').map_or("", |end| &self.text[end..]);
                }
                // A function's name, not a call.
                (None, '(') if self.text.starts_with(')') => {
                    self.next();
                    word = None;
                }
                (None, ')') if is_inner => break,
                (None, '\n' | ';' | '&' | '|' | '<' | '>') => {
                    command.extend(word.take());
                    self.end(&mut command);
                }
                (None, ' ') => command.extend(word.take()),
                (None, _) => word.get_or_insert_default().push(next),
            }
        }
        command.extend(word);
        self.end(&mut command);
    }

    fn end(&mut self, command: &mut Vec<String>) {
        if !command.is_empty() {
            self.commands.push(std::mem::take(command));
        }
    }
}

/// Whether an output is what a page shows.
pub(crate) fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed): (Vec<&str>, Vec<&str>) = (shown.lines().collect(), printed.lines().collect());
    lines_fit(&shown, &printed)
}

fn lines_fit(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|n| lines_fit(rest, &printed[n..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, more)| line_fits(line, first) && lines_fit(rest, more))
        }
    }
}

fn line_fits(shown: &str, printed: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else { return shown == printed };
    let Some(mut printed) = printed.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = printed.split_once(part) else { return false };
        printed = after;
    }
    printed.ends_with(end)
}
