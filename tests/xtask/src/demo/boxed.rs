//! The demo on the *cluster in a box*: a whole Kubernetes on this machine, in namespaces of its own, gone with this process.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use testbed::{Options, Programs};

use super::scene::{self, Scene};
use super::screen::Screen;
use super::{POLICIES, hookhost};
use crate::cluster;
use crate::run::{root, say, seconds};

/// This build, by the name that it has where the README's placeholder is [`REGISTRY`].
const IMAGE: &str = "localhost/hookhost:0.1.0";

/// Where the image comes from: the node has it.
const REGISTRY: &str = "localhost";

/// The section of the README with the commands that install hookhost on an empty cluster.
const SECTION: &str = "\n## Run in a cluster\n";

/// The README's commands that install hookhost, but for the one that builds the image, which needs Docker.
fn install(readme: &str) -> Result<Vec<String>> {
    let section = readme.split_once(SECTION).context("the README has no section on running in a cluster")?.1;
    let block = section.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("\n```"));
    let lines = block.context("that section begins without commands")?.0;
    let lines = lines.replace("REGISTRY", REGISTRY).replace("\\\n", "\\\0");
    let is_typed = |line: &&str| !line.starts_with("docker ") && !line.starts_with('#');
    Ok(lines.lines().filter(is_typed).map(|line| line.replace('\0', "\n")).collect())
}

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
    cluster.load(&cluster::image(&hookhost(), IMAGE)?)?;
    say(&format!(
        "\nA Kubernetes of its own is up after {}: one node, Flux, a registry with the chart tests/demo/chart, this build as \
         the image {IMAGE}",
        seconds(start.elapsed()),
    ));

    let built = hookhost().parent().map(ToOwned::to_owned).into_iter().collect::<Vec<_>>();
    let screen = Screen::new(&cluster.command("sh"), &built, &[])?;
    screen.title("Helm installs hookhost, as the README says");
    for command in install(&fs::read_to_string(root().join("README.md"))?)? {
        screen.types(&command)?;
    }
    screen.types("kubectl rollout status deployment/hookhost -n hookhost --timeout=120s")?;
    screen.title("Flux installs a chart that has hooks");
    screen.types("kubectl apply -f tests/demo/cluster/release.yaml")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_readme_has_a_user_type_is_typed_without_the_placeholder() {
        let readme = "# x\n## Run in a cluster\n\n```sh\ndocker build .\n# why\nkubectl a   # if\nhelm b \\\n  --set c=REGISTRY/d\n```\n```sh\nno\n```\n";
        assert_eq!(install(readme).unwrap(), ["kubectl a   # if", "helm b \\\n  --set c=localhost/d"]);
        let commands = install(&fs::read_to_string(root().join("README.md")).unwrap()).unwrap();
        assert!(commands.iter().any(|command| command.starts_with("helm install ")), "{commands:?}");
    }
}
