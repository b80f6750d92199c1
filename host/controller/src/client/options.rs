//! What a person or a manifest says about which cluster to use.

use std::path::PathBuf;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::{Connection, Error};

/// Which cluster to connect to. The default: `$KUBECONFIG`, else `~/.kube/config`, else the pod's service account.
///
/// A file or context that is named, by an option or by the variable, is used or is an error; it is never silently
/// replaced by another cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// A kubeconfig file.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, instead of its current one.
    pub context: Option<String>,
    /// The namespace to work in, instead of the context's.
    pub namespace: Option<String>,
}

impl ConnectionOptions {
    /// Finds and reads the configuration and makes the clients. Nothing is sent to the cluster yet.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let mut config = self.config().await?;
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        Connection::new(config)
    }

    async fn config(&self) -> Result<Config, Error> {
        if let Some(file) = &self.kubeconfig {
            let shown = file.display().to_string();
            return self.load(Kubeconfig::read_from(file), shown).await;
        }
        // The variable may name several files, which are merged as kubectl does.
        if let Some(value) = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
            let shown = value.to_string_lossy().into_owned();
            let read = Kubeconfig::from_env().map(Option::unwrap_or_default);
            return self.load(read, shown).await;
        }
        let home = std::env::home_dir().unwrap_or_default().join(".kube/config");
        if home.exists() || self.context.is_some() {
            return self.load(Kubeconfig::read_from(&home), home.display().to_string()).await;
        }
        // Kubernetes sets this variable in every container.
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
            return Err(Error::NoCluster { looked: home });
        }
        Config::incluster().map_err(|source| Error::ServiceAccount { source: Box::new(source) })
    }

    async fn load(
        &self,
        read: Result<Kubeconfig, kube::config::KubeconfigError>,
        file: String,
    ) -> Result<Config, Error> {
        let unusable = |source, file| Error::Kubeconfig { file, source: Box::new(source) };
        let kubeconfig = match read {
            Ok(kubeconfig) => kubeconfig,
            Err(source) => return Err(unusable(source, file)),
        };
        if let Some(context) = &self.context {
            let mut known: Vec<String> = kubeconfig.contexts.iter().map(|known| known.name.clone()).collect();
            if !known.contains(context) {
                known.sort();
                return Err(Error::NoContext { file, context: context.clone(), known });
            }
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|source| unusable(source, file))
    }
}
