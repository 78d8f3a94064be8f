//! Authorization: policies attached to access keys and to roles of instances, enforced on every request.
//!
//! A key without a policy may do everything, so that the sandbox needs no set-up. [`policy`] reads and evaluates a
//! document; `ask` says which actions on which resources a request needs. Signatures are not verified.

mod ask;
mod policy;

pub(crate) use ask::{command, request};
pub use policy::{Ask, Policy, PolicyError, Verdict};

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::catalog::{ACCOUNT, REGION};
use super::cloud::World;
use super::error::Ec2Error;

/// What keys and roles may do.
#[derive(Debug, Default)]
pub(crate) struct Access {
    keys: BTreeMap<String, Policy>,
    roles: BTreeMap<String, Policy>,
}

/// Who signed a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Access key; empty when nothing was signed.
    pub key: String,
    /// When the session ends that the request was signed in; None without one.
    pub until: Option<Timestamp>,
}

/// The prefix of the access keys that the metadata service hands out; the instance's digits follow.
const INSTANCE_KEY: &str = "ASIA";

/// What session tokens begin with; the second in which they end follows.
const SESSION: &str = "sandbox-until-";

/// The session token of credentials that end then.
pub(crate) fn session(until: Timestamp) -> String {
    format!("{SESSION}{}", until.as_second())
}

impl Caller {
    /// From `Authorization: AWS4-HMAC-SHA256 Credential=KEY/date/region/service/aws4_request, …` and `X-Amz-Security-Token`.
    pub(crate) fn of(authorization: Option<&str>, session: Option<&str>) -> Self {
        let key = authorization
            .and_then(|text| text.split_once("Credential="))
            .and_then(|(_, rest)| rest.split('/').next())
            .unwrap_or_default();
        let until = session
            .and_then(|s| s.strip_prefix(SESSION))
            .and_then(|s| s.parse().ok());
        Self {
            key: key.to_owned(),
            until: until.and_then(|second| Timestamp::from_second(second).ok()),
        }
    }

    /// Refuses a session that has ended, by EC2's code.
    ///
    /// # Errors
    /// `RequestExpired`.
    pub(crate) fn in_time(&self, now: Timestamp) -> Result<(), Ec2Error> {
        if self.until.is_some_and(|until| until <= now) {
            return Err(Ec2Error::new("RequestExpired", "Request has expired."));
        }
        Ok(())
    }

    /// The instance whose metadata service gave the key out.
    fn instance(&self) -> Option<String> {
        let digits = self.key.strip_prefix(INSTANCE_KEY)?;
        Some(format!("i-{}", digits.to_ascii_lowercase()))
    }
}

/// The access key of an instance's role.
#[must_use]
pub fn instance_key(instance: &str) -> String {
    let digits = instance.strip_prefix("i-").unwrap_or(instance);
    format!("{INSTANCE_KEY}{}", digits.to_ascii_uppercase())
}

/// The role of an instance profile: the last part of its name or ARN.
pub(crate) fn role_of(profile: &str) -> &str {
    profile.rsplit('/').next().unwrap_or(profile)
}

impl Access {
    pub(crate) fn of_key(&mut self, key: &str, policy: Policy) {
        self.keys.insert(key.to_owned(), policy);
    }

    pub(crate) fn of_role(&mut self, role: &str, policy: Policy) {
        self.roles.insert(role.to_owned(), policy);
    }
}

/// Checks that a caller may do everything that a request needs.
///
/// # Errors
/// The first action that it may not do, with EC2's message.
pub(crate) fn check(world: &World, caller: &Caller, asks: Vec<Ask>) -> Result<(), Ec2Error> {
    let instance = caller.instance().filter(|id| world.instances.contains_key(id));
    let role = instance
        .as_ref()
        .and_then(|id| world.instances[id].profile.as_deref())
        .map(role_of);
    let policy = match role {
        Some(role) => world.access.roles.get(role),
        None => world.access.keys.get(&caller.key),
    };
    let Some(policy) = policy else { return Ok(()) };
    let user = match (&instance, role) {
        (Some(id), Some(role)) => format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{id}"),
        _ => format!("arn:aws:iam::{ACCOUNT}:user/{}", caller.key),
    };
    for mut ask in asks {
        ask.add("aws:RequestedRegion", REGION);
        ask.add("aws:PrincipalArn", &user);
        if let Some(id) = &instance {
            ask.add(
                "ec2:SourceInstanceARN",
                format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{id}"),
            );
        }
        let why = match policy.judge(&ask) {
            Verdict::Allowed => continue,
            Verdict::Refused(sid) => format!("with an explicit deny in statement {sid}"),
            Verdict::NotAllowed => format!("because no identity-based policy allows the {} action", ask.action),
        };
        return Err(Ec2Error::new(
            "UnauthorizedOperation",
            format!(
                "You are not authorized to perform this operation. User: {user} is not authorized to perform: {} on resource: {} {why}",
                ask.action, ask.resource
            ),
        )
        .status(403));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_who_signed() {
        let signed =
            "AWS4-HMAC-SHA256 Credential=AKIA1/20261121/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        assert_eq!(Caller::of(Some(signed), None).key, "AKIA1");
        assert_eq!(Caller::of(None, Some("of somebody else")), Caller::default());
        let key = instance_key("i-00000000000000abc");
        let caller = Caller { key, until: None };
        assert_eq!(caller.instance().as_deref(), Some("i-00000000000000abc"));
    }

    #[test]
    fn a_session_ends() {
        let (end, second) = (Timestamp::UNIX_EPOCH, jiff::SignedDuration::from_secs(1));
        let caller = Caller::of(None, Some(&session(end)));
        assert_eq!(caller.in_time(end - second), Ok(()));
        assert_eq!(caller.in_time(end).map_err(|e| e.code), Err("RequestExpired".into()));
        assert_eq!(Caller::default().in_time(end), Ok(()), "without a session nothing ends");
    }
}
