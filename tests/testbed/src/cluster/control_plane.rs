//! The *control plane* of a cluster: etcd, API server, controller manager and scheduler, each from kubebox, with the
//! flags that one machine and a short life ask for.

use super::{API, Cluster, READY_WITHIN};
use crate::Result;

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

/// Every request once it is answered, and a watch as it starts, without bodies. Kubernetes' own components are left
/// out: they send a third of all requests, and no test asks what they do.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler]
- level: None
  userGroups: [system:nodes, system:serviceaccounts:kube-system]
- level: Metadata
";

/// MiB of the audit log at which the API server starts another file. By default 100, which a run of all tests in one
/// cluster exceeds: a test that counts requests would miss those in the first file.
const AUDIT_LOG_MIB: u32 = 4096;

/// Requests a second, and at once, that Kubernetes' own clients allow themselves. By default so few (20 and 30) that
/// the controllers take 4 s longer to start.
const CLIENT_RATE: [&str; 2] = ["--kube-api-qps=500", "--kube-api-burst=1000"];

impl Cluster {
    pub(super) fn start_etcd(&self) -> Result<()> {
        let data = self.path("etcd");
        self.start_kubebox(
            "etcd",
            &[
                "--name=testbed",
                &format!("--data-dir={data}"),
                &format!("--listen-client-urls={ETCD}"),
                &format!("--advertise-client-urls={ETCD}"),
                &format!("--listen-peer-urls={ETCD_PEER}"),
                &format!("--initial-advertise-peer-urls={ETCD_PEER}"),
                &format!("--initial-cluster=testbed={ETCD_PEER}"),
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
    }

    pub(super) fn start_api_server(&self) -> Result<()> {
        let mut flags = vec![
            format!("--etcd-servers={ETCD}"),
            format!("--bind-address={}", API.ip()),
            format!("--advertise-address={}", API.ip()),
            format!("--secure-port={}", API.port()),
            format!("--tls-cert-file={}", self.path("apiserver.crt")),
            format!("--tls-private-key-file={}", self.path("apiserver.key")),
            format!("--client-ca-file={}", self.path("ca.crt")),
            format!("--cert-dir={}", self.path("certificates")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.path("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", self.path("service-accounts.key")),
            format!("--kubelet-certificate-authority={}", self.path("ca.crt")),
            format!("--kubelet-client-certificate={}", self.path("apiserver-kubelet.crt")),
            format!("--kubelet-client-key={}", self.path("apiserver-kubelet.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            // Still off by default: with it a test changes objects at their creation, as a webhook does.
            "--feature-gates=MutatingAdmissionPolicy=true".to_owned(),
            "--runtime-config=admissionregistration.k8s.io/v1beta1=true".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // There is one API server, and it is reached at the service's own address.
            "--endpoint-reconciler-type=none".to_owned(),
            "--profiling=false".to_owned(),
        ];
        if let Some(log) = self.audit_log() {
            self.write("audit-policy.yaml", AUDIT_POLICY)?;
            // The API server would go on with an earlier cluster's.
            let _ = std::fs::remove_file(&log);
            flags.push(format!("--audit-policy-file={}", self.path("audit-policy.yaml")));
            flags.push(format!("--audit-log-path={}", log.display()));
            flags.push(format!("--audit-log-maxsize={AUDIT_LOG_MIB}"));
        }
        self.start_kubebox("kube-apiserver", &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(super) fn start_controller_manager(&self) -> Result<()> {
        let kubeconfig = self.path("controller-manager.kubeconfig");
        self.start_kubebox(
            "kube-controller-manager",
            &[
                &format!("--kubeconfig={kubeconfig}"),
                &format!("--service-account-private-key-file={}", self.path("service-accounts.key")),
                &format!("--root-ca-file={}", self.path("ca.crt")),
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--secure-port=0",
                &format!("--flex-volume-plugin-dir={}", self.path("volume-plugins")),
                // So that the node's taint goes as soon as the node is ready.
                "--node-monitor-period=1s",
                CLIENT_RATE[0],
                CLIENT_RATE[1],
            ],
        )
    }

    pub(super) fn start_scheduler(&self) -> Result<()> {
        let kubeconfig = self.path("scheduler.kubeconfig");
        self.start_kubebox(
            "kube-scheduler",
            &[
                &format!("--kubeconfig={kubeconfig}"),
                "--leader-elect=false",
                "--secure-port=0",
                CLIENT_RATE[0],
                CLIENT_RATE[1],
            ],
        )
    }

    /// Waits until a namespace has got its service account, without which no pod is admitted.
    pub(super) fn wait_for_controllers(&self) -> Result<()> {
        self.parts.wait_for("kube-controller-manager", READY_WITHIN, || {
            self.kubectl(&["get", "serviceaccount", "default", "--namespace=default"]).is_ok()
        })
    }

    fn start_kubebox(&self, name: &'static str, flags: &[&str]) -> Result<()> {
        let mut command = std::process::Command::new(self.programs.kubebox());
        self.parts.start(name, command.arg(name).args(flags))
    }
}
