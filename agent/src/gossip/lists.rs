//! Lists of members besides SWIM's own messages: complete ones for nodes that are new or have missed something, and
//! lists with one update for all nodes.

use super::codec::{self, Codec, TEXT, WORD};
use super::member::MemberId;
use aws_lc_rs::digest;
use foca::{Codec as _, Member};

/// Members in one packet.
pub(super) const LISTED: usize = (TEXT - 2) / WORD;

/// The update about one member.
pub(super) fn word(of: &Member<MemberId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(WORD);
    Codec.encode_member(of, &mut out).expect("a vector has room");
    out
}

/// A list of at most `LISTED` members; `pass_on` says whether receivers pass it on.
pub(super) fn write(members: &[Member<MemberId>], pass_on: bool) -> Vec<u8> {
    let mut text = vec![u8::from(pass_on), u8::try_from(members.len()).unwrap_or(0)];
    members.iter().for_each(|m| text.extend(word(m)));
    text
}

/// Whether to pass the updates of a list on, and the updates; None if the list cannot be parsed.
pub(super) fn read(text: &[u8]) -> Option<(bool, &[u8])> {
    match text {
        [pass_on @ (0 | 1), count, words @ ..] if words.len() == usize::from(*count) * WORD => {
            Some((*pass_on == 1, words))
        }
        _ => None,
    }
}

/// A digest of members in any order: nodes with the same members have the same digest.
pub(super) fn digest<'m>(members: impl Iterator<Item = &'m MemberId>) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = members.map(codec::version).collect();
    all.sort_unstable();
    digest::digest(&digest::SHA256, &all.concat()).as_ref()[..16].to_vec()
}
