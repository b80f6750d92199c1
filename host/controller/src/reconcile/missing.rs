//! What is said where a target is *missing*: which other one has its name.

use hookhost_core::target::{self, Namesake, ObjectName, TargetKind, record_name};

use super::Context;
use super::prepare::Stop;
use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::resource::Kind;

/// Bytes of the HelmReleases of a namespace that are read for a hint in a message: of some hundred of the usual size.
const HINT_BYTES: usize = 1 << 20;

impl Context {
    /// Why the Operation fails whose target is not there. What else has the name is asked for then only, so it costs no run
    /// anything.
    pub(super) async fn missing(&self, at: &ObjectName, kind: TargetKind) -> Stop {
        match self.namesake(at, kind).await {
            Ok(namesake) => target::missing(kind, at, namesake).into(),
            Err(error) if is_transient(&error) => Stop::Failed(error),
            // What may not be read is for the message only.
            Err(_) => target::missing(kind, at, None).into(),
        }
    }

    /// What is there by the name of a target that is not. Where hookhost may not list Secrets, a plain release is known by its first
    /// revision, as long as Helm keeps that.
    async fn namesake(&self, at: &ObjectName, missing: TargetKind) -> Result<Option<Namesake>> {
        let ObjectName { namespace, name } = at;
        // Nothing is read, and nobody learns what there is, where hookhost does not act.
        if !self.gated.contains(namespace) {
            return Ok(None);
        }
        let config = &self.config;
        let known =
            |kind, is_served| if is_served { Namesake::Target(kind) } else { Namesake::Disabled(kind) };
        for (kind, of, is_served) in [
            (TargetKind::ApplicationInstance, Kind::ApplicationInstance, true),
            (TargetKind::HelmRelease, Kind::HelmRelease, config.helm_release_targets),
        ] {
            if kind == missing {
                continue;
            }
            match self.reader.target(of, namespace, name).await {
                Ok(Some(_)) => return Ok(Some(known(kind, is_served))),
                Ok(None) => {}
                // A cluster without Flux does not know HelmReleases: there is none of that name either.
                Err(error) if !is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if missing == TargetKind::Release {
            return Ok(None);
        }
        let is_plain = match config.helm_releases {
            true => self.reader.newest_revision(namespace, name).await?.is_some(),
            false => self.reader.has_record(namespace, &record_name(name, 1)).await?,
        };
        // Flux may have made it for a HelmRelease of another name.
        if !is_plain || self.reader.refuse_plain(namespace, name, HINT_BYTES).await?.is_some() {
            return Ok(None);
        }
        Ok(Some(known(TargetKind::Release, config.helm_releases)))
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error, Error::Api(error) if error.is_transient())
}
