//! A *module* is the file that a policy's component comes in: a stock policy, a key of a ConfigMap, or a file of this machine.
//!
//! A ConfigMap is read by its name, never listed or watched: that is the right that hookhost needs least. A file must be
//! below the directory that whoever runs hookhost has chosen; links may lead to other places below it (as in mounted
//! ConfigMaps), not out of it.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use hookhost_core::Reason;
use hookhost_core::refusal::chain;
use hookhost_helm::text::quote;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::problem::Problem;
use super::{Options, stock};
use crate::crd::{ConfigMapKey, Module};
use hookhost_cluster::client::{self, Call, Verb};

/// Bytes that are read of a file: one more than the sandbox takes, so that its own error, which says more, comes.
const FILE_BYTES: u64 = (4 << 20) + 1;

/// Where a module is.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A key of a ConfigMap's binaryData.
    ConfigMap(ConfigMapKey),
    /// A path below the directory for policies.
    File(PathBuf),
    /// The name of a stock policy.
    Stock(String),
}

/// Why a module could not be had.
#[derive(Clone, Debug)]
pub(super) struct NotRead {
    pub(super) problem: Problem,
    /// It says nothing about the module: the API server, or this machine, could not look.
    pub(super) is_transient: bool,
}

impl Source {
    /// Where a HookPolicy says that its module is.
    pub(super) fn new(module: Module) -> Result<Source, Problem> {
        let invalid = |message: String| Problem::new(Reason::ValidationFailed, message);
        match (module.config_map, module.file, module.stock) {
            (Some(key), None, None) => Ok(Source::ConfigMap(key)),
            (None, None, Some(name)) if stock::is_name(&name) => Ok(Source::Stock(name)),
            (None, None, Some(name)) => Err(invalid(format!(
                "spec.module.stock: found {}, expected the name of a stock policy, for example deadline-cap",
                quote(&name)
            ))),
            (None, Some(file), None) => {
                let path = PathBuf::from(&file);
                let is_below =
                    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
                if !is_below || file.is_empty() || file.contains('\0') {
                    let found = quote(&file);
                    return Err(invalid(format!(
                        "spec.module.file: found {found}, expected a path below --policy-dir"
                    )));
                }
                Ok(Source::File(path))
            }
            _ => Err(invalid("spec.module: give exactly one of stock, configMap and file".into())),
        }
    }

    /// Reads the module's bytes.
    pub(super) async fn read(&self, client: &kube::Client, options: &Options) -> Result<Vec<u8>, NotRead> {
        match self {
            Source::ConfigMap(key) => read_config_map(client, key).await,
            Source::File(path) => {
                let Some(dir) = options.policy_dir.clone() else {
                    return Err(missing(format!(
                        "{self} is not read: hookhost was started without --policy-dir"
                    )));
                };
                read_below(dir, path.clone()).await.map_err(|error| self.explain(&error))
            }
            Source::Stock(name) => {
                let dir = options.stock_policies.clone().or_else(stock::beside_program);
                let read = match dir.clone() {
                    Some(dir) => read_below(dir, stock::file(name)).await,
                    None => Err(ErrorKind::NotFound.into()),
                };
                read.map_err(|error| match error.kind() {
                    ErrorKind::NotFound => {
                        missing(format!("there is no {self}: {}", stock::known(dir.as_deref())))
                    }
                    _ => self.explain(&error),
                })
            }
        }
    }

    fn explain(&self, error: &io::Error) -> NotRead {
        let is_missing = matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidInput
        );
        NotRead { is_transient: !is_missing, ..missing(format!("{self} cannot be read: {error}")) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::ConfigMap(ConfigMapKey { namespace, name, key }) => {
                write!(f, "the key {} of the ConfigMap {namespace}/{name}", quote(key))
            }
            Source::File(path) => write!(f, "the file {} below --policy-dir", quote(&path.to_string_lossy())),
            Source::Stock(name) => write!(f, "stock policy {}", quote(name)),
        }
    }
}

fn missing(message: String) -> NotRead {
    NotRead { problem: Problem::new(Reason::PolicyModuleMissing, message), is_transient: false }
}

async fn read_config_map(client: &kube::Client, wanted: &ConfigMapKey) -> Result<Vec<u8>, NotRead> {
    let ConfigMapKey { namespace, name, key } = wanted;
    // These become parts of a URL.
    for (text, is_name) in [
        (namespace, hookhost_helm::name::is_dns_label(namespace)),
        (name, hookhost_helm::name::is_dns_subdomain(name)),
    ] {
        if !is_name {
            return Err(missing(format!("spec.module.configMap: {} is no name of Kubernetes", quote(text))));
        }
    }
    let call = Call::new::<ConfigMap>(Verb::Get, Some(namespace), name);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let config_map = match client::read(&call, api.get(name)).await {
        Ok(config_map) => config_map,
        Err(client::Error::NotFound { .. }) => {
            return Err(missing(format!(
                "there is no ConfigMap {namespace}/{name}; make it with `kubectl create configmap {name} -n {namespace} \
                 --from-file={key}=POLICY.wasm`"
            )));
        }
        Err(error) => {
            let advice = match error {
                client::Error::Forbidden { .. } => {
                    "hookhost's Helm chart lets it read ConfigMaps of one namespace: its own, or the one of the value \
                     policies.namespace. Put the ConfigMap there."
                        .to_owned()
                }
                _ => error.advice(),
            };
            let problem = Problem::new(error.reason(), format!("{}. {advice}", chain(&error)));
            return Err(NotRead { problem, is_transient: error.is_transient() });
        }
    };
    if let Some(bytes) = config_map.binary_data.and_then(|mut data| data.remove(key)) {
        return Ok(bytes.0);
    }
    let hint = match config_map.data.is_some_and(|data| data.contains_key(key)) {
        true => {
            "it is in data, which holds text only; `kubectl create configmap --from-file` puts it into binaryData"
        }
        false => "add it to binaryData, for example with `kubectl create configmap --from-file`",
    };
    Err(missing(format!("the ConfigMap {namespace}/{name} has no key {} in binaryData: {hint}", quote(key))))
}

/// Reads a file below a directory, where nobody waits for the disk.
async fn read_below(dir: PathBuf, path: PathBuf) -> io::Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || read_file(&dir, &path))
        .await
        .unwrap_or_else(|error| Err(error.into()))
}

/// Reads a file below a directory. The directory is its owner's, so what is checked here does not change before it is
/// opened.
fn read_file(dir: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let dir = dir.canonicalize()?;
    let file = dir.join(path).canonicalize()?;
    if !file.starts_with(&dir) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a link to a place that is not below"));
    }
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(file: &str) -> Result<Source, Problem> {
        Source::new(Module { file: Some(file.into()), ..Module::default() })
    }

    #[test]
    fn a_file_is_named_below_the_directory_for_policies_or_refused() {
        for good in ["a.wasm", "sub/a.wasm", "./a.wasm", "a..b"] {
            assert!(file(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../../b", "a/..", "a\0b"] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_is_in_one_place() {
        let (file, stock) = (|| Some("a".to_owned()), || Some("a".to_owned()));
        let config_map = || Some(ConfigMapKey::default());
        for module in [
            Module { file: file(), config_map: config_map(), ..Module::default() },
            Module { file: file(), stock: stock(), ..Module::default() },
            Module { stock: stock(), config_map: config_map(), ..Module::default() },
            Module::default(),
        ] {
            assert_eq!(Source::new(module).unwrap_err().reason, Reason::ValidationFailed);
        }
    }

    #[test]
    fn a_stock_policy_is_named_without_path_or_extension() {
        let stock = |name: &str| Source::new(Module { stock: Some(name.into()), ..Module::default() });
        assert_eq!(stock("deadline-cap").unwrap(), Source::Stock("deadline-cap".into()));
        for bad in ["", "../a", "a/b", "deadline-cap.wasm", "a\0"] {
            assert!(stock(bad).unwrap_err().message.contains("for example deadline-cap"), "{bad}");
        }
    }

    #[test]
    fn links_may_lead_anywhere_below_the_directory_but_not_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"secret").unwrap();
        // As a mounted ConfigMap looks.
        std::fs::create_dir(dir.path().join("..2026")).unwrap();
        std::fs::write(dir.path().join("..2026/a.wasm"), b"wasm").unwrap();
        symlink("..2026", dir.path().join("..data")).unwrap();
        symlink("..data/a.wasm", dir.path().join("a.wasm")).unwrap();
        symlink(outside.path().join("secret"), dir.path().join("b.wasm")).unwrap();
        symlink(outside.path(), dir.path().join("sub")).unwrap();

        let read = |name: &str| read_file(dir.path(), Path::new(name));
        assert_eq!(read("a.wasm").unwrap(), b"wasm");
        for bad in ["b.wasm", "sub/secret", "..2026"] {
            assert_eq!(read(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
        assert_eq!(read("none").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn no_more_of_a_file_is_read_than_the_sandbox_would_take() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_file(dir.path(), Path::new("huge")).unwrap().len() as u64, FILE_BYTES);
    }
}
