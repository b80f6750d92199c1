use hook_policy::testing::{self, RequestBuilder, job, request};
use hook_policy::{Decision, Denial};
use serde_json::{Value, json};

use super::ImageProvenance;
use crate::image::Image;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn decide(request: RequestBuilder, settings: Value) -> Decision {
    testing::evaluate::<ImageProvenance>(&request.build(), settings)
}

fn message(decision: Decision) -> String {
    match decision {
        Decision::Deny(Denial { reason, message }) if reason == "ImageNotAllowed" => message,
        other => panic!("not denied: {other:?}"),
    }
}

fn allows(allowed: &str, image: &str) -> bool {
    decide(request().container("main", image), json!({"allowed": [allowed]})).is_allow()
}

#[test]
fn an_images_name_is_completed_as_kubernetes_does() {
    for (text, registry, path) in [
        ("nginx", "docker.io", "library/nginx"),
        ("nginx:1.27", "docker.io", "library/nginx"),
        ("bitnami/redis", "docker.io", "bitnami/redis"),
        ("index.docker.io/nginx", "docker.io", "library/nginx"),
        ("docker.io/nginx", "docker.io", "library/nginx"),
        ("localhost/tool", "localhost", "tool"),
        ("localhost:5000/a/b:tag", "localhost:5000", "a/b"),
        ("registry.example.com:443/tool", "registry.example.com:443", "tool"),
        ("GHCR.io/acme/tool", "ghcr.io", "acme/tool"),
        ("a.b-c/d__e/f.g", "a.b-c", "d__e/f.g"),
    ] {
        let image = Image::parse(text).unwrap();
        assert_eq!((image.registry.as_str(), &*image.path), (registry, path), "{text}");
    }
}

#[test]
fn what_is_no_image_is_denied_with_the_cause() {
    let long_tag = format!("nginx:{}", "t".repeat(129));
    for text in
        ["", "/", "nginx:", "nginx@sha256:12", "Nginx", "a//b", "nginx:a b", "ghcr.io/", "-a", &long_tag]
    {
        let settings = json!({"allowed": ["docker.io", "ghcr.io"]});
        let message = message(decide(request().container("main", text), settings));
        assert!(message.contains(&format!("{text:?} is not an image's name")), "{message}");
    }
}

#[test]
fn a_source_allows_what_is_at_or_below_it_and_nothing_beside_it() {
    assert!(allows("docker.io/library/nginx", "nginx"));
    assert!(allows("docker.io", "bitnami/redis:7"));
    assert!(allows("ghcr.io/acme", "ghcr.io/acme/tools/migrate"));
    assert!(!allows("ghcr.io/acme", "ghcr.io/acme-evil/migrate"));
    assert!(!allows("ghcr.io/acme", "ghcr.io.evil.com/acme/migrate"));
    assert!(!allows("docker.io/library", "bitnami/redis"));
    assert!(!allows("ghcr.io/acme/tool", "ghcr.io/acme"));
    assert!(allows("ghcr.io/*/migrate", "ghcr.io/acme/migrate"));
    assert!(!allows("ghcr.io/*/migrate", "ghcr.io/a/b/migrate"));
    assert!(allows("registry.example.com/team-*", "registry.example.com/team-db/x"));
    assert!(!allows("registry.example.com", "registry.example.com:5000/x"));
}

#[test]
fn a_digest_is_required_where_settings_say_so() {
    let settings = json!({"allowed": ["docker.io"], "requireDigest": true});
    let by_digest = request().container("main", &format!("nginx@{DIGEST}"));
    let by_both = request().container("main", &format!("nginx:1.27@{DIGEST}"));
    assert!(decide(by_digest, settings.clone()).is_allow());
    assert!(decide(by_both, settings.clone()).is_allow());
    assert_eq!(
        message(decide(request().container("main", "nginx:1.27"), settings)),
        "container \"main\": \"nginx:1.27\" has no digest (@sha256:…). Allowed are images from docker.io, by digest"
    );
}

#[test]
fn every_offending_container_is_named() {
    let request = request()
        .init_container("wait", "busybox")
        .container("main", "ghcr.io/acme/migrate")
        .container("proxy", "quay.io/x/proxy:1");
    assert_eq!(
        message(decide(request, json!({"allowed": ["ghcr.io/acme"]}))),
        "init container \"wait\": \"busybox\", which is docker.io/library/busybox, is from elsewhere; container \
         \"proxy\": \"quay.io/x/proxy:1\" is from elsewhere. Allowed are images from ghcr.io/acme"
    );
}

#[test]
fn image_volumes_and_ephemeral_containers_count_too() {
    let pod = json!({
        "containers": [],
        "volumes": [{"name": "model", "image": {"reference": "quay.io/model"}}, {"name": "tmp", "emptyDir": {}}],
        "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
    });
    let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod});
    for manifest in [job(pod), bare] {
        let message = message(decide(request().manifest(manifest), json!({"allowed": ["ghcr.io"]})));
        assert!(message.contains("image volume \"model\": \"quay.io/model\" is from elsewhere"), "{message}");
        assert!(message.contains("ephemeral container \"debug\": \"busybox\""), "{message}");
    }
}

#[test]
fn a_template_that_no_pod_has_does_not_hide_a_volume() {
    let volumes = json!([{"name": "v", "image": {"reference": "evil.io/x"}}]);
    let manifest = json!({"kind": "Pod", "spec": {"template": {}, "volumes": volumes}});
    let decision = decide(request().manifest(manifest), json!({"allowed": ["ghcr.io"]}));
    assert!(matches!(decision, Decision::Deny(denial) if denial.message.contains("evil.io/x")));
}

#[test]
fn a_manifest_that_cannot_be_read_is_denied() {
    let manifest = json!({"spec": {"ephemeralContainers": 5}});
    let Decision::Deny(denial) = decide(request().manifest(manifest), json!({"allowed": ["ghcr.io"]})) else {
        panic!("not denied")
    };
    assert_eq!(denial.reason, "ManifestUnreadable");
}

#[test]
fn settings_that_mean_nothing_are_refused_with_the_place() {
    let path = |settings| testing::validate::<ImageProvenance>(settings).unwrap_err().remove(0).path;
    assert_eq!(path(json!({})), "");
    assert_eq!(path(json!({"allowed": []})), "allowed");
    for wrong in ["nginx", "bitnami/redis", "", "ghcr.io/", "ghcr.io/a:1", "ghcr.io/A", "https://ghcr.io"] {
        assert_eq!(path(json!({"allowed": ["ghcr.io", wrong]})), "allowed[1]", "{wrong}");
    }
}

#[test]
fn the_checked_in_schema_is_that_of_the_settings() {
    testing::assert_settings_schema::<ImageProvenance>(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/settings.schema.json"
    ));
}
