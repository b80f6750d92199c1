//! The *extras* of a cluster: an OCI registry, and Flux. They run beside Kubernetes, not in it, so that a cluster has
//! them without pods.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Cluster, READY_WITHIN};
use crate::{Error, Result};

const REGISTRY_PORT: u16 = 5000;

/// Where Flux's controllers listen, all on loopback: artifacts, metrics and health of the source-controller, metrics and
/// health of the helm-controller.
const ARTIFACTS: u16 = 9790;
const SOURCE_METRICS: u16 = 9791;
const SOURCE_HEALTH: u16 = 9792;
const HELM_METRICS: u16 = 9793;
const HELM_HEALTH: u16 = 9794;

impl Cluster {
    pub(super) fn start_registry(&self, program: &Path) -> Result<()> {
        let config = format!(
            "version: 0.1\nhttp: {{addr: \"127.0.0.1:{REGISTRY_PORT}\"}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n",
            serde_json::Value::from(self.path("registry"))
        );
        self.write("registry.yaml", &config)?;
        self.parts.start("registry", Command::new(program).args(["serve", &self.path("registry.yaml")]))?;
        self.parts.wait_for("registry", READY_WITHIN, || answers(REGISTRY_PORT, "/v2/"))
    }

    pub(super) fn start_flux(&self) -> Result<()> {
        let definitions = self.programs.flux_definitions();
        let definitions = format!("--filename={}", definitions.display());
        self.kubectl(&["apply", "--server-side", &definitions])?;
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &definitions])?;
        self.kubectl(&["create", "namespace", "flux-system"])?;
        for name in ["artifacts", "flux-tmp"] {
            let dir = self.state.join(name);
            fs::create_dir(&dir).map_err(Error::file("create", dir))?;
        }
        self.start_flux_part(
            "source-controller",
            &self.programs.source_controller(),
            &[
                format!("--storage-path={}", self.path("artifacts")),
                format!("--storage-addr=127.0.0.1:{ARTIFACTS}"),
                format!("--storage-adv-addr=127.0.0.1:{ARTIFACTS}"),
                format!("--metrics-addr=127.0.0.1:{SOURCE_METRICS}"),
                format!("--health-addr=127.0.0.1:{SOURCE_HEALTH}"),
            ],
        )?;
        self.start_flux_part(
            "helm-controller",
            &self.programs.helm_controller(),
            &[
                format!("--metrics-addr=127.0.0.1:{HELM_METRICS}"),
                format!("--health-addr=127.0.0.1:{HELM_HEALTH}"),
            ],
        )?;
        self.parts.wait_for("source-controller", READY_WITHIN, || answers(SOURCE_HEALTH, "/readyz"))?;
        self.parts.wait_for("helm-controller", READY_WITHIN, || answers(HELM_HEALTH, "/readyz"))
    }

    fn start_flux_part(&self, name: &'static str, program: &Path, flags: &[String]) -> Result<()> {
        let mut command = self.command(program);
        command.args(["--watch-all-namespaces", "--enable-leader-election=false", "--log-encoding=json"]);
        command.args(flags).env("RUNTIME_NAMESPACE", "flux-system").env("TMPDIR", self.path("flux-tmp"));
        self.parts.start(name, &mut command)
    }
}

/// Whether a program on loopback answers a plain HTTP request with 200.
fn answers(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut status = [0; "HTTP/1.0 200".len()];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}
