//! The *content* of a release record is all of its JSON, as Helm keeps it: with what was rendered besides the hooks, which
//! hookhost itself has no use for.

use std::io::Read;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hookhost_helm::encoding::without_mark;
use hookhost_helm::limits::MAX_INFLATED_BYTES;
use hookhost_helm::yaml;
use serde_json::Value;

/// Where an object has the record's text.
const PLACES: [&str; 2] = ["/stringData/release", "/data/release"];

/// Layers of base64: Helm's own and the API's.
const MAX_LAYERS: usize = 2;

/// Reads it, from bytes in which [`hookhost_helm::Record::read`] has found one record.
pub(super) fn read(bytes: &[u8]) -> Result<Value> {
    let bytes = &*without_mark(bytes)?;
    let documents = match serde_json::from_slice(bytes) {
        Ok(json) => vec![json],
        Err(_) => std::str::from_utf8(bytes).ok().and_then(|text| yaml::read(text).ok()).unwrap_or_default(),
    };
    let objects = documents.iter().flat_map(|document| match document["items"].as_array() {
        Some(items) => items.iter().collect(),
        None => vec![document],
    });
    let mut texts =
        objects.filter_map(|object| PLACES.iter().find_map(|place| object.pointer(place)?.as_str()));
    if let Some(text) = texts.next() {
        return decode(text.as_bytes());
    }
    match documents.into_iter().next() {
        Some(record @ Value::Object(_)) => Ok(record),
        _ => decode(bytes),
    }
}

/// Its text as a Secret's `stringData` has it.
pub(super) fn write(content: &Value) -> Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut gzip, content)?;
    Ok(STANDARD.encode(gzip.finish()?))
}

fn decode(text: &[u8]) -> Result<Value> {
    let mut bytes = text.trim_ascii().to_vec();
    for _ in 0..MAX_LAYERS {
        if is_gzip(&bytes) || bytes.starts_with(b"{") {
            break;
        }
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        bytes = STANDARD.decode(&bytes).context("the record's base64 is damaged")?;
    }
    if is_gzip(&bytes) {
        let mut inflated = Vec::new();
        let most = MAX_INFLATED_BYTES as u64;
        MultiGzDecoder::new(&*bytes).take(most + 1).read_to_end(&mut inflated)?;
        if inflated.len() as u64 > most {
            bail!("the record has more than {} MiB", most >> 20);
        }
        bytes = inflated;
    }
    serde_json::from_slice(&bytes).context("the record's JSON is damaged")
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_read_in_each_shape_that_it_may_lie_in() {
        let content = json!({"name": "shop", "manifest": "a: 1\n"});
        let text = write(&content).unwrap();
        let twice = STANDARD.encode(&text);
        for shape in [
            content.to_string(),
            text.clone(),
            twice.clone(),
            format!("kind: Secret\nstringData: {{release: {text}}}\n"),
            format!("kind: ConfigMap\n---\nkind: Secret\ndata: {{release: {twice}}}\n"),
            json!({"kind": "List", "items": [{"kind": "Pod"}, {"kind": "Secret", "data": {"release": twice}}]})
                .to_string(),
        ] {
            assert_eq!(read(shape.as_bytes()).unwrap(), content, "{shape}");
        }
        assert!(read(b"%%%").is_err());
    }
}
