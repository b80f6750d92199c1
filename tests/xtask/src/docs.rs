//! The *docs* task writes the pages of the book that are made from the program, and the book itself where mdBook is
//! installed.

use anyhow::Result;

use crate::run::{cargo, command, root, say, step};
use crate::setup::exists;

/// Writes docs/src/reference/cli.md and crds.md anew, and docs/book.
pub(crate) fn docs() -> Result<()> {
    let mut reference = cargo();
    // The tests that compare these pages write them when they are told to.
    reference.args(["test", "--workspace", "--bin", "hookhost", "--quiet", "--", "docs::the_reference"]);
    step("the reference", reference.env("HOOKHOST_UPDATE_GOLDEN", "1"))?;
    if exists("mdbook") {
        step("the book", command("mdbook").arg("build").arg(root().join("docs")))?;
    } else {
        say("the book is not built, since there is no mdbook here: cargo install mdbook");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use clap::Parser;

    use super::*;

    fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_task_that_the_documentation_names_exists() {
        let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
        pages(&root().join("docs/src"), &mut files);
        let mut named = 0;
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for task in text.split("cargo xtask ").skip(1) {
                let task = task.split(['`', '\n', '#', ';']).next().unwrap_or_default();
                let words = ["cargo xtask"].into_iter().chain(task.split_whitespace());
                if let Err(error) = crate::Args::try_parse_from(words)
                    && error.exit_code() != 0
                {
                    panic!("{}: cargo xtask {task}\n{error}", file.display());
                }
                named += 1;
            }
        }
        assert!(named > 15, "only {named} tasks");
    }
}
