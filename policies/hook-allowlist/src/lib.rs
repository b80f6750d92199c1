//! `hook-allowlist`: which hooks may run, and what the objects that they need may be.

mod objects;
mod table;

use hook_policy::glob::Glob;
use hook_policy::{AnyOf, Decision, Event, Policy, Request, Selector, SettingsError};
use schemars::JsonSchema;
use serde::Deserialize;

use objects::Forbidden;
use table::Name;

/// Hooks that may run, and objects that none may need.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The runs that are allowed: a run must fit at least one of these entries. Left out: one entry that every run fits, and that does
    /// not allow destructive hooks.
    #[serde(default = "any_hook")]
    allow: AnyOf<Allowed>,
    /// When a hook counts as destructive. True: as soon as one of its events is pre-delete, post-delete, pre-rollback or
    /// post-rollback. Left out or false: only if it has no other events, or the Operation asks for one of these
    /// (parameters.event).
    #[serde(default)]
    any_destructive_event: bool,
    /// Objects that a hook may not need: a run whose hook needs one is denied. Left out: the table in the policy's README, which is
    /// what amounts to all rights in the namespace or to more. An empty list forbids nothing.
    forbid: Option<Vec<Forbidden>>,
    /// Rows of the README's table that do not apply here, by their names. Not together with forbid, which replaces the table.
    #[serde(default)]
    permit: Vec<Name>,
    /// Roles of the release or the cluster that a hook's bindings may refer to though the chart has them as no hook, so that nobody
    /// sees here what they grant: globs for Kind/name, such as ClusterRole/view. Left out: none. Not together with forbid.
    #[serde(default)]
    existing_roles: Vec<Glob>,
}

/// Hooks that may run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Allowed {
    /// Which runs; left out: every run.
    #[serde(rename = "match")]
    selector: Selector,
    /// Whether this entry allows destructive hooks too: those for pre-delete, post-delete, pre-rollback or post-rollback, which often
    /// delete the release's data. Which hooks count as such, anyDestructiveEvent says. Left out: false.
    destructive: bool,
}

fn any_hook() -> AnyOf<Allowed> {
    AnyOf::from([Allowed::default()])
}

/// The policy.
pub struct HookAllowlist;

impl Policy for HookAllowlist {
    type Settings = Settings;

    fn evaluate(request: &Request, settings: &Settings) -> Decision {
        let fitting: Vec<_> =
            settings.allow.iter().filter(|allowed| allowed.selector.matches(request)).collect();
        if fitting.is_empty() {
            let allowed: Vec<_> = settings.allow.iter().map(|allowed| allowed.selector.to_string()).collect();
            let message = format!(
                "{} fits nothing that the policy allows; it allows: {}",
                who(request),
                allowed.join("; ")
            );
            return Decision::deny("HookNotAllowed", message);
        }
        if let Some(event) = destructive(request, settings.any_destructive_event)
            && !fitting.iter().any(|allowed| allowed.destructive)
        {
            return Decision::deny(
                "DestructiveHook",
                format!(
                    "{} is not allowed: this run is for {event}, when a release is deleted or rolled back, and such hooks often \
                     delete its data. Settings can allow it: destructive: true in the entry of allow that the run fits",
                    who(request)
                ),
            );
        }
        let by_default;
        let forbid = match &settings.forbid {
            Some(forbid) => forbid,
            None => {
                by_default = table::forbidden(&settings.permit, &settings.existing_roles);
                &by_default
            }
        };
        let found = forbid.iter().find_map(|forbidden| forbidden.find(request));
        match found {
            Some(found) => Decision::deny("ObjectNotAllowed", format!("{} needs {found}", who(request))),
            None => Decision::allow(),
        }
    }

    fn validate(settings: &Settings) -> Vec<SettingsError> {
        let forbid = settings.forbid.iter().flatten().enumerate();
        let mut errors: Vec<SettingsError> = forbid
            .filter(|(_, forbidden)| !forbidden.is_possible())
            .map(|(at, _)| {
                let message =
                    "grants is for roles and binds for bindings, and no object is both; make it two entries";
                SettingsError::at(format!("forbid[{at}]"), message)
            })
            .collect();
        if settings.forbid.is_some() && !settings.permit.is_empty() {
            let message = "forbid replaces the table whose rows permit names; give one of them";
            errors.push(SettingsError::at("permit", message));
        }
        if settings.forbid.is_some() && !settings.existing_roles.is_empty() {
            let message = "forbid replaces the table that existingRoles is an exception of; give one of them";
            errors.push(SettingsError::at("existingRoles", message));
        }
        errors
    }
}

/// What of an Operation's parameters says for which event the hook is meant to run.
#[derive(Deserialize)]
struct Asked {
    event: Option<String>,
}

/// The destructive event that the run is for, if it is for one: that which the Operation asks for, or one of the hook's own where
/// all of them are destructive, or any is enough.
fn destructive(request: &Request, any: bool) -> Option<Event> {
    let destructive = || Event::ALL.into_iter().filter(|event| event.is_destructive());
    let own = || destructive().find(|event| request.hook.has_event(event));
    let Ok(Asked { event: asked }) = request.operation.parse_parameters() else {
        // Nobody can tell what was asked for.
        return own();
    };
    let asked = destructive()
        .find(|event| asked.as_ref().is_some_and(|asked| event.as_str().eq_ignore_ascii_case(asked)));
    let has_other =
        Event::ALL.into_iter().any(|event| !event.is_destructive() && request.hook.has_event(event));
    asked.or_else(|| own().filter(|_| any || !has_other))
}

/// The run in words, for messages.
fn who(request: &Request) -> String {
    format!(
        "hook {:?} ({}) of chart {:?} for organisation {:?}",
        request.hook.name,
        request.hook.events.join(", "),
        request.release.chart,
        request.organisation
    )
}

hook_policy::export!(HookAllowlist);

#[cfg(test)]
mod tests;
