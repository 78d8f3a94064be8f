//! How Terraform starts us and what we answer: the cookie, the protocol version and one line of exactly six fields.
//!
//! The environment is read here, once, into types. Nothing is opened or printed here.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::listen::Address;

const COOKIE_NAME: &str = "TF_PLUGIN_MAGIC_COOKIE";
/// Tells us that a suitable Terraform started us; a courtesy, not a secret. The same for every provider.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// The version of go-plugin's own handshake.
const CORE_PROTOCOL: u32 = 1;

/// The one version of the Terraform plugin protocol that we speak.
pub const PROTOCOL: u32 = 6;

/// Where to listen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listen {
    /// Parent of the socket's own folder; the system's temporary folder when absent.
    pub socket_dir: Option<PathBuf>,
    /// Group that may use the socket, by name or number.
    pub socket_group: Option<String>,
    /// TCP ports to try, both included, where there are no unix sockets.
    pub ports: Option<(u16, u16)>,
}

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Where to listen.
    pub listen: Listen,
    /// The only certificate that may connect, in PEM. Absent when TLS is switched off (`TF_DISABLE_PLUGIN_TLS`).
    pub client_certificate: Option<String>,
}

/// Why we do not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A person started us.
    #[error(
        "This binary is a plugin. Terraform starts it; it is not meant to be run by itself.\n\
         Write `source = \"myelin-dev/myelin\"` under required_providers and run terraform, \
         or start it with --debug and set TF_REATTACH_PROVIDERS to what it prints."
    )]
    NotTerraform,
    /// The port range is not two numbers in order.
    #[error("PLUGIN_MIN_PORT and PLUGIN_MAX_PORT must be two port numbers in order, not {0:?} and {1:?}")]
    Ports(String, String),
}

impl Launch {
    /// From the environment.
    ///
    /// # Errors
    /// If it was not Terraform that started us, or if what it asks for makes no sense.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Launch, Refusal> {
        if variable(COOKIE_NAME).as_deref() != Some(COOKIE) {
            return Err(Refusal::NotTerraform);
        }
        // PLUGIN_PROTOCOL_VERSIONS lists what the host speaks. We always answer 6: a host without 6 reports that better
        // than we could.
        Ok(Launch {
            listen: Listen::from_environment(&variable)?,
            client_certificate: given(&variable, "PLUGIN_CLIENT_CERT"),
        })
    }
}

impl Listen {
    fn from_environment(variable: &impl Fn(&str) -> Option<String>) -> Result<Listen, Refusal> {
        let ports = match (given(variable, "PLUGIN_MIN_PORT"), given(variable, "PLUGIN_MAX_PORT")) {
            (Some(low), Some(high)) => match (low.parse(), high.parse()) {
                (Ok(first), Ok(last)) if first <= last => Some((first, last)),
                _ => return Err(Refusal::Ports(low, high)),
            },
            _ => None,
        };
        Ok(Listen {
            socket_dir: given(variable, "PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
            socket_group: given(variable, "PLUGIN_UNIX_SOCKET_GROUP"),
            ports,
        })
    }
}

fn given(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

/// The line that tells Terraform where we are. Six fields, always: hosts before go-plugin 1.6 would take a seventh for a
/// part of the certificate. The last one is empty without TLS.
pub fn line(address: &Address, certificate: Option<&[u8]>) -> String {
    let (network, place) = address.parts();
    let certificate = certificate.map(|der| STANDARD_NO_PAD.encode(der)).unwrap_or_default();
    format!("{CORE_PROTOCOL}|{PROTOCOL}|{network}|{place}|grpc|{certificate}\n")
}

/// What a developer who debugs the provider puts into `TF_REATTACH_PROVIDERS`.
pub fn reattach(address: &Address, pid: u32) -> String {
    let (network, place) = address.parts();
    serde_json::json!({"registry.terraform.io/myelin-dev/myelin": {
        "Protocol": "grpc",
        "ProtocolVersion": PROTOCOL,
        "Pid": pid,
        // Terraform never ends a provider that is under test.
        "Test": true,
        "Addr": {"Network": network, "String": place},
    }})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(given: &[(&str, &str)]) -> Result<Launch, Refusal> {
        Launch::from_environment(|name| {
            given
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn only_terraform_may_start_us() {
        assert_eq!(launch(&[]), Err(Refusal::NotTerraform));
        assert_eq!(launch(&[(COOKIE_NAME, "no")]), Err(Refusal::NotTerraform));
        let plain = launch(&[(COOKIE_NAME, COOKIE), ("PLUGIN_CLIENT_CERT", "")]).expect("a launch");
        assert_eq!(
            plain,
            Launch {
                listen: Listen::default(),
                client_certificate: None
            }
        );
    }

    #[test]
    fn a_port_range_must_make_sense() {
        let ports = |low, high| {
            launch(&[
                (COOKIE_NAME, COOKIE),
                ("PLUGIN_MIN_PORT", low),
                ("PLUGIN_MAX_PORT", high),
            ])
            .map(|launch| launch.listen.ports)
        };
        assert_eq!(ports("10000", "25000"), Ok(Some((10000, 25000))));
        for (low, high) in [("2", "1"), ("x", "1"), ("1", "70000")] {
            assert_eq!(ports(low, high), Err(Refusal::Ports(low.to_owned(), high.to_owned())));
        }
    }

    #[test]
    fn the_line_has_six_fields_with_and_without_a_certificate() {
        let address = Address::Unix("/tmp/x/socket".into());
        assert_eq!(line(&address, None), "1|6|unix|/tmp/x/socket|grpc|\n");
        let with = line(&address, Some(&[0xff; 4]));
        assert_eq!(with, "1|6|unix|/tmp/x/socket|grpc|/////w\n");
        assert_eq!(with.split('|').count(), 6);
    }
}
