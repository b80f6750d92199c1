//! An *image* is named by registry, path, tag and digest, of which most may be left out; read here as Kubernetes and
//! containerd read it: `nginx` is `docker.io/library/nginx`.

use std::borrow::Cow;

use hook_policy::glob;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// Docker Hub: where images without a registry come from.
const DEFAULT_REGISTRY: &str = "docker.io";

/// What Docker Hub was called once; the same place.
const OLD_DEFAULT_REGISTRY: &str = "index.docker.io";

/// Where Docker Hub keeps images without a user.
const DEFAULT_USER: &str = "library";

/// Characters of a tag, at most.
const TAG_CHARS: usize = 128;

/// Digest algorithms that registries accept, with the length of their hexadecimal digests.
const DIGESTS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// An image's name, normalised.
#[derive(Debug, PartialEq)]
pub(crate) struct Image<'a> {
    /// In lower case, with the port if there is one.
    pub(crate) registry: String,
    /// The repository in the registry.
    pub(crate) path: Cow<'a, str>,
    /// Whether the content is fixed.
    pub(crate) has_digest: bool,
}

impl<'a> Image<'a> {
    /// Reads a name, or says what is wrong with it.
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(
                "the digest is not sha256:, sha384: or sha512: and as many hexadecimal digits as it needs",
            );
        }
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first.to_ascii_lowercase(), rest),
            _ => (DEFAULT_REGISTRY.to_owned(), name),
        };
        // A colon before the last slash would be a port, and the port went with the registry.
        let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("the tag is not letters, digits, '_', '.' and '-', 128 at most");
        }
        if !path.split('/').all(is_path_part) {
            return Err(
                "the repository is not lower-case letters and digits, with '.', '_', '-' and '/' between",
            );
        }
        let registry = if registry == OLD_DEFAULT_REGISTRY { DEFAULT_REGISTRY.to_owned() } else { registry };
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            Cow::Owned(format!("{DEFAULT_USER}/{path}"))
        } else {
            Cow::Borrowed(path)
        };
        Ok(Image { registry, path, has_digest: digest.is_some() })
    }
}

/// Whether the part before the first slash is a registry rather than a user of Docker Hub.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
}

fn is_path_part(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(alphanumeric)
        && part.ends_with(alphanumeric)
        && part.chars().all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= TAG_CHARS && tag.starts_with(word) && tag.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    DIGESTS.iter().any(|(algorithm, length)| {
        let hex = digest.strip_prefix(algorithm).and_then(|rest| rest.strip_prefix(':'));
        let digit = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
        hex.is_some_and(|hex| hex.len() == *length && hex.chars().all(digit))
    })
}

/// Where images may come from: a registry, or a path in it with all below.
#[derive(Debug)]
pub(crate) struct Source {
    text: String,
    registry: String,
    /// Globs, one for each part of the path.
    parts: Vec<String>,
}

impl Source {
    /// Whether the image is in the registry and at or below the path.
    pub(crate) fn allows(&self, image: &Image<'_>) -> bool {
        let mut found = image.path.split('/');
        self.registry == image.registry
            && self.parts.iter().all(|wanted| found.next().is_some_and(|part| glob::matches(wanted, part)))
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn parse(text: String) -> Result<Self, String> {
        let mut parts = text.split('/');
        let registry = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parts: Vec<_> = parts.map(str::to_owned).collect();
        let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if !is_registry(&registry) || !registry.chars().all(host) {
            return Err(format!(
                "{text:?} does not begin with a registry; an image of Docker Hub is docker.io/library/nginx or \
                 docker.io/bitnami/redis, any of a registry registry.example.com"
            ));
        }
        let part = |part: &String| !part.is_empty() && is_path_part(&part.replace('*', "x"));
        if let Some(wrong) = parts.iter().find(|found| !part(found)) {
            return Err(format!(
                "{wrong:?} in {text:?} is not part of a repository's name; tags and digests do not belong here"
            ));
        }
        let registry = if registry == OLD_DEFAULT_REGISTRY { DEFAULT_REGISTRY.to_owned() } else { registry };
        Ok(Source { text, registry, parts })
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Source::parse(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Source {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A registry, or a path in it with all that is below: ghcr.io/acme. * stands for any \
                characters of one part of the path.",
            "type": "string",
        })
    }
}
