//! The *reference* in docs/src/reference is made from what it is about: the command line from clap's definition, the CRDs
//! from their types. `cargo xtask docs` writes it; the tests here compare. And every option of hookhost that any page of
//! the documentation names exists.

#[path = "../tests/pages/mod.rs"]
mod pages;

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::{Arg, Command, CommandFactory, Parser};
use hookhost_controller::crd::Crd;
use serde_json::Value;

use crate::commands::Args;

/// The first line of both pages.
const GENERATED: &str = "<!-- Written by `cargo xtask docs`; a test compares it with the program. -->\n\n";

/// Compares a page of the reference with what it should be, or writes it.
#[track_caller]
fn assert_generated(name: &str, expected: &str) {
    let file = pages::root().join("docs/src/reference").join(name);
    if std::env::var_os("HOOKHOST_UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let difference = similar::TextDiff::from_lines(found.as_str(), expected);
    assert!(
        found == expected,
        "docs/src/reference/{name} is not what would be generated; renew it with\n  cargo xtask docs\n{}",
        difference.unified_diff()
    );
}

#[test]
fn the_reference_of_the_command_line_is_what_its_definition_gives() {
    let mut page = format!("{GENERATED}# Command line\n\n");
    let mut root = Args::command();
    root.build();
    let _ = write!(page, "{}\n\n", prose(&root.get_about().unwrap().to_string()));
    let _ = write!(page, "```text\n{}\n```\n", root.get_after_help().unwrap().to_string().trim());
    for command in root.get_subcommands() {
        describe(command, &mut page);
    }
    assert_generated("cli.md", &page);
}

/// One command, and those below it.
fn describe(command: &Command, page: &mut String) {
    if command.is_hide_set() {
        return;
    }
    let name = command.get_bin_name().unwrap();
    let _ = write!(page, "\n## {name}\n\n");
    let about = command.get_long_about().or(command.get_about()).unwrap().to_string();
    let _ = writeln!(page, "{}", prose(&about));
    let below: Vec<&Command> = command.get_subcommands().filter(|it| !it.is_hide_set()).collect();
    if !below.is_empty() {
        below.into_iter().for_each(|command| describe(command, page));
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(page, "\n```text\n{}\n```\n", usage.trim().trim_start_matches("Usage: "));
    let mut groups: Vec<(&str, Vec<&Arg>)> = Vec::new();
    for argument in command.get_arguments().filter(|it| !it.is_hide_set() && it.get_id() != "help") {
        let usual = if argument.is_positional() { "Arguments" } else { "Options" };
        let heading = argument.get_help_heading().unwrap_or(usual);
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, arguments)) => arguments.push(argument),
            None => groups.push((heading, vec![argument])),
        }
    }
    for (heading, arguments) in groups {
        let _ = write!(page, "\n**{heading}**\n\n");
        arguments.into_iter().for_each(|argument| option(argument, page));
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let _ = write!(page, "\n```text\n{}\n```\n", examples.trim());
    }
}

/// One argument: an item of a list.
fn option(argument: &Arg, page: &mut String) {
    let values: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let takes_value = argument.get_action().takes_values();
    let mut names = Vec::new();
    names.extend(argument.get_short().map(|short| format!("-{short}")));
    names.extend(argument.get_long().map(|long| format!("--{long}")));
    let mut name = names.join(", ");
    if takes_value {
        name = [name, values.join(" ")].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
    }
    let help = argument.get_long_help().or(argument.get_help()).unwrap().to_string();
    let _ = write!(page, "- `{name}`: {}", prose(&help).replace("\n\n", "\n\n  "));
    let mut notes = Vec::new();
    if takes_value && !argument.is_hide_default_value_set() {
        let defaults = argument.get_default_values().iter().map(|it| format!("`{}`", it.to_string_lossy()));
        let defaults: Vec<String> = defaults.collect();
        if !defaults.is_empty() {
            notes.push(format!("Default: {}.", defaults.join(", ")));
        }
    }
    notes.extend(argument.get_env().map(|env| format!("Environment: `{}`.", env.to_string_lossy())));
    let choices: Vec<String> =
        argument.get_possible_values().iter().filter(|it| !it.is_hide_set()).map(choice).collect();
    if takes_value && !choices.is_empty() {
        notes.push(format!("One of {}.", choices.join(", ")));
    }
    if !notes.is_empty() {
        let _ = write!(page, "\n\n  {}", notes.join(" "));
    }
    page.push('\n');
}

/// A value that an argument can have.
fn choice(value: &clap::builder::PossibleValue) -> String {
    match value.get_help() {
        Some(help) => format!("`{}` ({})", value.get_name(), prose(&help.to_string())),
        None => format!("`{}`", value.get_name()),
    }
}

/// Text of a terminal as Markdown: what would be a tag is none.
fn prose(text: &str) -> String {
    let quoted = text.split('`').enumerate();
    let parts = quoted.map(|(n, part)| if n % 2 == 0 { part.replace('<', "\\<") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

#[test]
fn the_reference_of_the_crds_is_what_their_types_give() {
    let mut page = format!(
        "{GENERATED}# CRDs\n\n`hookhost crds` prints them as YAML. HookPolicy is hookhost's own; Operation and ApplicationInstance \
         are vWorkspace's, and hookhost\nbrings them for clusters without its operator.\n"
    );
    for &crd in Crd::ALL {
        let definition = crd.definition();
        let spec = &definition["spec"];
        for version in spec["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let _ = write!(
                page,
                "\n## {}\n\n`apiVersion: {}/{}`, {}. {}\n\n| Field | Type | Meaning |\n|---|---|---|\n",
                text(&spec["names"]["kind"]),
                text(&spec["group"]),
                text(&version["name"]),
                text(&spec["scope"]).to_lowercase(),
                text(&schema["description"]),
            );
            fields("", schema, &mut page);
        }
    }
    assert_generated("crds.md", &page);
}

/// A row for each field of an object, those below it after it.
fn fields(path: &str, schema: &Value, page: &mut String) {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|it| it == name));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let kind = kind(field, required(name));
        let meaning =
            field["description"].as_str().unwrap_or_default().replace('|', "\\|").replace('<', "\\<");
        let _ = writeln!(page, "| `{path}` | {kind} | {} |", meaning.replace('\n', " "));
        fields(&path, field, page);
        fields(&format!("{path}[]"), &field["items"], page);
    }
}

/// Type, bounds and default of a field.
fn kind(field: &Value, is_required: bool) -> String {
    let mut parts = vec![match field["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}s", field["items"]["type"].as_str().unwrap_or("object")),
        kind => kind.to_owned(),
    }];
    let values = field["enum"].as_array().or_else(|| field["items"]["enum"].as_array());
    if let Some(values) = values {
        let values: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|it| format!("`{it}`")).collect();
        parts.push(values.join(", "));
    }
    if let Some(default) = field.get("default") {
        parts.push(format!(
            "default `{}`",
            default.as_str().map_or_else(|| default.to_string(), str::to_owned)
        ));
    }
    if is_required {
        parts.push("required".to_owned());
    }
    parts.join("; ")
}

/// Whether these are arguments of hookhost: parsed, but not carried out.
fn parse(words: &[String]) -> Result<(), String> {
    match Args::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if error.exit_code() == 0 => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn every_command_line_of_hookhost_in_the_documentation_is_one() {
    let mut parsed = 0;
    for page in pages::all() {
        for block in page.blocks().iter().filter(|block| block.language() == "sh") {
            for words in block.commands().iter().filter(|words| words[0] == "hookhost") {
                if let Err(error) = parse(words) {
                    panic!("{}: {}\n{error}", block.place, words.join(" "));
                }
                parsed += 1;
            }
        }
    }
    assert!(parsed > 30, "only {parsed} command lines");
}

/// The command that words name, with the words after its name.
fn command<'c, 'w>(root: &'c Command, words: &[&'w str]) -> (&'c Command, Vec<&'w str>) {
    match words.split_first().and_then(|(first, rest)| Some((root.find_subcommand(first)?, rest))) {
        Some((below, rest)) => command(below, rest),
        None => (root, words.to_vec()),
    }
}

/// The long options of a command and of all below it.
fn options(command: &Command) -> BTreeSet<&str> {
    let own = command.get_arguments().filter_map(Arg::get_long);
    own.chain(command.get_subcommands().flat_map(options)).collect()
}

#[test]
fn every_option_that_the_pages_on_running_hooks_name_exists() {
    let mut root = Args::command();
    root.build();
    let (known, mut named) = (options(&root), 0);
    for page in pages::all().iter().filter(|page| page.path.starts_with("docs/src/running/")) {
        for span in page.spans() {
            let Some(option) = span.strip_prefix("--").and_then(|rest| rest.split([' ', '=']).next()) else {
                continue;
            };
            assert!(known.contains(option), "{}: no command of hookhost has --{option}", page.path);
            named += 1;
        }
    }
    assert!(named > 20, "only {named} options");
}

#[test]
fn every_command_and_option_of_hookhost_that_the_text_names_exists() {
    let mut root = Args::command();
    root.build();
    let mut checked = 0;
    for page in pages::all() {
        for span in page.spans().iter().filter(|span| span.starts_with("hookhost ")) {
            let words: Vec<&str> = span.split(' ').skip(1).collect();
            let (command, rest) = command(&root, &words);
            assert!(
                command.get_name() != "hookhost" || rest[0].starts_with('-'),
                "{}: no command `{span}`",
                page.path
            );
            for option in
                rest.iter().filter_map(|word| word.strip_prefix("--")).filter(|word| !word.is_empty())
            {
                let option = option.split_once('=').map_or(option, |(name, _)| name);
                let is_known = command.get_arguments().any(|it| it.get_long() == Some(option));
                assert!(is_known, "{}: `{span}`: there is no --{option}", page.path);
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} names of commands");
}
