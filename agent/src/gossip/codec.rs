//! Encodes members and SWIM messages. Big endian, no optional parts, all members of one length, every value checked: a
//! packet was authenticated before it gets here, but a node of another version may have created it.

use super::member::{MemberId, Name};
use super::seal::SESSION;
use crate::presence::Presence;
use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A packet that cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It ends too early.
    #[error("the packet ends too early")]
    Short,
    /// A value is unknown.
    #[error("the packet holds an unknown {0}")]
    Unknown(&'static str),
    /// There is no room to write.
    #[error("the packet is full")]
    Full,
}

/// The codec.
#[derive(Debug, Clone, Copy)]
pub struct Codec;

const PRESENCES: [Presence; 5] = [
    Presence::Starting,
    Presence::Ready,
    Presence::Sick,
    Presence::Cordoned,
    Presence::Draining,
];

/// Bytes of a member's id.
const ID: usize = 16 + 16 + 2 + 2 + 8 + 4 + 1 + SESSION + 1;

/// Bytes of one member update: its id, its incarnation, its state.
pub(super) const WORD: usize = ID + 3;

/// Bytes of a message's head without a third member; with one it is one update longer.
const HEAD: usize = ID + 2 + ID + 2;

/// Updates that fit into a packet: with its envelope and the headers of UDP and IP it fits an Ethernet frame, also
/// inside a tunnel.
pub(super) const WORDS: usize = 17;

/// Largest payload of a packet: a head, a count, and updates to the last byte. All updates have the same length for
/// this reason: for every packet, SWIM tries to fit each of its pending updates into any room that is left, however
/// small.
pub(super) const TEXT: usize = HEAD + 2 + WORDS * WORD;

fn write(id: &MemberId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.name.bytes());
    let ip = match id.address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&id.address.port().to_be_bytes());
    out.extend_from_slice(&id.port.to_be_bytes());
    out.extend_from_slice(&id.boot.to_be_bytes());
    out.extend_from_slice(&id.version.to_be_bytes());
    out.push(id.renewals);
    out.extend_from_slice(&id.session);
    let presence = PRESENCES.iter().position(|p| *p == id.presence).unwrap_or(0);
    out.push(u8::try_from(presence).unwrap_or(0));
}

fn array<const N: usize>(from: &mut impl Buf) -> Result<[u8; N], CodecError> {
    let mut out = [0; N];
    from.try_copy_to_slice(&mut out).map_err(|_| CodecError::Short)?;
    Ok(out)
}

fn byte(from: &mut impl Buf) -> Result<u8, CodecError> {
    from.try_get_u8().map_err(|_| CodecError::Short)
}

fn read(from: &mut impl Buf) -> Result<MemberId, CodecError> {
    let name = Name::read(array(from)?).ok_or(CodecError::Unknown("name"))?;
    let ip = Ipv6Addr::from(array::<16>(from)?).to_canonical();
    let address = SocketAddr::new(ip, u16::from_be_bytes(array(from)?));
    Ok(MemberId {
        name,
        address,
        port: u16::from_be_bytes(array(from)?),
        boot: u64::from_be_bytes(array(from)?),
        version: u32::from_be_bytes(array(from)?),
        renewals: byte(from)?,
        session: array::<SESSION>(from)?,
        presence: *PRESENCES
            .get(usize::from(byte(from)?))
            .ok_or(CodecError::Unknown("presence"))?,
    })
}

/// A SWIM message that contains member updates.
pub(super) struct Said<'t> {
    pub(super) from: MemberId,
    pub(super) to: MemberId,
    /// All of it before the count of updates.
    pub(super) head: &'t [u8],
    pub(super) words: &'t [u8],
}

/// Splits a message; None if it contains no updates, or no complete ones.
pub(super) fn said(text: &[u8]) -> Option<Said<'_>> {
    let third = matches!(text.get(HEAD - 2)?, 2..=5);
    let (head, rest) = text.split_at_checked(HEAD + if third { WORD } else { 0 })?;
    let (count, words) = rest.split_first_chunk()?;
    if usize::from(u16::from_be_bytes(*count)) * WORD != words.len() {
        return None;
    }
    Some(Said {
        from: read(&mut &head[..ID]).ok()?,
        to: read(&mut &head[ID + 2..]).ok()?,
        head,
        words,
    })
}

/// The part of a member that grows when something changes: its name, its run, its version.
pub(super) fn version(id: &MemberId) -> Vec<u8> {
    [&id.name.bytes()[..], &id.boot.to_be_bytes(), &id.version.to_be_bytes()].concat()
}

fn put(bytes: &[u8], mut to: impl BufMut) -> Result<(), CodecError> {
    if to.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    to.put_slice(bytes);
    Ok(())
}

impl foca::Codec<MemberId> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<MemberId>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut out = Vec::with_capacity(HEAD + WORD);
        write(&header.src, &mut out);
        out.extend_from_slice(&header.src_incarnation.to_be_bytes());
        write(&header.dst, &mut out);
        let mut with = |tag: u8, number: u8, id: &MemberId| {
            out.extend_from_slice(&[tag, number]);
            write(id, &mut out);
            // As long as an update.
            out.extend_from_slice(&[0; WORD - ID]);
        };
        match &header.message {
            Message::PingReq { target, probe_number } => with(2, *probe_number, target),
            Message::IndirectPing { origin, probe_number } => with(3, *probe_number, origin),
            Message::IndirectAck { target, probe_number } => with(4, *probe_number, target),
            Message::ForwardedAck { origin, probe_number } => with(5, *probe_number, origin),
            Message::Ping(number) => out.extend_from_slice(&[0, *number]),
            Message::Ack(number) => out.extend_from_slice(&[1, *number]),
            Message::Announce => out.extend_from_slice(&[6, 0]),
            Message::Feed => out.extend_from_slice(&[7, 0]),
            Message::Gossip => out.extend_from_slice(&[8, 0]),
            Message::Broadcast => out.extend_from_slice(&[9, 0]),
            Message::TurnUndead => out.extend_from_slice(&[10, 0]),
        }
        put(&out, buf)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<MemberId>, CodecError> {
        let from = &mut buf;
        let src = read(from)?;
        let src_incarnation = u16::from_be_bytes(array(from)?);
        let dst = read(from)?;
        let [tag, probe_number] = array(from)?;
        let message = match tag {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2..=5 => {
                let id = read(from)?;
                let _: [u8; WORD - ID] = array(from)?;
                match tag {
                    2 => Message::PingReq {
                        target: id,
                        probe_number,
                    },
                    3 => Message::IndirectPing {
                        origin: id,
                        probe_number,
                    },
                    4 => Message::IndirectAck {
                        target: id,
                        probe_number,
                    },
                    _ => Message::ForwardedAck {
                        origin: id,
                        probe_number,
                    },
                }
            }
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return Err(CodecError::Unknown("message")),
        };
        Ok(Header {
            src,
            src_incarnation,
            dst,
            message,
        })
    }

    fn encode_member(&mut self, member: &Member<MemberId>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut out = Vec::with_capacity(WORD);
        write(member.id(), &mut out);
        out.extend_from_slice(&member.incarnation().to_be_bytes());
        out.push(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        put(&out, buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<MemberId>, CodecError> {
        let from = &mut buf;
        let id = read(from)?;
        let incarnation = u16::from_be_bytes(array(from)?);
        let state = match byte(from)? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(CodecError::Unknown("state")),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec as _;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = MemberId> {
        let text = "[a-zA-Z0-9-]{1,21}";
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (
            text,
            address,
            any::<(u16, u16, u64, u32, u8)>(),
            any::<[u8; 16]>(),
            0..PRESENCES.len(),
        )
            .prop_map(
                |(name, ip, (gossip, port, boot, version, renewals), session, presence)| MemberId {
                    name: Name::new(&name).expect("it is one"),
                    address: SocketAddr::new(ip, gossip),
                    port,
                    boot,
                    version,
                    renewals,
                    session,
                    presence: PRESENCES[presence],
                },
            )
    }

    fn message() -> impl Strategy<Value = Message<MemberId>> {
        (0u8..11, any::<u8>(), id()).prop_map(|(tag, probe_number, id)| match tag {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq {
                target: id,
                probe_number,
            },
            3 => Message::IndirectPing {
                origin: id,
                probe_number,
            },
            4 => Message::IndirectAck {
                target: id,
                probe_number,
            },
            5 => Message::ForwardedAck {
                origin: id,
                probe_number,
            },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            _ => Message::TurnUndead,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(src in id(), dst in id(), src_incarnation in any::<u16>(), message in message(), after in any::<u8>()) {
            let header = Header { src, src_incarnation, dst, message };
            let member = Member::new(src, src_incarnation, [State::Alive, State::Suspect, State::Down][usize::from(after % 3)]);
            let mut bytes = Vec::new();
            Codec.encode_header(&header, &mut bytes).expect("there is room");
            Codec.encode_member(&member, &mut bytes).expect("there is room");
            let mut rest = &bytes[..];
            prop_assert_eq!(Codec.decode_header(&mut rest), Ok(header));
            prop_assert_eq!(Codec.decode_member(&mut rest), Ok(member.clone()));
            prop_assert!(rest.is_empty());
            // Without room nothing is written.
            let mut small = [0u8; 30];
            let mut room = &mut small[..];
            prop_assert_eq!(Codec.encode_member(&member, &mut room), Err(CodecError::Full));
            prop_assert_eq!(room.len(), 30);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = Codec.decode_header(&bytes[..]);
            let _ = Codec.decode_member(&bytes[..]);
            let _ = said(&bytes);
        }

        #[test]
        fn words_fill_a_packet_to_its_last_byte_and_are_found_in_it(from in id(), to in id(), message in message(), members in prop::collection::vec(id(), 0..3)) {
            let header = Header { src: from, src_incarnation: 7, dst: to, message };
            let mut head = Vec::new();
            Codec.encode_header(&header, &mut head).expect("there is room");
            prop_assert_eq!((TEXT - head.len() - 2) % WORD, 0);
            let mut words = Vec::new();
            for member in &members {
                Codec.encode_member(&Member::alive(*member), &mut words).expect("there is room");
            }
            prop_assert_eq!(words.len(), members.len() * WORD);
            let count = u16::try_from(members.len()).expect("few").to_be_bytes();
            let text = [&head[..], &count, &words].concat();
            let found = said(&text).expect("it is whole");
            prop_assert_eq!((found.from, found.to, found.head, found.words), (from, to, &head[..], &words[..]));
            // Without a count, or with half an update, SWIM reports the error.
            prop_assert!(said(&head).is_none() && said(&text[..text.len() - 1]).is_none());
        }
    }
}
