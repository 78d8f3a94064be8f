//! What happens to the tokens: kept, minted, taken over, given up. Nothing is minted here.

use super::{Action, Change};
use crate::desired::{Desired, WantedToken, token_key, token_text};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::object::ObjectKey;
use crate::observe::{Observation, mask_key};
use crate::token::{Entry, State, Step, Terms, Why, decide};

/// The terms of a token that decide about rotation.
pub(crate) fn terms<'a>(wanted: &'a WantedToken, tied: &'a [String]) -> Terms<'a> {
    let token = &wanted.token;
    Terms {
        keepers: &token.keepers,
        expires_after: token.expires_after,
        rotate_with: tied,
        adopt: token.adopt,
    }
}

/// The objects that a token is tied to, by name.
pub(crate) fn tied(wanted: &WantedToken) -> Vec<String> {
    wanted.token.rotate_with.iter().map(ToString::to_string).collect()
}

pub(super) fn changes(desired: &Desired, seen: &Observation, problems: &mut Diagnostics) -> Vec<Change> {
    let mut all: Vec<Change> = desired
        .tokens
        .iter()
        .map(|t| change(desired, seen, t, problems))
        .collect();
    if desired.going_back {
        return all;
    }
    let recorded = seen.stored.iter().flat_map(|s| s.record.tokens.keys());
    for name in recorded.filter(|name| desired.tokens.iter().all(|t| t.token.name != **name)) {
        let key = token_key(&desired.stack.namespace, name);
        let (action, reason) = if desired.policy.prune {
            (Action::Prune, "it is not wanted any more; its key goes from the Secret")
        } else {
            (
                Action::Release,
                "it is not wanted any more; prune is off, so its value stays",
            )
        };
        all.push(made(key, None, action, reason.to_owned()));
    }
    all
}

fn made(key: ObjectKey, component: Option<String>, action: Action, reason: String) -> Change {
    Change {
        key,
        component,
        action,
        reason,
        fields: Vec::new(),
        drift: false,
    }
}

/// Whether the record says other than what is asked for now, though the value can stay.
fn is_behind(entry: &Entry, wanted: &WantedToken) -> bool {
    let State::Stored(stored) = &entry.state else {
        return false;
    };
    stored.expires_at != stored.expiry(wanted.token.expires_after) || entry.text != token_text(&wanted.token)
}

fn change(desired: &Desired, seen: &Observation, wanted: &WantedToken, problems: &mut Diagnostics) -> Change {
    let made = |action, reason: String| made(wanted.key.clone(), wanted.component.clone(), action, reason);
    let Some(found) = seen.tokens.get(&wanted.key) else {
        return made(Action::Create, "it will be minted once".into());
    };
    let entry = seen
        .stored
        .as_ref()
        .and_then(|s| s.record.tokens.get(&wanted.token.name));
    let tied = tied(wanted);
    let secret = &wanted.token.secret;
    let place = format!("key {} of Secret {}/{}", secret.key, secret.namespace, secret.name);
    match decide(entry, &terms(wanted, &tied), found, seen.at, &mask_key(desired, seen)) {
        Step::Keep { foreign, bind } => {
            if foreign {
                let summary = format!(
                    "token {}: {place} holds another value than was minted",
                    wanted.token.name
                );
                let fix = "it is left as it is; change keepers to have a new one minted";
                problems.push(Diagnostic::warning(summary).detail(fix).object(wanted.key.clone()));
            }
            // A stack ties its tokens at the end of the apply that creates the objects; a standalone token learns of
            // them later.
            if let Some(object) = bind.keys().next().filter(|_| desired.stack.token().is_some()) {
                let reason = format!("it is tied to {object} as it is now; nothing is minted");
                return made(Action::Update, reason);
            }
            match entry.filter(|e| is_behind(e, wanted)) {
                Some(_) => made(
                    Action::Update,
                    "its terms changed; its value stays and nothing is minted".into(),
                ),
                None => made(Action::Unchanged, String::new()),
            }
        }
        Step::Finish(_) => made(
            Action::Update,
            "its value is stored; the record has yet to say so".into(),
        ),
        Step::Wait(_) => made(
            Action::Update,
            "another run is minting it, or was until a moment ago".into(),
        ),
        Step::Adopt => made(
            Action::Adopt,
            format!("{place} holds a value; it is taken over and nothing is minted"),
        ),
        Step::Refuse => {
            let fix =
                "set adopt: always on the token to keep that value, import it, or remove the key to have one minted";
            let summary = format!(
                "token {}: {place} holds a value that Myelin did not mint",
                wanted.token.name
            );
            problems.push(Diagnostic::error(summary).detail(fix).object(wanted.key.clone()));
            made(Action::Adopt, "refused".into())
        }
        Step::Mint(Why::First) => made(Action::Create, "it will be minted once".into()),
        Step::Mint(why) => {
            problems.extend(interrupted(wanted, &why));
            made(Action::Update, format!("a new one will be minted: {why}"))
        }
    }
}

/// That an earlier mint of a token was interrupted: the issuer may hold a value that nobody uses. None for any other reason to mint.
pub(crate) fn interrupted(wanted: &WantedToken, why: &Why) -> Option<Diagnostic> {
    if !matches!(why, Why::Interrupted(_)) {
        return None;
    }
    let revoke = wanted.token.revoke.as_ref().map_or_else(
        || "look at the issuer for an entry that nobody uses".to_owned(),
        |argv| {
            format!(
                "the token's revoke command ({}) takes a value on its standard input",
                argv.join(" ")
            )
        },
    );
    let summary = format!("token {}: {why}", wanted.token.name);
    Some(Diagnostic::warning(summary).detail(revoke).object(wanted.key.clone()))
}
