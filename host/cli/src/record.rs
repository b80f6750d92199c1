//! A *release* as a person names it: a file with the record, stdin, or a name in the cluster.

use std::path::{Path, PathBuf, is_separator};

use anyhow::{Context, Result};
use hookhost_core::HasReason as _;
use hookhost_core::Reason;
use hookhost_core::plan::Warning;
use hookhost_helm::name::is_dns_subdomain;
use hookhost_helm::record::Record;
use hookhost_helm::status::Status;
use hookhost_helm::text::printable;

use crate::cluster::{self, Newest, Place};
use crate::file;
use crate::problem::Problem;

/// Bytes of the file: a Secret holds 1 MiB, its base64 as YAML or JSON a third more, twice; a List holds several.
const RECORD_BYTES: u64 = 16 << 20;

/// Bytes of a release's name: Helm's own limit.
const NAME_BYTES: usize = 53;

/// Ends of files' names. A release may be called so, but nobody does.
const EXTENSIONS: [&str; 5] = ["yaml", "yml", "json", "gz", "txt"];

/// Where a release is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// From a file, or with `-` from stdin.
    File(PathBuf),
    /// From the cluster, by its name.
    InCluster(String),
}

impl Release {
    /// What a person means: a path, or what is a file here, is a file; what else can be a release's name is one.
    pub(crate) fn of(typed: &Path) -> Release {
        Release::told_apart(typed, !typed.is_dir() && typed.exists())
    }

    fn told_apart(typed: &Path, is_file: bool) -> Release {
        let name = typed.to_str().filter(|name| name.len() <= NAME_BYTES && is_dns_subdomain(name));
        let has_extension =
            typed.extension().and_then(|end| end.to_str()).is_some_and(|end| EXTENSIONS.contains(&end));
        match name {
            Some(name) if !is_file && !has_extension && !name.contains(is_separator) => {
                Release::InCluster(name.to_owned())
            }
            _ => Release::File(typed.to_owned()),
        }
    }

    /// Refuses an option that goes with a release in the cluster only.
    pub(crate) fn check_option(&self, option: Option<&str>) -> Result<(), Problem> {
        match (self, option) {
            (Release::File(path), Some(option)) => {
                let message =
                    format!("{} is a file, and {option} is for a release in the cluster", path.display());
                Err(Problem::new(Reason::UsageInvalid, message).with_advice(
                    "Leave the option away; or, to read a release of that name, go where no such file is.",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Reads its record: with no revision the newest that is deployed, and what to know of a newer one that is not.
    pub(crate) fn read(&self, place: &Place, revision: Option<u32>) -> Result<(Record, Option<Warning>)> {
        match self {
            Release::File(path) => Ok((read(path)?, None)),
            Release::InCluster(name) => cluster::block_on(async {
                let connection = place.connect().await?;
                let namespace = &connection.namespace;
                let newest = match revision {
                    Some(revision) => Newest { revision, newer: None },
                    None => cluster::newest(&connection, namespace, name).await?,
                };
                let record = cluster::record(&connection, namespace, name, newest.revision).await?;
                Ok((
                    record,
                    newest.newer.map(|newer| not_the_newest(namespace, name, newest.revision, newer)),
                ))
            })
            .with_context(|| not_a_file(name)),
        }
    }
}

/// What to know where the deployed revision is not the newest.
fn not_the_newest(namespace: &str, name: &str, revision: u32, newer: (u32, String)) -> Warning {
    let (newer, status) = newer;
    let failed = Status::from_word(&status) == Status::Failed;
    let status = printable(&status);
    let what = if failed {
        format!(
            "the upgrade to revision {newer} failed, so what is in the cluster may be half of either revision"
        )
    } else {
        format!("revision {newer} is {status}, so Helm may be at work on the release")
    };
    Warning {
        code: if failed { "NewerRevisionFailed" } else { "NewerRevisionNotDeployed" },
        message: format!(
            "this is revision {revision} of the release {namespace}/{name}, the newest that is deployed, but {what}: no hook of \
             it is run on demand until a newer revision is deployed (see `helm history -n {namespace} {name}`); \
             --revision {newer} shows that one"
        ),
    }
}

/// Why a release is looked for in the cluster; for errors.
pub(crate) fn not_a_file(name: &str) -> String {
    format!("there is no file {name} here, so it was looked for in the cluster")
}

/// Reads a release record from a file.
fn read(path: &Path) -> Result<Record> {
    let bytes = file::read(path, "release", RECORD_BYTES)?;
    let record = Record::read(&bytes).map_err(|error| {
        let message = format!("cannot read the release {}", path.display());
        Problem::new(error.reason(), message).with_source(error)
    })?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_or_an_existing_file_is_a_file_and_all_else_that_can_be_a_name_is_one() {
        let is_file = |typed: &str, exists: bool| {
            matches!(Release::told_apart(Path::new(typed), exists), Release::File(_))
        };
        for name in ["shop", "shop.v2", "a", "0-b"] {
            assert!(!is_file(name, false), "{name}");
            assert!(is_file(name, true), "{name}");
        }
        let long = "a".repeat(54);
        for path in
            ["-", "./shop", "a/shop", "/dev/fd/63", "shop.yaml", "shop.json", "Shop", "shop_1", "", &long]
        {
            assert!(is_file(path, false), "{path}");
        }
    }

    #[test]
    fn options_for_the_cluster_do_not_go_with_a_file() {
        let file = Release::File("shop.yaml".into());
        let error = file.check_option(Some("--revision")).unwrap_err();
        assert!(error.to_string().contains("shop.yaml is a file, and --revision"), "{error}");
        assert!(file.check_option(None).is_ok());
        assert!(Release::InCluster("shop".into()).check_option(Some("--revision")).is_ok());
    }
}
