//! The three requests to EC2 and the one to SSM that the agent sends: find peers, write its own state tag, remove it,
//! and read the cluster key. Each is sent once; the caller decides about retries. Every request is counted.
//!
//! The SDK does the same at twenty times the size, and a node's memory belongs to the workload.

use crate::credentials::{Credentials, CredentialsError};
use crate::sign::{self, Request};
use crate::wire::{self, Url, WireError};
use crate::xml;
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time limit of one request.
const DEADLINE: Duration = Duration::from_secs(20);

/// Largest page. A described instance is about 5 kB.
const LIMIT: usize = 8 << 20;

/// Instances on a page: the most that EC2 gives.
const PAGE: u32 = 1000;

/// Limit of pages.
const PAGES: u32 = 20;

/// The version of EC2's query protocol.
const VERSION: &str = "2016-11-15";

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ec2Error {
    /// It could not be sent, or its answer was lost.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// It could not be signed.
    #[error("{0}")]
    Credentials(#[from] CredentialsError),
    /// It was refused.
    #[error("{operation} was answered {code}: {message}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// AWS's code.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// The answer cannot be read.
    #[error("the answer to {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
}

impl Ec2Error {
    /// Whether the account's request rate is used up.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if matches!(code.as_str(), "RequestLimitExceeded" | "Throttling" | "ThrottlingException"))
    }

    /// Whether the credentials have expired by AWS's clock (EC2 and SSM name that differently).
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if matches!(code.as_str(), "RequestExpired" | "ExpiredToken" | "ExpiredTokenException"))
    }
}

/// An instance that may be a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub instance: String,
    /// Its private address.
    pub address: IpAddr,
}

/// How many requests were sent, by operation.
#[derive(Debug, Default)]
pub struct Calls {
    /// DescribeInstances, pages included.
    pub describe: AtomicU64,
    /// CreateTags and DeleteTags.
    pub tags: AtomicU64,
    /// GetParameter.
    pub parameter: AtomicU64,
    /// How many of these failed.
    pub failed: AtomicU64,
}

/// EC2 and SSM in one region.
#[derive(Debug)]
pub struct Ec2 {
    region: String,
    ec2: Url,
    ssm: Url,
    credentials: Credentials,
    /// The requests sent.
    pub calls: Calls,
}

/// Endpoints that the environment names, as every AWS tool reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// `AWS_ENDPOINT_URL_EC2`, else `AWS_ENDPOINT_URL`.
    pub ec2: Option<String>,
    /// `AWS_ENDPOINT_URL_SSM`, else `AWS_ENDPOINT_URL`.
    pub ssm: Option<String>,
}

impl Endpoints {
    /// From the environment of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let of =
            |service: &str| variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL"));
        Self {
            ec2: of("EC2"),
            ssm: of("SSM"),
        }
    }
}

impl Ec2 {
    /// Of a region.
    ///
    /// # Errors
    /// When an endpoint is not a URL.
    pub fn new(region: &str, endpoints: &Endpoints, credentials: Credentials) -> Result<Self, String> {
        let suffix = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let url = |named: &Option<String>, service: &str| {
            let text = named
                .clone()
                .unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"));
            Url::parse(&text).ok_or_else(|| format!("the endpoint of {service} is not a URL: {text}"))
        };
        Ok(Self {
            region: region.to_owned(),
            ec2: url(&endpoints.ec2, "ec2")?,
            ssm: url(&endpoints.ssm, "ssm")?,
            credentials,
            calls: Calls::default(),
        })
    }

    /// Running instances that have all these tags, any of whose values matches.
    ///
    /// # Errors
    /// When a page was not answered: half a list is none.
    pub async fn running(&self, tags: &[(&str, &[&str])]) -> Result<Vec<Found>, Ec2Error> {
        let mut found = Vec::new();
        let mut next = None::<String>;
        for _ in 0..PAGES {
            let mut form = Form::new("DescribeInstances");
            form.add("MaxResults", &PAGE.to_string());
            form.filter(1, "instance-state-name", &["running"]);
            for (at, (key, values)) in tags.iter().enumerate() {
                let exact: Vec<String> = values.iter().map(|v| escape(v)).collect();
                let exact: Vec<&str> = exact.iter().map(String::as_str).collect();
                form.filter(at + 2, &format!("tag:{key}"), &exact);
            }
            if let Some(next) = &next {
                form.add("NextToken", next);
            }
            self.calls.describe.fetch_add(1, Ordering::Relaxed);
            let text = self.ask("DescribeInstances", form).await?;
            let page = page(&text).map_err(|e| Ec2Error::Unreadable("DescribeInstances", e))?;
            found.extend(page.found);
            next = page.next;
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Ec2Error::Unreadable(
            "DescribeInstances",
            format!("more than {PAGES} pages"),
        ))
    }

    /// Writes a tag of an instance.
    ///
    /// # Errors
    /// When it was refused or not answered.
    pub async fn set_tag(&self, instance: &str, key: &str, value: &str) -> Result<(), Ec2Error> {
        let mut form = Form::new("CreateTags");
        form.add("ResourceId.1", instance);
        form.add("Tag.1.Key", key);
        form.add("Tag.1.Value", value);
        self.calls.tags.fetch_add(1, Ordering::Relaxed);
        self.ask("CreateTags", form).await.map(drop)
    }

    /// Removes a tag of an instance. One that is not there is removed.
    ///
    /// # Errors
    /// When it was refused or not answered.
    pub async fn remove_tag(&self, instance: &str, key: &str) -> Result<(), Ec2Error> {
        let mut form = Form::new("DeleteTags");
        form.add("ResourceId.1", instance);
        form.add("Tag.1.Key", key);
        self.calls.tags.fetch_add(1, Ordering::Relaxed);
        self.ask("DeleteTags", form).await.map(drop)
    }

    /// Reads an SSM parameter, decrypted.
    ///
    /// # Errors
    /// When it was refused or not answered. The value is in no error.
    pub async fn parameter(&self, name: &str) -> Result<String, Ec2Error> {
        let body = serde_json::json!({"Name": name, "WithDecryption": true}).to_string();
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AmazonSSM.GetParameter"),
        ];
        self.calls.parameter.fetch_add(1, Ordering::Relaxed);
        let answer = self.send(&self.ssm, "ssm", &headers, body.into_bytes()).await?;
        let read: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status == 200 {
            let value = read.pointer("/Parameter/Value").and_then(|v| v.as_str());
            let none = || Ec2Error::Unreadable("GetParameter", "it holds no value".into());
            return value.map(str::to_owned).ok_or_else(none);
        }
        let text = |field: &str| read.get(field).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let code = text("__type");
        let error = Ec2Error::Refused {
            operation: "GetParameter",
            code: code.rsplit('#').next().unwrap_or_default().to_owned(),
            message: format!("{name} {}", text("message")).trim_end().to_owned(),
        };
        Err(self.refused(error).await)
    }

    async fn ask(&self, operation: &'static str, form: Form) -> Result<String, Ec2Error> {
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let answer = self.send(&self.ec2, "ec2", &headers, form.0.into_bytes()).await?;
        let text = String::from_utf8(answer.body.to_vec())
            .map_err(|_| Ec2Error::Unreadable(operation, "it is no text".into()))?;
        if answer.status == 200 {
            return Ok(text);
        }
        let (mut code, mut message) = (format!("status {}", answer.status), String::new());
        // For an error that is not XML (a proxy's page), only the status is left.
        let _ = xml::walk(
            &text,
            |path, text| match path.last() {
                Some(&"Code") => code = text.into_owned(),
                Some(&"Message") => message = text.into_owned(),
                _ => {}
            },
            |_| {},
        );
        message.truncate(message.char_indices().nth(400).map_or(message.len(), |(at, _)| at));
        let error = Ec2Error::Refused {
            operation,
            code,
            message,
        };
        Err(self.refused(error).await)
    }

    /// Records a refusal. Expired credentials are not used again.
    async fn refused(&self, error: Ec2Error) -> Ec2Error {
        self.calls.failed.fetch_add(1, Ordering::Relaxed);
        if error.is_expired() {
            self.credentials.forget().await;
        }
        error
    }

    async fn send(
        &self,
        url: &Url,
        service: &'static str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<wire::Answer, Ec2Error> {
        let now = Timestamp::now();
        let keys = self.credentials.keys(now).await?;
        let request = Request {
            host: &url.authority,
            region: &self.region,
            service,
            headers,
            body: &body,
        };
        let signed = sign::sign(&request, &keys, now);
        let mut all = headers.to_vec();
        all.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
        let sent = wire::send(url, Method::POST, &all, Bytes::from(body), LIMIT, DEADLINE).await;
        if sent.is_err() {
            self.calls.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(sent?)
    }
}

/// A form of the query protocol.
struct Form(String);

impl Form {
    fn new(action: &str) -> Self {
        Self(format!("Action={action}&Version={VERSION}"))
    }

    fn add(&mut self, name: &str, value: &str) {
        self.0.push('&');
        self.0.push_str(name);
        self.0.push('=');
        for b in value.bytes() {
            if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
                self.0.push(char::from(b));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(self.0, "%{b:02X}");
            }
        }
    }

    fn filter(&mut self, at: usize, name: &str, values: &[&str]) {
        self.add(&format!("Filter.{at}.Name"), name);
        for (n, value) in values.iter().enumerate() {
            self.add(&format!("Filter.{at}.Value.{}", n + 1), value);
        }
    }
}

/// EC2 interprets `*`, `?` and `\` in the values of filters.
fn escape(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    found: Vec<Found>,
    next: Option<String>,
}

/// An answer to DescribeInstances: `reservationSet/item/instancesSet/item/{instanceId, privateIpAddress}` and `nextToken`.
fn page(text: &str) -> Result<Page, String> {
    let instance = ["reservationSet", "item", "instancesSet", "item"];
    let inside = |path: &[&str], more: usize| path.len() == 5 + more && path[1..5] == instance;
    let now = std::cell::RefCell::new((BTreeMap::new(), Page::default(), false));
    xml::walk(
        text,
        |path, text| {
            let mut now = now.borrow_mut();
            if inside(path, 1) {
                now.0.insert(path[5], text.into_owned());
            } else if path.len() == 2 && path[1] == "nextToken" && !text.is_empty() {
                now.1.next = Some(text.into_owned());
            }
        },
        |path| {
            let mut now = now.borrow_mut();
            now.2 |= path.len() == 2 && path[1] == "reservationSet";
            if inside(path, 0) {
                let mut fields = std::mem::take(&mut now.0);
                let address = fields.get("privateIpAddress").and_then(|a| a.parse().ok());
                if let (Some(instance), Some(address)) = (fields.remove("instanceId"), address) {
                    now.1.found.push(Found { instance, address });
                }
            }
        },
    )?;
    let (_, page, whole) = now.into_inner();
    if whole {
        Ok(page)
    } else {
        Err("it holds no reservationSet".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_instances_with_an_address_and_the_next_token() {
        let text = "<DescribeInstancesResponse><requestId>r</requestId><reservationSet>\
            <item><reservationId>r-1</reservationId><instancesSet>\
              <item><instanceId>i-1</instanceId><privateIpAddress>10.0.0.1</privateIpAddress>\
                <networkInterfaceSet><item><privateIpAddress>10.9.9.9</privateIpAddress></item></networkInterfaceSet></item>\
              <item><instanceId>i-2</instanceId></item></instancesSet></item>\
            <item><instancesSet><item><instanceId>i-3</instanceId><privateIpAddress>10.0.0.3</privateIpAddress></item></instancesSet></item>\
            </reservationSet><nextToken>t&amp;1</nextToken></DescribeInstancesResponse>";
        let found = |i: &str, a: &str| Found {
            instance: i.into(),
            address: a.parse().expect("an address"),
        };
        let expected = Page {
            found: vec![found("i-1", "10.0.0.1"), found("i-3", "10.0.0.3")],
            next: Some("t&1".into()),
        };
        assert_eq!(page(text), Ok(expected));
    }

    #[test]
    fn an_answer_that_is_no_list_is_an_error_and_not_an_empty_list() {
        assert!(page("<html><body>busy</body></html>").is_err());
        assert!(page("").is_err());
        assert_eq!(page("<R><reservationSet/></R>"), Ok(Page::default()));
    }

    #[test]
    fn values_are_encoded_and_wildcards_mean_themselves() {
        let mut form = Form::new("X");
        form.filter(1, "tag:a", &[&escape("b*c d")]);
        assert!(
            form.0.ends_with("&Filter.1.Name=tag%3Aa&Filter.1.Value.1=b%5C%2Ac%20d"),
            "{}",
            form.0
        );
    }
}
