//! A TCP connection to a remote. A name is resolved once, and the address that was checked is the one that is dialled.
//!
//! Link-local addresses, where clouds serve machine credentials, are never dialled, whatever name leads to them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection to a remote may take, and each step of a handshake.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How long a remote may be silent between two parts of an answer.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// Connects to a host.
///
/// # Errors
/// When the name is not known, no address may be or can be reached, or time is up.
pub(crate) async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let bare = host.trim_matches(['[', ']']);
    let found: Vec<SocketAddr> = tokio::time::timeout(CONNECT, tokio::net::lookup_host((bare, port)))
        .await
        .map_err(|_| format!("the name {bare} was not resolved in time"))?
        .map_err(|error| format!("the name {bare} is not known: {error}"))?
        .collect();
    to_one_of(bare, &found).await
}

async fn to_one_of(host: &str, found: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut last = format!("{host} has no address");
    for address in found {
        if is_forbidden(address.ip()) {
            last = format!("{host} is {}, an address that is never fetched from", address.ip());
            continue;
        }
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{host} ({address}): {error}"),
            Err(_) => last = format!("{host} ({address}) did not answer in time"),
        }
    }
    Err(last)
}

/// Link-local addresses, where clouds serve machine credentials, and unspecified, broadcast and multicast addresses.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| carried(v6)) {
            Some(v4) => is_forbidden(IpAddr::V4(v4)),
            None => {
                let metadata = v6.segments()[..7] == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0];
                v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || metadata
            }
        },
    }
}

/// The IPv4 address that an address of NAT64 (RFC 6052, `64:ff9b::/96`) or 6to4 (RFC 3056) leads to.
fn carried(v6: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let part = v6.segments();
    let of = |high: u16, low: u16| Some(std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match part {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_machines_credentials_are_never_dialled() {
        for forbidden in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "::",
        ] {
            assert!(is_forbidden(forbidden.parse().unwrap()), "{forbidden}");
        }
        for allowed in [
            "10.0.0.1",
            "140.82.121.4",
            "2606:50c0::1",
            "127.0.0.1",
            "64:ff9b::8c52:7904",
        ] {
            assert!(!is_forbidden(allowed.parse().unwrap()), "{allowed}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_forbidden_address_is_not_dialled() {
        let found = [
            "169.254.169.254:443".parse().unwrap(),
            "[fd00:ec2::254]:443".parse().unwrap(),
        ];
        let why = to_one_of("harmless.example", &found).await.unwrap_err();
        assert!(why.contains("harmless.example is fd00:ec2::254"), "{why}");
    }
}
