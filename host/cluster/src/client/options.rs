//! What a person or a manifest says about which cluster to use.

use std::path::PathBuf;

use kube::Config;
use kube::config::Kubeconfig;

use super::kubeconfig::{self, NoWay};
use super::proxy::{Environment, Proxy};
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
        let (mut config, proxy) = self.config()?;
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        Connection::through(proxy, config)
    }

    fn config(&self) -> Result<(Config, Option<Proxy>), Error> {
        let unusable = |file: String| move |source| Error::Kubeconfig { file, source: Box::new(source) };
        if let Some(file) = &self.kubeconfig {
            let shown = file.display().to_string();
            let read = kubeconfig::read(file).map_err(unusable(shown.clone()))?;
            return self.choose(&read, shown);
        }
        // The variable may name several files, which are merged as kubectl does.
        let value = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let files: Vec<PathBuf> =
            std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect();
        if !files.is_empty() {
            let shown = value.to_string_lossy().into_owned();
            let read = kubeconfig::read_list(&files).map_err(|(file, source)| {
                unusable(file.map_or_else(|| shown.clone(), |file| file.display().to_string()))(source)
            })?;
            return self.choose(&read, shown);
        }
        let home = std::env::home_dir().unwrap_or_default().join(".kube/config");
        if home.exists() || self.context.is_some() {
            let shown = home.display().to_string();
            let read = kubeconfig::read(&home).map_err(unusable(shown.clone()))?;
            return self.choose(&read, shown);
        }
        // Kubernetes sets this variable in every container.
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
            return Err(Error::NoCluster { looked: home });
        }
        // Its API server is a neighbour, to whom no proxy leads.
        let config =
            Config::incluster().map_err(|source| Error::ServiceAccount { source: Box::new(source) })?;
        Ok((config, None))
    }

    fn choose(&self, read: &Kubeconfig, file: String) -> Result<(Config, Option<Proxy>), Error> {
        if let Some(context) = &self.context {
            let known = kubeconfig::contexts(read);
            if !known.contains(context) {
                return Err(Error::NoContext { file, context: context.clone(), known });
            }
        }
        kubeconfig::config(read, self.context.as_deref(), &Environment::of_process()).map_err(|error| {
            match error {
                NoWay::Unusable(source) => Error::Kubeconfig { file, source: Box::new(source) },
                NoWay::Proxy(error) => Error::Proxy(error),
            }
        })
    }
}
