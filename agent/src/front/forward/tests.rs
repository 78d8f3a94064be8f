//! What a front makes of its experience with its peers.

use super::*;
use crate::credentials::Credentials;
use crate::ec2::{Ec2, Endpoints};
use crate::identity::Identity;
use crate::metadata::Metadata;
use crate::presence::Presence;
use tokio::sync::mpsc;

fn peer(n: u8) -> Peer {
    Peer {
        instance: format!("i-{n}"),
        address: [10, 0, 0, n].into(),
        port: 80,
        presence: Presence::Ready,
    }
}

fn target(n: u8) -> Target {
    Target::Peer {
        instance: format!("i-{n}"),
        address: SocketAddr::from(([10, 0, 0, n], 80)),
    }
}

/// The front of a sick node that has two peers.
fn front() -> Front {
    let identity = Identity {
        instance: "i-0".into(),
        cluster: "prod".into(),
        role: "worker".into(),
        region: "eu-central-1".into(),
        zone: "eu-central-1a".into(),
        address: [10, 0, 0, 9].into(),
    };
    let metadata = Arc::new(Metadata::new(None).expect("the usual endpoint"));
    let credentials = Credentials::new(None, metadata);
    let ec2 = Ec2::new(&identity.region, &Endpoints::default(), credentials).expect("the usual endpoints");
    let shared = Shared::new(identity, Arc::new(ec2), mpsc::channel(1).0);
    shared.presence.send_replace(Presence::Sick);
    shared.peers.send_replace(Arc::new(vec![peer(1), peer(2)]));
    let config = r#"{"listen": "10.0.0.9:80", "backend": "10.0.0.9:8000"}"#;
    Front::new(serde_json::from_str(config).expect("a front"), Arc::new(shared))
}

#[test]
fn a_peer_that_failed_is_the_last_resort_for_a_while() {
    let front = front();
    let place = |tried: &[Target]| front.place(false, tried).map(|(target, _)| target);
    // Equal peers are chosen by chance, so in this many tries both would be. It fails anew each time: a slow machine must
    // not see the while end.
    for _ in 0..64 {
        front.failed(&target(1));
        assert_eq!(place(&[]), Some(target(2)));
        assert_eq!(place(&[target(2)]), Some(target(1)));
        assert_eq!(place(&[target(1), target(2)]), None);
    }
    front.scores().entry("i-1".into()).or_default().failed = Instant::now().checked_sub(EJECTED);
    let both: Vec<Option<Target>> = (0..64).map(|_| place(&[])).collect();
    assert!(both.contains(&Some(target(1))) && both.contains(&Some(target(2))));
}
