//! An *Upgrade* of another engine may never report its end. Who waits for one also watches the HelmRelease that it upgrades, and waits
//! no longer than that shows, or [`UPGRADE_ENDS_AFTER`](hookhost_core::conflict::UPGRADE_ENDS_AFTER).

use std::time::Duration;

use hookhost_core::conflict::Upgrade;
use hookhost_core::operation::Operation;
use hookhost_core::refusal::Refusal;
use hookhost_core::target::{Instance, ObjectName, TargetKind};
use jiff::Timestamp;
use serde_json::Value;

use super::start::awaited as awaited_object;
use super::{Context, Subject};
use crate::error::{Error, Result};
use crate::looks::Action;
use crate::watch::{Awaited, Kind};

impl Context {
    /// Reports for which other Operation this one waits, or reconciles it again at once where that is an Upgrade which is over.
    pub(super) async fn wait_for_turn(
        &self,
        subject: &Subject,
        operation: &Operation,
        refusal: Refusal,
    ) -> Result<Action> {
        let Some(upgrade) = self.turns.upgrade_before(&subject.uid) else {
            self.targets.forget(&subject.key);
            return self.refuse(subject, refusal).await;
        };
        match self.upgrade_rest(subject, operation, &upgrade).await? {
            Some(rest) => Ok(self.refuse(subject, refusal).await?.or_sooner(rest)),
            None => Ok(Action::requeue(Duration::ZERO)),
        }
    }

    /// How long the Upgrade is still waited for, if nothing happens; nothing where it is over, which is noted. The Operation is
    /// reconciled when the HelmRelease changes.
    pub(super) async fn upgrade_rest(
        &self,
        subject: &Subject,
        operation: &Operation,
        upgrade: &Upgrade,
    ) -> Result<Option<Duration>> {
        let mut awaited = Vec::new();
        let release = match self.release_of_target(subject, operation, &mut awaited).await {
            // What cannot be read shows nothing.
            Err(Error::Target(_)) => None,
            release => release?,
        };
        let rest = upgrade.rest(release.as_ref(), Timestamp::now());
        if rest.is_some() {
            self.targets.wait(&subject.key, awaited);
        } else {
            tracing::info!(
                upgrade = upgrade.uid,
                "an Upgrade of another engine is over though it does not say so"
            );
            self.turns.pass(upgrade);
        }
        Ok(rest)
    }

    /// The HelmRelease of the Operation's target; none where there is none. `awaited` is filled with what was read for that.
    async fn release_of_target(
        &self,
        subject: &Subject,
        operation: &Operation,
        awaited: &mut Vec<Awaited>,
    ) -> Result<Option<Value>> {
        let namespace = &subject.key.namespace;
        let name = &operation.target_ref.name;
        let release = match TargetKind::of(&operation.target_ref) {
            Ok(TargetKind::ApplicationInstance) => {
                awaited.push(awaited_object(Kind::ApplicationInstance, namespace, name));
                let object = self.reader.target(Kind::ApplicationInstance, namespace, name).await?;
                let Some(object) = object else { return Ok(None) };
                Instance::from_json(&object)?.helm_release
            }
            Ok(TargetKind::HelmRelease) => ObjectName { namespace: namespace.clone(), name: name.clone() },
            Ok(TargetKind::Release) | Err(_) => return Ok(None),
        };
        // What it does not serve it does not read.
        if !self.gated.contains(&release.namespace) {
            return Ok(None);
        }
        awaited.push(awaited_object(Kind::HelmRelease, &release.namespace, &release.name));
        self.reader.target(Kind::HelmRelease, &release.namespace, &release.name).await
    }
}
