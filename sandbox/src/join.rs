//! Instances that boot with a valid configuration of the sandbox's cluster join it as nodes, and leave it when they end.
//!
//! User data is read, not run: what counts is that it names this API server and proves that it knows the cluster, in one of the
//! forms that node images take (nodeadm's `NodeConfig`, k3s's `K3S_URL` and `K3S_TOKEN`, `kubeadm join`). Any other user data
//! makes an instance that never joins, as it would.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::ec2::{Cloud, Instance, State, catalog};
use crate::kubernetes::controllers::{Joining, Node, Workloads};

/// User data after decompression, in bytes.
const LIMIT: u64 = 1 << 20;

/// What a node has to know to join.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// URL of the API server.
    pub(crate) url: String,
    /// Its token.
    pub(crate) token: String,
    /// Its certificate authority in PEM.
    pub(crate) authority: String,
}

/// Lets instances join and leave, forever.
pub(crate) async fn run(cloud: Cloud, workloads: Workloads, cluster: Cluster) {
    let mut changes = cloud.changes();
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let now = cloud.clock.now();
        let mut next = jiff::Timestamp::MAX;
        let instances: Vec<Instance> = cloud.world().instances.values().cloned().collect();
        for instance in &instances {
            match instance.state(now, &cloud.times) {
                Some(State::Pending) => next = next.min(instance.running_at(&cloud.times)),
                Some(State::Running)
                    if !joined.contains_key(&instance.id)
                        && cluster.is_known_to(&user_data(instance))
                        && workloads.join(joining(instance)) =>
                {
                    joined.insert(instance.id.clone(), name(instance));
                }
                _ => {}
            }
            if let Some((_, at)) = instance.notice.filter(|(_, at)| *at > now) {
                next = next.min(at);
            }
        }
        joined.retain(|id, name| {
            let instance = instances.iter().find(|i| i.id == *id);
            let runs = instance.and_then(|i| i.state(now, &cloud.times)) == Some(State::Running);
            if !runs {
                workloads.leave(name);
            }
            runs
        });
        tokio::select! {
            result = changes.changed() => if result.is_err() { return },
            () = cloud.clock.sleep_until(next) => {}
        }
    }
}

/// A node is called as its instance resolves.
fn name(instance: &Instance) -> String {
    format!("ip-{}.ec2.internal", instance.address.replace('.', "-"))
}

fn joining(instance: &Instance) -> Joining {
    let name = name(instance);
    let kind = catalog::instance_type(&instance.instance_type);
    let arch = if kind.is_some_and(|t| t.architecture == "arm64") {
        "arm64"
    } else {
        "amd64"
    };
    let labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch,
        "node.kubernetes.io/instance-type": instance.instance_type,
        "topology.kubernetes.io/region": catalog::REGION, "topology.kubernetes.io/zone": instance.zone,
    });
    Joining {
        node: Node {
            cpu: kind.map_or(2, |t| t.vcpus).to_string(),
            memory: format!("{}Mi", kind.map_or(4096, |t| t.memory)),
            pods: 110,
            name,
        },
        provider_id: format!("aws:///{}/{}", instance.zone, instance.id),
        labels,
        address: instance.address.clone(),
    }
}

/// An instance's user data as its first process would read it.
fn user_data(instance: &Instance) -> String {
    let bytes = instance
        .user_data
        .as_deref()
        .and_then(|t| BASE64_STANDARD.decode(t).ok())
        .unwrap_or_default();
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut text = String::new();
    // What cannot be decompressed is no configuration.
    let _ = flate2::read::GzDecoder::new(bytes.as_slice())
        .take(LIMIT)
        .read_to_string(&mut text);
    text
}

impl Cluster {
    /// Whether a text holds what a node needs to join this cluster.
    fn is_known_to(&self, text: &str) -> bool {
        let host = self.url.trim_start_matches("https://");
        let nodeadm = word_after(text, "apiServerEndpoint:") == Some(&self.url)
            && word_after(text, "certificateAuthority:") == Some(&BASE64_STANDARD.encode(&self.authority));
        let k3s =
            word_after(text, "K3S_URL=") == Some(&self.url) && word_after(text, "K3S_TOKEN=") == Some(&self.token);
        let kubeadm =
            word_after(text, "kubeadm join ") == Some(host) && word_after(text, "--token ") == Some(&self.token);
        nodeadm || k3s || kubeadm
    }
}

/// The word after a key, without quotes.
fn word_after<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(key)?;
    let word = rest.trim_start().trim_start_matches(['"', '\'']);
    word.split(|c: char| c.is_whitespace() || c == '"' || c == '\'')
        .next()
        .filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_configuration_of_this_cluster_joins() {
        let cluster = Cluster {
            url: "https://127.0.0.1:6443".into(),
            token: "t0ken".into(),
            authority: "PEM".into(),
        };
        for (text, joins) in [
            (
                "spec:\n  cluster:\n    apiServerEndpoint: https://127.0.0.1:6443\n    certificateAuthority: UEVN\n",
                true,
            ),
            (
                "    apiServerEndpoint: https://127.0.0.1:6443\n    certificateAuthority: b3RoZXI=\n",
                false,
            ),
            (
                "curl … | K3S_URL=\"https://127.0.0.1:6443\" K3S_TOKEN='t0ken' sh -",
                true,
            ),
            ("K3S_URL=https://127.0.0.1:6443 K3S_TOKEN=other", false),
            ("kubeadm join 127.0.0.1:6443 --token t0ken", true),
            ("kubeadm join 10.0.0.1:6443 --token t0ken", false),
            ("", false),
        ] {
            assert_eq!(cluster.is_known_to(text), joins, "{text}");
        }
    }
}
