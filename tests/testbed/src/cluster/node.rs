//! The *node* of a cluster runs its pods: containerd with runc, a bridge for their network, the kubelet.
//!
//! containerd leaves its shims, and they their containers, to whatever process is number 1. So the node has process and
//! mount namespaces of its own inside the cluster's: its number 1 is a shell that takes in the orphans and ends when
//! its stdin does, and the kernel then ends every shim, container and mount with it. In there, the folders where these
//! programs keep their things are empty and in memory, so that no containerd or kubelet of the machine is touched.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Cluster, READY_WITHIN, ip};
use crate::{Error, Image, Result, cgroup, isolation, needs, run};

/// The node's name.
pub(super) const NAME: &str = "testbed";

/// The user as which its kubelet talks to the API server.
pub(super) const USER: &str = "system:node:testbed";

/// The node's address. Not the API server's, so that the two can be told apart; not 127.0.0.1, which a kubelet refuses.
pub(super) const ADDRESS: &str = "10.77.0.1";

/// The pods' network, and the bridge that it is.
const POD_NETWORK: &str = "10.78.0.0/16";
const BRIDGE: &str = "testbed0";

/// An address of the node where no DNS server listens, so that names that a pod looks up fail at once. Without one, the
/// kubelet would warn about each pod.
const NO_DNS: &str = "10.96.0.10";

/// Process 1 of a node. Its arguments: the folder for the pods' logs. Only `wait` takes in orphans, so it is `cat` that
/// sees the end of stdin.
const INIT: &str = "
for dir in /run/containerd /var/lib/containerd /var/lib/kubelet /var/lib/cni /var/log/containers; do
    mkdir -p $dir && mount -t tmpfs testbed $dir || exit
done
mkdir -p /var/log/pods && mount --bind \"$1\" /var/log/pods || exit
exec 3<&0
cat <&3 >&2 &
echo ready
wait $!
";

/// Programs that pods need and Debian packages have.
#[derive(Debug)]
pub(super) struct NodePrograms {
    containerd: PathBuf,
    ctr: PathBuf,
    /// One of the network plugins; the others are beside it.
    plugin: PathBuf,
    images: Vec<Image>,
}

impl NodePrograms {
    /// Finds all of them, or says what is missing.
    pub(super) fn find() -> Result<NodePrograms> {
        if !isolation::is_root() {
            return Err(Error::NoPods);
        }
        needs::need("runc")?;
        Ok(NodePrograms {
            containerd: needs::need("containerd")?,
            ctr: needs::need("ctr")?,
            plugin: needs::need("host-local")?,
            images: vec![Image::pause()?, Image::busybox(Image::BUSYBOX)?],
        })
    }
}

/// A node that is being used.
#[derive(Debug)]
pub(super) struct Node {
    /// `unshare`; its child is the node's process 1, its stdin that one's.
    process: Child,
    ctr: PathBuf,
}

impl Node {
    fn start(ctr: PathBuf, pod_logs: &Path) -> Result<Node> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        unshare.args(["sh", "-c", INIT, "node"]).arg(pod_logs);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = unshare.spawn().map_err(Error::file("run", "unshare"))?;
        let stdout = process.stdout.take();
        let node = Node { process, ctr };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(Error::file("read from", "unshare"))?;
        }
        if line.trim() == "ready" {
            return Ok(node);
        }
        node.stop();
        // What mkdir or mount said is on stderr already.
        Err(Error::Command { command: "the node's start".to_owned(), reason: "see above".to_owned() })
    }

    /// A command inside the node.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let id = self.process.id();
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{id}/ns/mnt"));
        command.arg(format!("--pid=/proc/{id}/ns/pid_for_children")).arg("--").arg(program);
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path);
        command
    }

    fn import(&self, archive: &Path) -> Result<()> {
        let mut import = self.command(&self.ctr);
        run::output(import.args(["--namespace=k8s.io", "images", "import"]).arg(archive)).map(drop)
    }

    /// Ends all that runs in the node, and returns when it has ended.
    pub(super) fn stop(mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
        let _ = ip(&["link", "delete", BRIDGE]);
    }
}

impl Cluster {
    /// Starts containerd, with the images that every cluster has.
    pub(super) fn start_containerd(&mut self, programs: NodePrograms) -> Result<()> {
        let pod_logs = self.logs().join("pods");
        // Of an earlier cluster.
        match fs::remove_dir_all(&pod_logs) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::file("remove", pod_logs)(error));
            }
            _ => fs::create_dir_all(&pod_logs).map_err(Error::file("create", &pod_logs))?,
        }
        for address in [ADDRESS, NO_DNS] {
            ip(&["address", "replace", &format!("{address}/32"), "dev", "lo"])?;
        }
        let networks = self.state.join("cni");
        fs::create_dir(&networks).map_err(Error::file("create", networks))?;
        self.write("cni/testbed.conflist", &network())?;
        self.write("containerd.toml", &containerd_config(&programs.plugin, &self.path("cni")))?;
        let node = self.node.insert(Node::start(programs.ctr, &pod_logs)?);
        let mut containerd = node.command(programs.containerd);
        self.parts.start("containerd", containerd.arg("--config").arg(self.state.join("containerd.toml")))?;
        let node = &*node;
        self.parts.wait_for("containerd", READY_WITHIN, || {
            run::output(node.command(&node.ctr).args(["version"])).is_ok()
        })?;
        programs.images.iter().try_for_each(|image| self.load(image))
    }

    pub(super) fn start_kubelet(&self) -> Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        let cgroup = cgroup::make_all()?;
        self.write("kubelet.yaml", &self.kubelet_config(&cgroup))?;
        let mut kubelet = node.command(self.programs.kubebox());
        kubelet.args([
            "kubelet",
            &format!("--config={}", self.path("kubelet.yaml")),
            &format!("--kubeconfig={}", self.path("node.kubeconfig")),
            &format!("--hostname-override={NAME}"),
            &format!("--node-ip={ADDRESS}"),
        ]);
        self.parts.start("kubelet", &mut kubelet)
    }

    /// Waits until a pod can be scheduled: the node is ready, and no longer tainted.
    pub(super) fn wait_for_node(&self) -> Result<()> {
        const READY_AND_TAINTS: &str =
            "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}{.spec.taints}";
        self.parts.wait_for("kubelet", READY_WITHIN, || {
            self.kubectl(&["get", "node", NAME, READY_AND_TAINTS]).is_ok_and(|status| status == "True")
        })
    }

    /// Gives an image to the node, where pods can use it by its name without pulling.
    ///
    /// # Errors
    /// A cluster without pods, or a file of the image that cannot be read.
    pub fn load(&self, image: &Image) -> Result<()> {
        let node = self.node.as_ref().ok_or(Error::NotAskedFor { what: "node", option: "pods" })?;
        let archive = self.state.join(format!("image-{}.tar", self.number()));
        image.write(&archive)?;
        node.import(&archive)?;
        fs::remove_file(&archive).map_err(Error::file("remove", archive))
    }

    fn kubelet_config(&self, cgroup: &str) -> String {
        let [authority, certificate, key] =
            ["ca.crt", "kubelet.crt", "kubelet.key"].map(|name| quoted(&self.path(name)));
        // Disk and swap are the machine's business, not this cluster's.
        format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {ADDRESS}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {authority}}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {certificate}
tlsPrivateKeyFile: {key}
healthzPort: 0
readOnlyPort: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
evictionHard:
  {{memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
volumePluginDir: /var/lib/kubelet/volume-plugins
resolvConf: \"\"
clusterDNS: [{NO_DNS}]
clusterDomain: cluster.local
"
        )
    }
}

fn containerd_config(plugin: &Path, networks: &str) -> String {
    let plugins = plugin.parent().unwrap_or(plugin).to_string_lossy();
    // restrict_oom_score_adj: a root without CAP_SYS_RESOURCE, in a container for example, may not lower it.
    format!(
        "version = 2
disabled_plugins = [
  \"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\",
  \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\",
  \"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\",
]
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = {pause}
  disable_apparmor = true
  enable_unprivileged_ports = true
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  stream_server_address = \"127.0.0.1\"
  [plugins.\"io.containerd.grpc.v1.cri\".cni]
    bin_dir = {plugins}
    conf_dir = {networks}
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
    runtime_type = \"io.containerd.runc.v2\"
    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
      SystemdCgroup = false
",
        pause = quoted(Image::PAUSE),
        plugins = quoted(&plugins),
        networks = quoted(networks),
    )
}

fn network() -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "testbed", "plugins": [{{"type": "bridge", "bridge": "{BRIDGE}",
  "isGateway": true, "ipMasq": false, "hairpinMode": true, "ipam": {{"type": "host-local",
  "dataDir": "/var/lib/cni/networks", "ranges": [[{{"subnet": "{POD_NETWORK}"}}]],
  "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}"#
    )
}

/// A string as YAML and TOML both read it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
