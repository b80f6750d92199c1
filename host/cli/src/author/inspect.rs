//! `hookhost policy inspect`: what a policy says of itself.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use wasmparser::{Parser, Payload};

use crate::exit::{Format, Outcome};
use crate::{output, policies};

/// Show what a policy is: name, version, contract, digest and the settings that it takes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy inspect target/policies/short-runs.wasm
  hookhost policy inspect deadline-cap                      a stock policy
  hookhost policy inspect deadline-cap.wasm -o json | jq .settingsSchema")]
pub(crate) struct Args {
    /// The policy's file, or the name of a stock policy
    #[arg(value_name = "FILE.wasm|NAME")]
    policy: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// What a policy is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspection {
    name: String,
    version: String,
    summary: String,
    /// The interface that it exports, with its version.
    contract: String,
    imports: Vec<String>,
    size: usize,
    digest: String,
    settings_schema: Value,
}

/// Prints what a policy is.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { policy: path, output } = args;
    let (policy, wasm) = policies::load(&policies::sandbox()?, &path)?;
    let described = policies::describe(&policy, &path.to_string_lossy())?;
    let (imports, exports) = interfaces(&wasm)?;
    let inspection = Inspection {
        name: described.name,
        version: described.version,
        summary: described.summary,
        contract: exports.join(", "),
        imports,
        size: wasm.len(),
        digest: policies::digest(&policy),
        settings_schema: described.settings_schema,
    };
    match output {
        Format::Json => output::json(&inspection)?,
        Format::Table => output::result(&text(&inspection)?)?,
    }
    Ok(Outcome::Done)
}

fn text(inspection: &Inspection) -> Result<String> {
    let Inspection { name, version, summary, contract, imports, size, digest, settings_schema } = inspection;
    let schema = ordered(settings_schema)?;
    let schema: String = schema.lines().map(|line| format!("  {}\n", output::escape(line))).collect();
    let escaped = |text: &str| output::escape(text).into_owned();
    Ok(format!(
        "Name:      {}\nVersion:   {}\nSummary:   {}\nSettings (JSON Schema):\n{schema}\
         Contract:  {}\nImports:   {}\nSize:      {size} bytes\nDigest:    {digest}\n",
        escaped(name),
        escaped(version),
        escaped(summary),
        escaped(contract),
        escaped(&imports.join(", ")),
    ))
}

/// What of a schema a person looks for first, in this order; what it refers to comes last.
const FIRST: [&str; 4] = ["description", "examples", "required", "properties"];
/// What other parts of a schema refer to.
const LAST: &str = "$defs";

/// A schema as YAML, the settings themselves before all else.
fn ordered(schema: &Value) -> Result<String> {
    let Some(fields) = schema.as_object() else { return policies::yaml_text(schema) };
    let rank = |key: &str| match FIRST.iter().position(|first| *first == key) {
        Some(at) => at,
        None => FIRST.len() + usize::from(key == LAST),
    };
    let mut keys: Vec<&String> = fields.keys().collect();
    keys.sort_by_key(|key| (rank(key), key.as_str()));
    // One field after the other: a mapping as a whole is written by its keys' own order.
    keys.into_iter().map(|key| policies::yaml_text(&json!({key.as_str(): fields[key]}))).collect()
}

/// Names of what a component imports and exports. The sandbox has accepted it, so it is short and well-formed.
fn interfaces(wasm: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_come_before_what_they_refer_to() {
        let schema = json!({"$defs": {"Window": {}}, "$schema": "x", "additionalProperties": false,
            "properties": {"windows": {}}, "required": ["windows"], "description": "When runs may start."});
        let text = ordered(&schema).unwrap();
        let keys: Vec<&str> = text.lines().filter(|line| !line.starts_with([' ', '-'])).collect();
        let keys: Vec<&str> = keys.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(
            keys.iter().map(|key| key.trim_matches(['"', '\''])).collect::<Vec<_>>(),
            ["description", "required", "properties", "$schema", "additionalProperties", "$defs"]
        );
        assert_eq!(ordered(&json!(true)).unwrap().trim(), "true");
    }
}
