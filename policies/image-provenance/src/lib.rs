//! `image-provenance`: which registries and repositories the images of a run may come from.

mod image;
mod manifest;

use hook_policy::{Decision, Policy, Request, SettingsError};
use schemars::JsonSchema;
use serde::Deserialize;

use image::{Image, Source};

/// Where images may come from.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{"allowed": ["registry.example.com", "docker.io/library/*"], "requireDigest": false}]))]
pub struct Settings {
    /// Registries, and repositories or the paths above them, such as registry.example.com or docker.io/library/nginx.
    /// `*` in a path stands for any characters but "/". An image must fit one of them. None allow no image.
    allowed: Vec<Source>,
    /// Whether an image must be given by digest, so that its content cannot change behind its name.
    #[serde(default)]
    require_digest: bool,
}

/// The policy.
pub struct ImageProvenance;

impl Policy for ImageProvenance {
    type Settings = Settings;

    fn evaluate(request: &Request, settings: &Settings) -> Decision {
        let in_manifest = match manifest::further_images(&request.hook) {
            Ok(images) => images,
            Err(error) => {
                let message =
                    format!("the hook's manifest cannot be read, so its images are unknown: {error}");
                return Decision::deny("ManifestUnreadable", message);
            }
        };
        let containers = request.hook.containers.iter().map(|container| {
            let what = if container.init { "init container" } else { "container" };
            (format!("{what} {:?}", container.name), container.image.as_str())
        });
        let further = in_manifest.iter().map(|(what, image)| (what.clone(), image.as_str()));
        let wrong: Vec<_> = containers
            .chain(further)
            .filter_map(|(what, image)| Some(format!("{what}: {}", problem(image, settings)?)))
            .collect();
        if wrong.is_empty() {
            return Decision::allow();
        }
        let allowed: Vec<_> = settings.allowed.iter().map(Source::as_str).collect();
        let digest = if settings.require_digest { ", by digest" } else { "" };
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        Decision::deny(
            "ImageNotAllowed",
            format!("{}. Allowed are images from {allowed}{digest}", wrong.join("; ")),
        )
    }

    fn validate(settings: &Settings) -> Vec<SettingsError> {
        if settings.allowed.is_empty() {
            let message =
                "no image could ever run; name a registry or repository, such as registry.example.com";
            return vec![SettingsError::at("allowed", message)];
        }
        Vec::new()
    }
}

/// What is wrong with an image, if anything.
fn problem(text: &str, settings: &Settings) -> Option<String> {
    let image = match Image::parse(text) {
        Ok(image) => image,
        Err(problem) => return Some(format!("{text:?} is not an image's name: {problem}")),
    };
    if !settings.allowed.iter().any(|source| source.allows(&image)) {
        let full = format!("{}/{}", image.registry, image.path);
        let note = if text.starts_with(&full) { String::new() } else { format!(", which is {full},") };
        return Some(format!("{text:?}{note} is from elsewhere"));
    }
    (settings.require_digest && !image.has_digest).then(|| format!("{text:?} has no digest (@sha256:…)"))
}

hook_policy::export!(ImageProvenance);

#[cfg(test)]
mod tests;
