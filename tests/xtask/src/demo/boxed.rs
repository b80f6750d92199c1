//! The demo on the *cluster in a box*: a whole Kubernetes on this machine, in namespaces of its own, gone with this process.

use std::time::Instant;

use anyhow::Result;
use testbed::{Options, Programs};

use super::scene::{self, Scene};
use super::screen::Screen;
use super::{POLICIES, hookhost};
use crate::cluster;
use crate::run::{root, say, seconds};

/// What the demo needs of a cluster.
pub(super) fn options() -> Options {
    Options::pods().with_flux().with_registry()
}

/// Plays it. In a process of its own: it moves into namespaces.
pub(crate) fn play() -> Result<()> {
    let programs = Programs::build(say)?;
    testbed::isolate()?;
    let start = Instant::now();
    let cluster = options().start(&programs, &scene::made()?)?;
    cluster.push_chart(&root().join("tests/demo/chart"))?;
    cluster.load(&cluster::image(&hookhost())?)?;
    say(&format!(
        "\nA Kubernetes of its own is up after {}: one node, Flux, a registry with the chart tests/demo/chart, this build as \
         the image {}",
        seconds(start.elapsed()),
        cluster::IMAGE
    ));

    let built = hookhost().parent().map(ToOwned::to_owned).into_iter().collect::<Vec<_>>();
    let screen = Screen::new(&cluster.command("sh"), &built, &[])?;
    screen.title("Flux installs a chart that has hooks");
    screen.types("kubectl create namespace org-myteam")?;
    screen.types("kubectl apply -f tests/demo/cluster/release.yaml")?;
    screen.title("Helm installs hookhost, for that namespace");
    screen.types("kubectl label namespace org-myteam managed-by=vworkspace")?;
    let (repository, tag) = cluster::IMAGE.rsplit_once(':').unwrap_or((cluster::IMAGE, ""));
    screen.types(&format!(
        "helm install hookhost deploy/hookhost --namespace hookhost --create-namespace --hide-notes --wait \\\n    \
         --set image.repository={repository},image.tag={tag},clusterId=cluster-prod-1,replicas=1 \
         --set 'namespaces={{org-myteam}}'"
    ))?;
    screen.title("The application, as the vWorkspace operator has it");
    screen.types(
        "kubectl wait -n org-myteam --for=condition=Ready helmrelease/nextcloud-myteam --timeout=60s",
    )?;
    screen.types("kubectl apply -f tests/demo/cluster/instance.yaml")?;
    screen.types(
        "kubectl patch -n org-myteam applicationinstance nextcloud-myteam --subresource=status --type=merge \\\n    \
         --patch-file tests/demo/cluster/instance-status.yaml",
    )?;
    screen.title("The policies' components, each in a ConfigMap beside hookhost");
    for policy in POLICIES {
        let file = super::screen::typed(&crate::policies::dir().join(format!("{policy}.wasm")));
        screen.types(&format!("kubectl create configmap {policy} -n hookhost --from-file={file}"))?;
    }
    let scene = Scene {
        screen: &screen,
        namespace: "org-myteam",
        context: String::new(),
        prefix: "",
        matches: "",
        module: |policy| {
            format!("{{configMap: {{namespace: hookhost, name: {policy}, key: {policy}.wasm}}}}")
        },
        target_kind: "ApplicationInstance",
    };
    scene.play()?;
    scene::say_next();
    Ok(())
}
