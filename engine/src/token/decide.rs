//! Decides about one token: keep it, finish an interrupted mint, wait for another run's mint, or mint.
//!
//! Pure: the inputs are the entry of the record, the state of the cluster and the time. A pending entry with a new mint
//! id is written before anything is minted, and the Secret carries the id of the mint that created its value. So after
//! a crash, the two together show whether the value was stored.

use crate::mask::MaskKey;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::fmt;

/// Annotation of the target Secret: the id of the mint that made the value of a key.
#[must_use]
pub fn mint_annotation(key: &str) -> String {
    // The name of an annotation takes 63 characters, fewer than a Secret's key may have.
    if key.len() <= 63
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.ends_with(|c: char| c.is_ascii_alphanumeric())
    {
        return format!("token.myelin.dev/{key}");
    }
    let digest = sha2::Sha256::digest(key.as_bytes());
    format!("token.myelin.dev/key-{}", crate::mask::hex(&digest[..16]))
}

/// One token in a record. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The target: namespace, Secret and key.
    pub secret: (String, String, String),
    /// Where the token stands.
    pub state: State,
    /// What the document asks for, as canonical JSON, for a front end that lost its state. Holds no value.
    #[serde(default)]
    pub text: String,
    /// How often a value was minted and stored.
    #[serde(default)]
    pub mints: u64,
    /// How a value is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Revoke>,
    /// Ids of mints that were interrupted; each may have left an unused value with the issuer. The latest few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<String>,
}

impl Entry {
    /// Whether a mint is under way, or was when it was killed.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }
}

/// A command in the issuer's pod that takes a value on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod that issued.
    pub pod: String,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Where a token stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// A run is minting, or was minting when it was killed.
    Pending {
        /// Id of this mint.
        mint: String,
        /// The time (seconds since 1970) until which the minting run is assumed to be alive.
        until: i64,
        /// What was stored before, when this mint replaces a value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Stored>,
    },
    /// A value is in the Secret.
    Stored(Stored),
}

/// Facts about a stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Id of the mint that made it; `adopted` for a value that was there before.
    pub mint: String,
    /// Seconds since 1970.
    pub minted_at: i64,
    /// Mark of the value under the record's key.
    pub value: String,
    /// Seconds since 1970 at which it expires, as requested when it was minted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Mark of the keepers it was minted under.
    pub keepers: String,
    /// UIDs of the objects that it is tied to; an object that was not there yet is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tied_to: BTreeMap<String, String>,
}

/// The mint id of a value that existed before and that we did not mint.
pub const ADOPTED: &str = "adopted";

impl Stored {
    /// When the value is too old, if it may live for that many seconds.
    #[must_use]
    pub fn expiry(&self, after: Option<i64>) -> Option<i64> {
        after.map(|after| self.minted_at.saturating_add(after))
    }
}

/// What the document wants, as far as the decision needs it.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// Any change means a new value.
    pub keepers: &'a BTreeMap<String, String>,
    /// Seconds after which the value is too old.
    pub expires_after: Option<i64>,
    /// `Kind/name` of the objects that the value is tied to.
    pub rotate_with: &'a [String],
    /// Whether a value that is there, and that no record knows, is taken as it is.
    pub adopt: bool,
}

/// What is in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Mark of the value in the target key; None when the Secret or the key is absent.
    pub value: Option<String>,
    /// Id of the mint that the Secret's annotation names.
    pub mint: Option<String>,
    /// UIDs of the objects in `rotate_with` that exist.
    pub tied_to: BTreeMap<String, String>,
}

/// Why a value is minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There was none.
    First,
    /// The Secret or its key is gone.
    Gone,
    /// The keepers changed.
    Keepers,
    /// It is older than `expiresAfter`; the time it expired, in seconds since 1970.
    Expired(i64),
    /// An object that it is tied to is a new one.
    NewObject(String),
    /// The mint of this id was interrupted before its value was stored.
    Interrupted(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("there is none yet"),
            Self::Gone => f.write_str("its Secret or key is gone"),
            Self::Keepers => f.write_str("its keepers changed"),
            Self::Expired(at) => match jiff::Timestamp::from_second(*at) {
                Ok(time) => write!(f, "it expired at {time}"),
                Err(_) => f.write_str("it expired"),
            },
            Self::NewObject(object) => write!(f, "{object} is a new object"),
            Self::Interrupted(mint) => {
                write!(
                    f,
                    "mint {mint} was interrupted before its value was stored; the issuer may hold an unused one"
                )
            }
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing. `bind` holds UIDs of tied objects that the record does not know yet.
    Keep {
        /// New entries of [`Stored::tied_to`].
        bind: BTreeMap<String, String>,
        /// The value differs from the minted one: somebody replaced it. It is kept, and reported.
        foreign: bool,
    },
    /// The value of this mint is in the Secret; only the record does not know. Write the record, mint nothing.
    Finish(String),
    /// Another run mints; check again at this time (seconds since 1970) or when the record changes.
    Wait(i64),
    /// Take the value that is there. Write the record, mint nothing.
    Adopt,
    /// A value is there that no record knows, and it may not be taken.
    Refuse,
    /// Mint a value.
    Mint(Why),
}

/// Decides. `now` is in seconds since 1970; `key` is the record's.
#[must_use]
pub fn decide(entry: Option<&Entry>, terms: &Terms<'_>, seen: &Seen, now: i64, key: &MaskKey) -> Step {
    match entry.map(|e| &e.state) {
        None => match &seen.value {
            None => Step::Mint(Why::First),
            Some(_) if terms.adopt || seen.mint.is_some() => Step::Adopt,
            Some(_) => Step::Refuse,
        },
        Some(State::Pending { mint, until, .. }) => {
            if seen.value.is_some() && seen.mint.as_ref() == Some(mint) {
                Step::Finish(mint.clone())
            } else if now < *until {
                Step::Wait(*until)
            } else {
                Step::Mint(Why::Interrupted(mint.clone()))
            }
        }
        Some(State::Stored(stored)) => stored_step(stored, terms, seen, now, key),
    }
}

fn stored_step(stored: &Stored, terms: &Terms<'_>, seen: &Seen, now: i64, key: &MaskKey) -> Step {
    let Some(value) = &seen.value else {
        return Step::Mint(Why::Gone);
    };
    if stored.keepers != keepers_mark(terms.keepers, key) {
        return Step::Mint(Why::Keepers);
    }
    if let Some(at) = stored.expiry(terms.expires_after).filter(|at| *at <= now) {
        return Step::Mint(Why::Expired(at));
    }
    let mut bind = BTreeMap::new();
    for object in terms.rotate_with {
        match (stored.tied_to.get(object), seen.tied_to.get(object)) {
            (Some(known), Some(uid)) if known != uid => return Step::Mint(Why::NewObject(object.clone())),
            (None, Some(uid)) => {
                bind.insert(object.clone(), uid.clone());
            }
            _ => {}
        }
    }
    Step::Keep {
        bind,
        foreign: *value != stored.value,
    }
}

/// The mark of a set of keepers.
#[must_use]
pub fn keepers_mark(keepers: &BTreeMap<String, String>, key: &MaskKey) -> String {
    let text = serde_json::to_vec(keepers).expect("a map of texts is JSON");
    crate::mask::hex(&key.mac(&text)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000;

    fn key() -> MaskKey {
        MaskKey::new([1; 32])
    }

    fn stored() -> Stored {
        let keepers = keepers_mark(&BTreeMap::new(), &key());
        Stored {
            mint: "m1".into(),
            minted_at: 900,
            value: "v1".into(),
            expires_at: None,
            keepers,
            tied_to: BTreeMap::new(),
        }
    }

    fn entry(state: State) -> Entry {
        Entry {
            secret: ("ns".into(), "s".into(), "k".into()),
            state,
            text: String::new(),
            mints: 1,
            revoke: None,
            orphans: vec![],
        }
    }

    fn seen(value: Option<&str>, mint: Option<&str>) -> Seen {
        Seen {
            value: value.map(Into::into),
            mint: mint.map(Into::into),
            tied_to: BTreeMap::new(),
        }
    }

    fn step(entry: Option<&Entry>, terms: &Terms<'_>, seen: &Seen) -> Step {
        decide(entry, terms, seen, NOW, &key())
    }

    const NO_KEEPERS: &BTreeMap<String, String> = &BTreeMap::new();
    const PLAIN: Terms<'_> = Terms {
        keepers: NO_KEEPERS,
        expires_after: None,
        rotate_with: &[],
        adopt: false,
    };

    #[test]
    fn without_a_record_only_an_empty_place_is_minted_into() {
        assert_eq!(step(None, &PLAIN, &seen(None, None)), Step::Mint(Why::First));
        assert_eq!(step(None, &PLAIN, &seen(Some("x"), None)), Step::Refuse);
        assert_eq!(
            step(None, &PLAIN, &seen(Some("x"), Some("m0"))),
            Step::Adopt,
            "a lost record"
        );
        let adopt = Terms { adopt: true, ..PLAIN };
        assert_eq!(step(None, &adopt, &seen(Some("x"), None)), Step::Adopt);
    }

    #[test]
    fn an_interrupted_mint_is_finished_waited_for_or_reported() {
        let pending = |until| {
            entry(State::Pending {
                mint: "m2".into(),
                until,
                before: Some(stored()),
            })
        };
        let dead = pending(NOW);
        assert_eq!(
            step(Some(&dead), &PLAIN, &seen(Some("v2"), Some("m2"))),
            Step::Finish("m2".into())
        );
        let interrupted = Step::Mint(Why::Interrupted("m2".into()));
        assert_eq!(step(Some(&dead), &PLAIN, &seen(None, None)), interrupted);
        assert_eq!(
            step(Some(&dead), &PLAIN, &seen(Some("v1"), Some("m1"))),
            interrupted,
            "the old value is no proof"
        );
        assert_eq!(
            step(Some(&pending(NOW + 5)), &PLAIN, &seen(None, None)),
            Step::Wait(NOW + 5)
        );
    }

    #[test]
    fn a_stored_value_is_kept_until_a_reason_to_rotate() {
        let keep = |foreign| Step::Keep {
            bind: BTreeMap::new(),
            foreign,
        };
        let plain = entry(State::Stored(stored()));
        assert_eq!(step(Some(&plain), &PLAIN, &seen(Some("v1"), Some("m1"))), keep(false));
        assert_eq!(step(Some(&plain), &PLAIN, &seen(Some("other"), Some("m1"))), keep(true));
        assert_eq!(step(Some(&plain), &PLAIN, &seen(None, None)), Step::Mint(Why::Gone));
        let keepers = BTreeMap::from([("volume".to_owned(), "2".to_owned())]);
        let changed = Terms {
            keepers: &keepers,
            ..PLAIN
        };
        assert_eq!(
            step(Some(&plain), &changed, &seen(Some("v1"), None)),
            Step::Mint(Why::Keepers)
        );
        for (after, want) in [(99, Step::Mint(Why::Expired(999))), (101, keep(false))] {
            let terms = Terms {
                expires_after: Some(after),
                ..PLAIN
            };
            assert_eq!(step(Some(&plain), &terms, &seen(Some("v1"), None)), want);
        }
    }

    #[test]
    fn a_tied_object_binds_once_and_rotates_when_it_is_new() {
        let claim = "PersistentVolumeClaim/data-axon-0".to_owned();
        let tied = [claim.clone()];
        let terms = Terms {
            rotate_with: &tied,
            ..PLAIN
        };
        let with = |uid: &str| Seen {
            tied_to: BTreeMap::from([(claim.clone(), uid.into())]),
            ..seen(Some("v1"), None)
        };
        let fresh = entry(State::Stored(stored()));
        let bind = BTreeMap::from([(claim.clone(), "u1".to_owned())]);
        assert_eq!(
            step(Some(&fresh), &terms, &with("u1")),
            Step::Keep {
                bind: bind.clone(),
                foreign: false
            }
        );
        let bound = entry(State::Stored(Stored {
            tied_to: bind,
            ..stored()
        }));
        assert!(matches!(step(Some(&bound), &terms, &with("u1")), Step::Keep { .. }));
        assert!(
            matches!(step(Some(&bound), &terms, &seen(Some("v1"), None)), Step::Keep { .. }),
            "gone is not new"
        );
        assert_eq!(
            step(Some(&bound), &terms, &with("u2")),
            Step::Mint(Why::NewObject(claim.clone()))
        );
    }
}
