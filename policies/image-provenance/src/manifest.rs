//! The *further images* of a hook are those in its manifest that are no container's: image volumes (Kubernetes 1.31) and
//! ephemeral containers.

use hook_policy::Hook;
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    spec: Option<Spec>,
}

/// Of a Job, which has a template, and of a Pod, which has the rest.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    template: Option<Template>,
    #[serde(flatten)]
    pod: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Option<PodSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    ephemeral_containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Volume {
    name: String,
    image: Option<ImageVolume>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImageVolume {
    reference: String,
}

/// Each further image, with what it is of.
pub(crate) fn further_images(hook: &Hook) -> serde_json::Result<Vec<(String, String)>> {
    // Parsing is the dearest thing this policy could do, and nearly no hook has either. A key is what stands between two
    // quotation marks, and the host writes these two in plain letters, so a manifest without them has none.
    if !hook.manifest.split('"').any(|part| matches!(part, "ephemeralContainers" | "reference")) {
        return Ok(Vec::new());
    }
    let spec = hook.parse_manifest::<Manifest>()?.spec.unwrap_or_default();
    // Of both, whatever the kind: a field that Kubernetes would ignore must not hide the one that it reads.
    let template = spec.template.and_then(|template| template.spec);
    let mut images = Vec::new();
    for pod in template.into_iter().chain([spec.pod]) {
        let containers = pod.ephemeral_containers.unwrap_or_default().into_iter();
        images.extend(containers.map(|found| (format!("ephemeral container {:?}", found.name), found.image)));
        let volumes = pod.volumes.unwrap_or_default().into_iter();
        images.extend(
            volumes.filter_map(|volume| {
                Some((format!("image volume {:?}", volume.name), volume.image?.reference))
            }),
        );
    }
    Ok(images)
}
