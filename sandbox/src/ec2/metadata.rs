//! The instance metadata service of one instance. IMDSv2 only: without a session token the answer is 401.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::access;
use super::catalog;
use super::cloud::{Cloud, Lifecycle};

/// Longest life of a session token, in seconds.
const MAX_TTL: i64 = 21_600;

/// The metadata service as one instance sees it.
#[derive(Debug)]
pub(crate) struct Metadata {
    cloud: Cloud,
    instance: String,
    sessions: BTreeMap<String, Timestamp>,
    down: bool,
}

/// An answer: status and body.
pub(crate) type Answer = (u16, String);

impl Metadata {
    /// The service of an instance.
    pub(crate) fn new(cloud: Cloud, instance: &str) -> Self {
        Self {
            cloud,
            instance: instance.into(),
            sessions: BTreeMap::new(),
            down: false,
        }
    }

    /// Makes every request fail with 503, or no longer.
    pub(crate) fn set_down(&mut self, down: bool) {
        self.down = down;
    }

    /// Forgets every session: the next request with an old token is answered 401.
    pub(crate) fn expire_sessions(&mut self) {
        self.sessions.clear();
    }

    /// `PUT /latest/api/token`.
    pub(crate) fn token(&mut self, ttl: Option<&str>) -> Answer {
        if self.down {
            return (503, String::new());
        }
        let Some(ttl) = ttl
            .and_then(|t| t.parse::<i64>().ok())
            .filter(|t| (1..=MAX_TTL).contains(t))
        else {
            return (400, "Bad Request".into());
        };
        let now = self.cloud.clock.now();
        self.sessions.retain(|_, until| *until > now);
        let token = self.cloud.world().id("imds");
        self.sessions.insert(
            token.clone(),
            now.saturating_add(SignedDuration::from_secs(ttl)).unwrap_or(now),
        );
        (200, token)
    }

    /// `GET /latest/…` with a session token.
    pub(crate) fn get(&self, path: &str, session: Option<&str>) -> Answer {
        if self.down {
            return (503, String::new());
        }
        let now = self.cloud.clock.now();
        if session
            .and_then(|s| self.sessions.get(s))
            .is_none_or(|until| *until <= now)
        {
            return (401, "Unauthorized".into());
        }
        let world = self.cloud.world();
        let Some(i) = world.instances.get(&self.instance) else {
            return (404, String::new());
        };
        let found = match path.strip_prefix("/latest/").unwrap_or_default().trim_end_matches('/') {
            "meta-data/instance-id" => Some(i.id.clone()),
            "meta-data/ami-id" => Some(i.image.clone()),
            "meta-data/instance-type" => Some(i.instance_type.clone()),
            "meta-data/local-ipv4" => Some(i.address.clone()),
            "meta-data/placement/availability-zone" => Some(i.zone.clone()),
            "meta-data/placement/region" => Some(catalog::REGION.into()),
            "meta-data/instance-life-cycle" => {
                Some(if i.lifecycle == Lifecycle::Spot { "spot" } else { "on-demand" }.into())
            }
            "meta-data/iam/security-credentials" => i.profile.as_deref().map(|p| access::role_of(p).to_owned()),
            "meta-data/spot/instance-action" => {
                let given = i.notice.filter(|(from, _)| *from <= now);
                given.map(|(_, at)| json!({"action": "terminate", "time": stamp(at)}).to_string())
            }
            "meta-data/events/recommendations/rebalance" => {
                let given = i.rebalance.filter(|from| *from <= now);
                given.map(|at| json!({"noticeTime": stamp(at)}).to_string())
            }
            "meta-data/tags/instance" if i.metadata.tags => {
                Some(i.tags.keys().filter(|k| !k.starts_with("aws:")).cloned().collect::<Vec<_>>().join("\n"))
            }
            "dynamic/instance-identity/document" => Some(
                json!({
                    "accountId": catalog::ACCOUNT, "architecture": "x86_64", "availabilityZone": i.zone, "imageId": i.image,
                    "instanceId": i.id, "instanceType": i.instance_type, "privateIp": i.address, "region": catalog::REGION,
                    "version": "2017-09-30",
                })
                .to_string(),
            ),
            "user-data" => i.user_data.as_deref().map(decoded),
            other => match other.strip_prefix("meta-data/iam/security-credentials/") {
                Some(role) => i
                    .profile
                    .as_deref()
                    .filter(|p| access::role_of(p) == role)
                    .map(|_| credentials(&i.id, now, self.cloud.times.credentials)),
                None => other
                    .strip_prefix("meta-data/tags/instance/")
                    .filter(|_| i.metadata.tags)
                    .and_then(|key| i.tags.get(key).cloned()),
            },
        };
        found.map_or((404, String::new()), |body| (200, body))
    }
}

/// The credentials of the instance's role: its access key names the instance, and a policy of the role holds for it. They are
/// refused once they have ended.
fn credentials(instance: &str, now: Timestamp, life: SignedDuration) -> String {
    let until = now.saturating_add(life).unwrap_or(now);
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": stamp(now), "Expiration": stamp(until),
        "AccessKeyId": access::instance_key(instance), "SecretAccessKey": "sandbox", "Token": access::session(until),
    })
    .to_string()
}

fn stamp(time: Timestamp) -> String {
    crate::clock::seconds(time)
}

fn decoded(user_data: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::prelude::BASE64_STANDARD.decode(user_data).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
