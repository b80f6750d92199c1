//! What tests do with a cluster: run kubectl and Helm in it, get a namespace, wait for what must come.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Cluster;
use crate::{Error, Helm, Result, run};

impl Cluster {
    /// Address of the OCI registry, for `oci://` and for images. Plain HTTP, loopback.
    pub const REGISTRY: &str = "127.0.0.1:5000";

    /// Runs kubectl and gives back what it printed.
    ///
    /// # Errors
    /// It failed: the error has its stderr.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        run::output(self.command(self.programs.kubectl()).args(args))
    }

    /// `kubectl apply` of one or more YAML documents, in `namespace` where they name none.
    ///
    /// # Errors
    /// The API server refused one, in its own words.
    pub fn apply(&self, namespace: &str, yaml: &str) -> Result<String> {
        let mut apply = self.command(self.programs.kubectl());
        apply.args(["apply", "--namespace", namespace, "--filename=-"]);
        run::output_of(&mut apply, yaml)
    }

    /// Runs one of the two Helms and gives back what it printed.
    ///
    /// # Errors
    /// It failed: the error has its stderr.
    pub fn helm(&self, helm: Helm, args: &[&str]) -> Result<String> {
        run::output(self.command(self.programs.helm(helm)).args(args))
    }

    /// Packs the chart in the folder `chart` and pushes it to the registry, where it is
    /// `oci://REGISTRY/charts/NAME`, tagged with its version.
    ///
    /// # Errors
    /// A chart that Helm refuses, or a cluster without a registry.
    pub fn push_chart(&self, chart: &Path) -> Result<()> {
        if !self.options.registry {
            return Err(Error::NotAskedFor { what: "registry", option: "with_registry" });
        }
        let dir = self.path(&format!("chart-{}", self.number()));
        let mut package = self.command(self.programs.helm(Helm::Four));
        let said = run::output(package.arg("package").arg(chart).args(["--destination", &dir]))?;
        let Some((_, packed)) = said.rsplit_once("saved it to: ") else {
            return Err(Error::Command { command: "helm package".to_owned(), reason: said });
        };
        let repository = format!("oci://{}/charts", Cluster::REGISTRY);
        self.helm(Helm::Four, &["push", packed, &repository, "--plain-http"]).map(drop)
    }

    /// Makes a namespace that no one else uses, named `PREFIX-N`. Pods can be made in it at once.
    ///
    /// # Errors
    /// The API server refused it.
    pub fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", self.number());
        self.kubectl(&["create", "namespace", &name])?;
        if self.options.controllers {
            self.kubectl(&[
                "wait",
                "--for=create",
                "serviceaccount/default",
                "--namespace",
                &name,
                "--timeout=30s",
            ])?;
        }
        Ok(name)
    }

    /// Waits until `probe` gives something, asking again after longer and longer pauses (a quarter of a second at most).
    /// For what kubectl can say, `kubectl wait` is better: it watches.
    ///
    /// # Errors
    /// `what` did not come about `within` that time, or a part of the cluster has ended.
    pub fn eventually<T>(&self, what: &str, within: Duration, probe: impl FnMut() -> Option<T>) -> Result<T> {
        let found = self.parts.wait(within, probe)?;
        found.ok_or_else(|| Error::NotInTime { what: what.to_owned(), within, logs: self.logs().to_owned() })
    }

    /// The log of requests to the API server, where [`Options::with_audit`](crate::Options::with_audit) asked for it:
    /// an audit.k8s.io/v1 Event a line, with verb, user and object but without bodies. A request is in it no later than
    /// a moment after its answer.
    pub fn audit_log(&self) -> Option<PathBuf> {
        self.options.audit.then(|| self.logs().join("audit.log"))
    }
}
