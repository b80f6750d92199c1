//! A *kubeconfig* is a file, or a list of them, that says which cluster to use and as whom: read and merged as kubectl does.
//!
//! Of a list the first file to say something wins, name by name; paths in a file are relative to it; a file of the list that
//! is not there is passed over, unless all are. Files may have a byte order mark. An empty text is nothing said, as in Go.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hookhost_helm::encoding::{self, EncodingError};
use hookhost_helm::text::{list, printable, quote};
use hookhost_helm::yaml::{self, YamlError};
use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::proxy::{self, Environment, Proxy, ProxyError};

/// Bytes of a file: a thousand clusters with their certificates take a few MiB.
const FILE_BYTES: u64 = 16 << 20;

/// Names that advice lists.
const SHOWN: usize = 10;

/// Why a kubeconfig cannot be used. Nothing of its content is shown but names and addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It is not there, or cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// None of a list is there.
    #[error("none of these files is there")]
    AllMissing,
    /// More than a kubeconfig can have.
    #[error("it has more than {FILE_BYTES} bytes")]
    TooLarge,
    /// No text.
    #[error("it is no text")]
    Encoding(#[from] EncodingError),
    /// Not YAML.
    #[error("it is not YAML")]
    Yaml(#[from] YamlError),
    /// Something else than a kubeconfig.
    #[error("it is a {}, not a kubeconfig", quote(.0))]
    OtherKind(String),
    /// A field of another type than it must have.
    #[error("{path} is wrong: {problem}")]
    Field {
        /// Where, for example `clusters[0].cluster.server`.
        path: String,
        /// What is wrong there.
        problem: String,
    },
    /// No context is chosen.
    #[error("it has no current-context")]
    NoContextChosen {
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// The current context is not there.
    #[error("its current-context {} is no context of it", quote(.name))]
    NoSuchContext {
        /// The name.
        name: String,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// The context's cluster is not there.
    #[error("its context {} names the cluster {}, which it does not have", quote(.context), quote(.cluster))]
    NoSuchCluster {
        /// The context.
        context: String,
        /// The cluster's name.
        cluster: String,
    },
    /// The cluster has no usable address.
    #[error("its cluster {} has the server {}, which is no address", quote(.cluster), quote(.server))]
    Server {
        /// The cluster.
        cluster: String,
        /// What is there.
        server: String,
    },
    /// The cluster's certificate authority cannot be used.
    #[error("the certificate authority of its cluster {} cannot be used", quote(.cluster))]
    Authority {
        /// The cluster.
        cluster: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Unusable {
    /// What to do next.
    pub fn advice(&self) -> String {
        let known = |known: &[String]| match known {
            [] => "It has no contexts at all; name another file: --kubeconfig FILE.".to_owned(),
            known => {
                let more = known.len().saturating_sub(SHOWN);
                let shown = printable(&list(&known[..known.len() - more]));
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                format!(
                    "Choose one of its contexts, {shown}{more}: --context NAME, or kubectl config use-context NAME."
                )
            }
        };
        match self {
            Unusable::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                "There is no such file: correct --kubeconfig, or the variable KUBECONFIG.".into()
            }
            Unusable::Read(_) => {
                "Make it a file that you may read, or name another: --kubeconfig FILE, or the variable KUBECONFIG."
                    .into()
            }
            Unusable::AllMissing => "Correct the variable KUBECONFIG, or unset it to use ~/.kube/config.".into(),
            Unusable::TooLarge | Unusable::OtherKind(_) => {
                "Check that it is the file you meant: --kubeconfig FILE, or the variable KUBECONFIG.".into()
            }
            Unusable::Encoding(_) => "Save it as UTF-8, or as UTF-16 with a byte order mark.".into(),
            Unusable::Yaml(_) | Unusable::Field { .. } => {
                "Correct the file; `kubectl config view` shows what kubectl makes of it.".into()
            }
            Unusable::NoContextChosen { known: names } | Unusable::NoSuchContext { known: names, .. } => known(names),
            Unusable::NoSuchCluster { .. } => {
                "Add the cluster (`kubectl config set-cluster`), or choose another context: --context NAME.".into()
            }
            Unusable::Server { .. } => {
                "Correct the cluster's server; it is as https://HOST:PORT.".into()
            }
            Unusable::Authority { .. } => {
                "Correct the cluster's certificate-authority or certificate-authority-data: base64 of PEM.".into()
            }
        }
    }
}

/// A file that is named.
pub(crate) fn read(path: &Path) -> Result<Kubeconfig, Unusable> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Unusable::Read)?;
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Unusable::Read)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Unusable::TooLarge);
    }
    // What follows in a text of several documents is not looked at by kubectl either.
    let document = yaml::read(&encoding::text(bytes)?)?.into_iter().next().unwrap_or_default();
    let mut kubeconfig = typed(document)?;
    resolve_paths(&mut kubeconfig, path.parent().unwrap_or(Path::new("")));
    Ok(kubeconfig)
}

/// The files of a list, merged. The error says of which it is, where it is of one.
pub(crate) fn read_list(paths: &[PathBuf]) -> Result<Kubeconfig, (Option<PathBuf>, Unusable)> {
    let mut merged: Option<Kubeconfig> = None;
    for path in paths {
        let next = match read(path) {
            Ok(next) => next,
            Err(Unusable::Read(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err((Some(path.clone()), error)),
        };
        merged = Some(match merged {
            // Of one kind and version they are: there is only one.
            Some(before) => before.merge(next).map_err(|error| {
                let problem = error.to_string();
                (Some(path.clone()), Unusable::Field { path: "kind".into(), problem })
            })?,
            None => next,
        });
    }
    merged.ok_or((None, Unusable::AllMissing))
}

fn typed(mut document: Value) -> Result<Kubeconfig, Unusable> {
    if document.is_null() {
        return Ok(Kubeconfig::default());
    }
    forget_empty(&mut document);
    if let Some(kind) = document.get("kind").and_then(Value::as_str)
        && kind != "Config"
    {
        return Err(Unusable::OtherKind(kind.to_owned()));
    }
    serde_path_to_error::deserialize(document).map_err(|error| {
        let message = error.inner().to_string();
        // What stands before may be what is there, a token say.
        let problem = match message.rsplit_once("expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None if message.starts_with("missing field") => message,
            None => "the value does not fit".to_owned(),
        };
        Unusable::Field { path: error.path().to_string(), problem }
    })
}

/// Removes nulls, and empty texts where they mean nothing said: they would hide a later file's, or name a folder as a file.
fn forget_empty(document: &mut Value) {
    let forget = |value: &mut Value| {
        if let Value::Object(map) = value {
            map.retain(|_, value| value != "");
        }
    };
    forget_nulls(document);
    forget(document);
    for (all, one) in [("clusters", "cluster"), ("users", "user"), ("contexts", "context")] {
        let entries = document.get_mut(all).and_then(Value::as_array_mut);
        entries.into_iter().flatten().filter_map(|entry| entry.get_mut(one)).for_each(forget);
    }
    // A context that is not used may be unfinished.
    let contexts = document.get_mut("contexts").and_then(Value::as_array_mut);
    for context in contexts.into_iter().flatten().filter_map(|entry| entry.get_mut("context")) {
        if let Value::Object(context) = context {
            context.entry("cluster").or_insert_with(|| "".into());
        }
    }
}

fn forget_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(forget_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_nulls),
        _ => {}
    }
}

/// Makes the paths in a file relative to it, as kubectl does.
fn resolve_paths(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let resolve = |path: &mut Option<String>| {
        if let Some(text) = path
            && let Some(whole) = folder.join(&*text).to_str()
        {
            *text = whole.to_owned();
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        resolve(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        let AuthInfo { client_certificate, client_key, token_file, exec, .. } = user;
        [client_certificate, client_key, token_file].into_iter().for_each(resolve);
        // A name alone is looked for on the PATH.
        if let Some(exec) = exec
            && exec.command.as_ref().is_some_and(|command| command.contains(std::path::is_separator))
        {
            resolve(&mut exec.command);
        }
    }
}

/// The names of the contexts, sorted.
pub(crate) fn contexts(kubeconfig: &Kubeconfig) -> Vec<String> {
    let mut known: Vec<String> = kubeconfig.contexts.iter().map(|known| known.name.clone()).collect();
    known.sort();
    known
}

/// Why there is no way to a kubeconfig's cluster.
#[derive(Debug)]
pub(crate) enum NoWay {
    Unusable(Unusable),
    Proxy(ProxyError),
}

impl From<Unusable> for NoWay {
    fn from(error: Unusable) -> NoWay {
        NoWay::Unusable(error)
    }
}

impl From<ProxyError> for NoWay {
    fn from(error: ProxyError) -> NoWay {
        NoWay::Proxy(error)
    }
}

/// What clients are made of, and the proxy that they go through.
pub(crate) fn config(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    environment: &Environment,
) -> Result<(Config, Option<Proxy>), NoWay> {
    let known = || contexts(kubeconfig);
    let name = context.or(kubeconfig.current_context.as_deref());
    let name = name.ok_or_else(|| Unusable::NoContextChosen { known: known() })?;
    let found = kubeconfig.contexts.iter().find(|known| known.name == name);
    let chosen = found.and_then(|named| named.context.clone());
    let chosen = chosen.ok_or_else(|| Unusable::NoSuchContext { name: name.to_owned(), known: known() })?;
    let found = kubeconfig.clusters.iter().find(|known| known.name == chosen.cluster);
    let cluster = found.and_then(|named| named.cluster.clone()).ok_or_else(|| Unusable::NoSuchCluster {
        context: name.to_owned(),
        cluster: chosen.cluster.clone(),
    })?;
    // One without a user is nobody, as in kubectl.
    let users = kubeconfig.auth_infos.iter().filter(|known| Some(&known.name) == chosen.user.as_ref());
    let mut user = users.filter_map(|named| named.auth_info.clone()).next().unwrap_or_default();

    let authority = |source: Box<dyn std::error::Error + Send + Sync>| Unusable::Authority {
        cluster: chosen.cluster.clone(),
        source,
    };
    let for_plugins = ExecAuthCluster::try_from(&cluster).map_err(|error| authority(plain(error)))?;
    let root_cert = match &for_plugins.certificate_authority_data {
        Some(pem) => Some(certificates(pem).map_err(authority)?),
        None => None,
    };
    if let Some(exec) = &mut user.exec
        && exec.provide_cluster_info
    {
        exec.cluster = Some(for_plugins);
    }
    let server = server(&cluster, &chosen.cluster, &user)?;
    let proxy = proxy::choose(&server, cluster.proxy_url.as_deref(), environment)?;
    let mut config = Config::new(server);
    config.default_namespace = chosen.namespace.unwrap_or_else(|| "default".to_owned());
    config.root_cert = root_cert;
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
    config.disable_compression = cluster.disable_compression.unwrap_or_default();
    config.tls_server_name = cluster.tls_server_name;
    config.auth_info = user;
    config.proxy_url = proxy.as_ref().map(|proxy| proxy.url.clone());
    Ok((config, proxy))
}

/// kube's error without its own cause, which its text repeats.
fn plain(error: KubeconfigError) -> Box<dyn std::error::Error + Send + Sync> {
    error.to_string().into()
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all: Vec<Vec<u8>> = all?.into_iter().map(|certificate| certificate.to_vec()).collect();
    if all.is_empty() { Err("it has no certificate in PEM".into()) } else { Ok(all) }
}

/// The address of a cluster. As for kubectl it may lack its scheme.
fn server(cluster: &Cluster, name: &str, user: &AuthInfo) -> Result<Uri, Unusable> {
    let server = cluster.server.clone().unwrap_or_default();
    let has_tls = cluster.insecure_skip_tls_verify.unwrap_or_default()
        || [&cluster.certificate_authority, &cluster.certificate_authority_data]
            .iter()
            .any(|ca| ca.is_some())
        || user.client_certificate.is_some()
        || user.client_certificate_data.is_some();
    let whole = match server.contains("://") {
        true => server.clone(),
        false => format!("{}://{server}", if has_tls { "https" } else { "http" }),
    };
    let uri: Option<Uri> = whole.parse().ok().filter(|uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    uri.ok_or_else(|| Unusable::Server { cluster: name.to_owned(), server })
}
