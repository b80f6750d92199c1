//! An *Upgrade* of another engine may never report its end. One of those that wait for it also watches the HelmRelease that it
//! upgrades, and they wait no longer than that shows, or [`UPGRADE_ENDS_AFTER`](hookhost_core::conflict::UPGRADE_ENDS_AFTER).

use std::time::Duration;

use hookhost_core::conflict::Upgrade;
use hookhost_core::refusal::Refusal;
use hookhost_core::target::{Instance, ObjectName, TargetKind};
use jiff::Timestamp;
use serde_json::Value;

use super::{Context, Subject};
use crate::looks::Action;
use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::resolve::Awaited;
use hookhost_cluster::resource::Kind;

impl Context {
    /// Reports for which other Operation this one waits, or reconciles it again at once where that is an Upgrade which is over.
    pub(super) async fn wait_for_turn(&self, subject: &Subject, refusal: Refusal) -> Result<Action> {
        let Some(upgrade) = self.turns.upgrade_before(&subject.uid) else {
            self.targets.forget(&subject.key);
            return self.refuse(subject, refusal).await;
        };
        match self.upgrade_rest(subject, &upgrade).await? {
            Some(rest) => Ok(self.refuse(subject, refusal).await?.or_sooner(rest)),
            None => Ok(Action::requeue(Duration::ZERO)),
        }
    }

    /// How long the Upgrade is still waited for, if nothing happens; nothing where it is over, which is noted. The Operation is
    /// reconciled when the HelmRelease changes.
    pub(super) async fn upgrade_rest(
        &self,
        subject: &Subject,
        upgrade: &Upgrade,
    ) -> Result<Option<Duration>> {
        let mut awaited = Vec::new();
        let release = match self.release_of_upgrade(upgrade, &mut awaited).await {
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

    /// The HelmRelease of the Upgrade's own target, not of that of the Operation that waits: whoever may make a HelmRelease can say
    /// that it belongs to the same instance. None where there is none. `awaited` is filled with what was read for that.
    async fn release_of_upgrade(
        &self,
        upgrade: &Upgrade,
        awaited: &mut Vec<Awaited>,
    ) -> Result<Option<Value>> {
        let brief = self.operations.by_uid(&upgrade.uid).and_then(|key| self.operations.get(&key));
        let Some(brief) = brief else { return Ok(None) };
        let [namespace, kind, name] = brief.target.parts();
        let release = if kind == TargetKind::ApplicationInstance.kind() {
            awaited.push(Awaited::new(Kind::ApplicationInstance, namespace, name));
            let object = self.reader.target(Kind::ApplicationInstance, namespace, name).await?;
            let Some(object) = object else { return Ok(None) };
            Instance::from_json(&object)?.helm_release
        } else if kind == TargetKind::HelmRelease.kind() {
            ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
        } else {
            return Ok(None);
        };
        // What it does not serve it does not read.
        if !self.gated.contains(&release.namespace) {
            return Ok(None);
        }
        awaited.push(Awaited::new(Kind::HelmRelease, &release.namespace, &release.name));
        self.reader.target(Kind::HelmRelease, &release.namespace, &release.name).await
    }
}
