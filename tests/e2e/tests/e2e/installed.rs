//! An *installation* is hookhost in the cluster, as its chart makes it: pods of its own image, with its own account.

use std::sync::OnceLock;

use e2e::{chart, hookhost, ok, stock_policies, world};
use serde_json::Value;
use testbed::{Helm, Image};

/// The image that the pods run; loaded, never pulled.
pub(crate) const IMAGE: (&str, &str) = ("localhost/hookhost", "e2e");

/// The cluster's id, for these installations.
pub(crate) const CLUSTER_ID: &str = "cluster-in-pods";

/// One installation of the chart.
pub(crate) struct Installed {
    pub(crate) helm: Helm,
    /// The release's name, and that of everything in it.
    pub(crate) name: &'static str,
    /// Its own namespace.
    pub(crate) at: String,
}

impl Installed {
    /// Installs the chart for the namespaces of a gate, in a namespace that takes nothing but "restricted" pods.
    pub(crate) fn new(
        helm: Helm,
        name: &'static str,
        gate: &str,
        namespaces: &[&str],
        replicas: u32,
    ) -> Installed {
        load_image();
        let at = world().namespace(name, &["pod-security.kubernetes.io/enforce=restricted"]);
        let installed = Installed { helm, name, at };
        installed.install(name, gate, namespaces, replicas);
        installed
    }

    pub(crate) fn install(&self, name: &str, gate: &str, namespaces: &[&str], replicas: u32) {
        let (repository, tag) = IMAGE;
        let sets = [
            format!("image.repository={repository}"),
            format!("image.tag={tag}"),
            format!("clusterId={CLUSTER_ID}"),
            format!("namespaceGate={gate}"),
            format!("namespaces={{{}}}", namespaces.join(",")),
            format!("replicas={replicas}"),
            // The world has them already, from `hookhost crds`.
            "crds.operation=false,crds.applicationInstance=false,crds.hookPolicy=false".to_owned(),
        ];
        let chart = chart().display().to_string();
        let mut args = vec!["install", name, &chart, "--namespace", &self.at, "--wait", "--timeout=120s"];
        for set in &sets {
            args.extend(["--set", set]);
        }
        if let Err(error) = world().cluster.helm(self.helm, &args) {
            panic!("{error}\n{}", self.kubectl(&["describe", "pods"]));
        }
    }

    /// Installs it anew with these values besides those that it has, and waits until it serves.
    pub(crate) fn upgrade(&self, sets: &[&str]) {
        let chart = chart().display().to_string();
        let mut args =
            vec!["upgrade", self.name, &chart, "--namespace", &self.at, "--reuse-values", "--wait"];
        for set in sets {
            args.extend(["--set", set]);
        }
        ok(world().cluster.helm(self.helm, &args));
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        ok(world().cluster.kubectl(&[args, &["--namespace", &self.at]].concat()))
    }

    /// The controllers' pods.
    pub(crate) fn pods(&self) -> Vec<String> {
        let selector =
            format!("app.kubernetes.io/instance={},app.kubernetes.io/component=controller", self.name);
        let pods = world().list(&self.at, "pods", &selector);
        pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    /// What a pod has logged, in the container before this one too.
    pub(crate) fn logs(&self, pod: &str) -> String {
        let logs = |more: &[&str]| {
            let args = [&["logs", pod, "--namespace", &self.at], more].concat();
            world().cluster.kubectl(&args).unwrap_or_default()
        };
        logs(&["--previous"]) + &logs(&[])
    }

    /// Waits until a hookhost other than this one holds the Lease; gives back its identity. A container that is started again
    /// is another hookhost in the same pod.
    pub(crate) fn leader_after(&self, former: &str) -> String {
        let holder = |lease: &Value| lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let lease =
            world().until_object(&self.at, &format!("lease/{}", self.name), "held by another", |lease| {
                !pod_of(&holder(lease)).is_empty() && holder(lease) != former
            });
        holder(&lease)
    }

    pub(crate) fn leader(&self) -> String {
        self.leader_after("")
    }
}

/// The pod of a hookhost, by its identity.
pub(crate) fn pod_of(holder: &str) -> &str {
    holder.rsplit_once('_').map_or("", |(pod, _)| pod)
}

/// Makes the image as the Dockerfile does, from the binary of this build.
pub(crate) fn load_image() {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        let mut image = ok(Image::new(&format!("{}:{}", IMAGE.0, IMAGE.1)).program(&hookhost(), "/hookhost"));
        for policy in ok(stock_policies().read_dir()) {
            let file = ok(policy).path();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            image = ok(image.file(&file, &format!("/stock-policies/{name}")));
        }
        ok(world().cluster.load(&image.entrypoint(&["/hookhost"]).user("65532:65532")));
    });
}
