//! What is reported where a target is *missing*: which other target has its name.

use hookhost_core::target::{self, Namesake, ObjectName, TargetKind, record_name};

use super::{Halt, Resolver, Rules, Source};
use crate::error::{Error, Result};
use crate::resource::Kind;

/// Bytes of the HelmReleases of a namespace that are read for a hint in a message: of some hundred of the usual size.
const HINT_BYTES: usize = 1 << 20;

impl<S: Source, R: Rules> Resolver<'_, S, R> {
    /// Why the Operation fails whose target does not exist. What else has the name is read only then, so it costs no run anything.
    pub(super) async fn missing(&self, at: &ObjectName, kind: TargetKind) -> Halt {
        match self.namesake(at, kind).await {
            Ok(namesake) => target::missing(kind, at, namesake).into(),
            Err(error) if is_transient(&error) => Halt::Failed(error),
            // It is only for the message.
            Err(_) => target::missing(kind, at, None).into(),
        }
    }

    /// What exists by the name of a target that does not. Where hookhost may not list Secrets, a plain release is known by its first
    /// revision, as long as Helm keeps that.
    async fn namesake(&self, at: &ObjectName, missing: TargetKind) -> Result<Option<Namesake>> {
        let ObjectName { namespace, name } = at;
        // Nothing is read, and nobody learns what exists, where hookhost does not act.
        if !self.rules.is_managed(namespace) {
            return Ok(None);
        }
        let (reader, serves) = (self.source.reader(), |kind| self.rules.serves(kind));
        let known = |kind| if serves(kind) { Namesake::Target(kind) } else { Namesake::Disabled(kind) };
        for of in [Kind::ApplicationInstance, Kind::HelmRelease] {
            let kind = of.target();
            if kind == missing {
                continue;
            }
            match reader.target(of, namespace, name).await {
                Ok(Some(_)) => return Ok(Some(known(kind))),
                Ok(None) => {}
                // A cluster without Flux does not know HelmReleases: there is none of that name either.
                Err(error) if !is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if missing == TargetKind::Release {
            return Ok(None);
        }
        let is_plain = match serves(TargetKind::Release) {
            true => reader.newest_revision(namespace, name).await?.is_some(),
            false => reader.has_record(namespace, &record_name(name, 1)).await?,
        };
        // Flux may have made it for a HelmRelease of another name.
        if !is_plain || reader.refuse_plain(namespace, name, HINT_BYTES).await?.is_some() {
            return Ok(None);
        }
        Ok(Some(known(TargetKind::Release)))
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error, Error::Api(error) if error.is_transient())
}
