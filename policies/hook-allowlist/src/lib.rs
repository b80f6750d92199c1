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
    /// A run must fit one of these. Left out: every hook may run, except destructive ones.
    #[serde(default = "any_hook")]
    allow: AnyOf<Allowed>,
    /// Whether a hook counts as destructive as soon as one of its events is. Left out: only if all of them are, or the
    /// Operation asks for one that is.
    #[serde(default)]
    any_destructive_event: bool,
    /// Objects that a hook may not need. Left out: what the table in the policy's README lists, which is what amounts to
    /// all rights in the namespace or to more. An empty list forbids nothing.
    forbid: Option<Vec<Forbidden>>,
    /// Rows of that table that do not apply, by their names. Not together with forbid.
    #[serde(default)]
    permit: Vec<Name>,
    /// Roles that bindings may refer to though they are not among the objects that the hook needs: globs, each for Kind/name.
    /// Left out: none. Not together with forbid.
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
    /// Whether destructive hooks may run: those of pre-delete, post-delete, pre-rollback, post-rollback. They are
    /// written for a release that goes away or back, and often delete its data.
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
            let message = format!("{} is not allowed; allowed: {}", who(request), allowed.join("; "));
            return Decision::deny("HookNotAllowed", message);
        }
        if let Some(event) = destructive(request, settings.any_destructive_event)
            && !fitting.iter().any(|allowed| allowed.destructive)
        {
            return Decision::deny(
                "DestructiveHook",
                format!(
                    "{} is not allowed: it is written for {event}, when a release goes away or back; \
                     allowed are hooks of other events, asked for none of these, and this one where the policy's settings say \
                     destructive: true",
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
