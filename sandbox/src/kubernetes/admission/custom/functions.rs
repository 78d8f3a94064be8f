//! The functions that the API server adds to CEL: on lists, regular expressions, URLs, addresses and quantities
//! (<https://kubernetes.io/docs/reference/using-api/cel/>). Values of its own types are maps with one hidden key. Not
//! included: `authorizer`, which only admission policies have, and `format`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Key, Map};
use cel::{Context, DeclarationError, ExecutionError, Value as Cel};

use crate::kubernetes::schema::quantity::Quantity;

type Text = This<Arc<String>>;
type List = This<Arc<Vec<Cel>>>;
type Answer = Result<Cel, ExecutionError>;

/// Declares all of them.
pub(super) fn declare(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    lists(context)?;
    texts(context)?;
    addresses(context)?;
    quantities(context)
}

fn failed(function: &str, why: &str) -> ExecutionError {
    ExecutionError::function_error(function, why)
}

fn text(value: impl Into<String>) -> Cel {
    Cel::String(Arc::new(value.into()))
}

/// A value of one of the server's own types.
fn typed(name: &'static str, value: String) -> Cel {
    let map: HashMap<Key, Cel> = [(Key::String(Arc::new(format!("@{name}"))), text(value))].into();
    Cel::Map(Map { map: Arc::new(map) })
}

fn untyped(name: &'static str, value: &Cel) -> Result<Arc<String>, ExecutionError> {
    let found = match value {
        Cel::Map(map) => map.map.get(&Key::String(Arc::new(format!("@{name}")))),
        _ => None,
    };
    match found {
        Some(Cel::String(text)) => Ok(Arc::clone(text)),
        _ => Err(failed(name, "no such overload")),
    }
}

fn compare(function: &str, a: &Cel, b: &Cel) -> Result<Ordering, ExecutionError> {
    a.partial_cmp(b).ok_or_else(|| failed(function, "no such overload"))
}

fn lists(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    context.add_function("isSorted", |This(list): List| -> Result<bool, ExecutionError> {
        for pair in list.windows(2) {
            if compare("isSorted", &pair[0], &pair[1])? == Ordering::Greater {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    context.add_function("sum", |This(list): List| -> Answer {
        let mut whole = 0_i64;
        let mut fraction = None;
        for item in list.iter() {
            match item {
                Cel::Int(n) => whole = whole.checked_add(*n).ok_or_else(|| failed("sum", "integer overflow"))?,
                Cel::Float(n) => *fraction.get_or_insert(0.0) += n,
                _ => return Err(failed("sum", "no such overload")),
            }
        }
        Ok(fraction.map_or(Cel::Int(whole), Cel::Float))
    })?;
    for (name, wanted) in [("min", Ordering::Less), ("max", Ordering::Greater)] {
        context.add_function(name, move |This(list): List| -> Answer {
            let mut items = list.iter();
            let mut best = items.next().ok_or_else(|| failed(name, "called on an empty list"))?;
            for item in items {
                if compare(name, item, best)? == wanted {
                    best = item;
                }
            }
            Ok(best.clone())
        })?;
    }
    Ok(())
}

fn pattern(function: &str, pattern: &str) -> Result<regex::Regex, ExecutionError> {
    regex::Regex::new(pattern).map_err(|error| failed(function, &format!("illegal regex: {error}")))
}

fn texts(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    context.add_function("find", |This(this): Text, of: Arc<String>| -> Answer {
        let found = pattern("find", &of)?.find(&this).map(|found| found.as_str().to_owned());
        Ok(text(found.unwrap_or_default()))
    })?;
    context.add_function("findAll", |This(this): Text, of: Arc<String>| -> Answer {
        let found = pattern("findAll", &of)?
            .find_iter(&this)
            .map(|found| text(found.as_str()))
            .collect();
        Ok(Cel::List(Arc::new(found)))
    })?;
    context.add_function("isURL", |This(this): Text| url(&this).is_some())?;
    context.add_function("url", |This(this): Text| -> Answer {
        url(&this).ok_or_else(|| failed("url", "URL parse error during conversion from string"))?;
        Ok(typed("url", this.to_string()))
    })?;
    type Part = fn(&Url) -> String;
    let parts: [(&'static str, Part); 5] = [
        ("getScheme", |url| url.scheme.clone()),
        ("getHost", |url| url.host.clone()),
        ("getHostname", |url| url.hostname().to_owned()),
        ("getPort", |url| url.port().to_owned()),
        ("getEscapedPath", |url| url.path.clone()),
    ];
    for (name, part) in parts {
        context.add_function(name, move |This(this): This<Cel>| -> Answer {
            let written = untyped("url", &this)?;
            Ok(text(url(&written).map(|url| part(&url)).unwrap_or_default()))
        })?;
    }
    Ok(())
}

/// The parts of a URL that rules can ask for.
struct Url {
    scheme: String,
    /// With its port; without the user.
    host: String,
    path: String,
}

impl Url {
    fn port(&self) -> &str {
        let after = self.host.rfind(']').map_or(0, |end| end + 1);
        self.host[after..].rsplit_once(':').map_or("", |(_, port)| port)
    }

    fn hostname(&self) -> &str {
        let port = self.port().len();
        let host = if port > 0 {
            &self.host[..self.host.len() - port - 1]
        } else {
            &self.host
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// An absolute URL or an absolute path, as Go's `url.ParseRequestURI` takes them.
fn url(written: &str) -> Option<Url> {
    if written.is_empty() || written.chars().any(|c| c.is_ascii_control() || c == ' ') {
        return None;
    }
    let path_of = |rest: &str| rest.split(['?', '#']).next().unwrap_or_default().to_owned();
    if written.starts_with('/') {
        return Some(Url {
            scheme: String::new(),
            host: String::new(),
            path: path_of(written),
        });
    }
    let (scheme, rest) = written.split_once(':')?;
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !named || rest.is_empty() {
        return None;
    }
    let Some(rest) = rest.strip_prefix("//") else {
        // `mailto:x`: without authority and path.
        return Some(Url {
            scheme: scheme.to_ascii_lowercase(),
            host: String::new(),
            path: if rest.starts_with('/') {
                path_of(rest)
            } else {
                String::new()
            },
        });
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end]
        .rsplit_once('@')
        .map_or(&rest[..end], |(_, host)| host)
        .to_owned();
    let url = Url {
        scheme: scheme.to_ascii_lowercase(),
        host,
        path: path_of(&rest[end..]),
    };
    url.port().chars().all(|c| c.is_ascii_digit()).then_some(url)
}

/// An address as the API takes it: no zone, no IPv4 in IPv6.
fn address(written: &str) -> Option<IpAddr> {
    match written.parse().ok()? {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

/// An address and the length of its prefix.
fn network(written: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = written.split_once('/')?;
    let ip = address(ip)?;
    let plain =
        !length.is_empty() && (length == "0" || !length.starts_with('0')) && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse().ok().filter(|_| plain)?;
    (length <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, length))
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// Whether the first so many bits of both are the same.
fn same_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    let shift = 128 - u32::from(length);
    a.is_ipv4() == b.is_ipv4() && bits(a).checked_shr(shift).unwrap_or(0) == bits(b).checked_shr(shift).unwrap_or(0)
}

fn addresses(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    context.add_function("isIP", |This(this): Text| address(&this).is_some())?;
    context.add_function("isCIDR", |This(this): Text| network(&this).is_some())?;
    context.add_function("ip", |This(this): This<Cel>| -> Answer {
        let written = match &this {
            Cel::String(written) => Arc::clone(written),
            network => untyped("cidr", network)?,
        };
        let ip = network(&written).map(|(ip, _)| ip).or_else(|| address(&written));
        let ip = ip.ok_or_else(|| failed("ip", "IP Address parse error during conversion from string"))?;
        Ok(typed("ip", ip.to_string()))
    })?;
    context.add_function("cidr", |This(this): Text| -> Answer {
        network(&this).ok_or_else(|| failed("cidr", "network address parse error during conversion from string"))?;
        Ok(typed("cidr", this.to_string()))
    })?;
    type Question = fn(IpAddr) -> bool;
    let questions: [(&'static str, Question); 3] = [
        ("isUnspecified", |ip| ip.is_unspecified()),
        ("isLoopback", |ip| ip.is_loopback()),
        ("isGlobalUnicast", |ip| {
            !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()
        }),
    ];
    for (name, question) in questions {
        context.add_function(name, move |This(this): This<Cel>| -> Result<bool, ExecutionError> {
            Ok(address(&untyped("ip", &this)?).is_some_and(question))
        })?;
    }
    context.add_function("family", |This(this): This<Cel>| -> Answer {
        let ip = address(&untyped("ip", &this)?);
        Ok(Cel::Int(if ip.is_some_and(|ip| ip.is_ipv4()) { 4 } else { 6 }))
    })?;
    context.add_function("prefixLength", |This(this): This<Cel>| -> Answer {
        let length = network(&untyped("cidr", &this)?).map_or(0, |(_, length)| length);
        Ok(Cel::Int(i64::from(length)))
    })?;
    context.add_function(
        "containsIP",
        |This(this): This<Cel>, ip: Cel| -> Result<bool, ExecutionError> {
            let written = if let Cel::String(written) = &ip {
                Arc::clone(written)
            } else {
                untyped("ip", &ip)?
            };
            let ip = address(&written)
                .ok_or_else(|| failed("containsIP", "IP Address parse error during conversion from string"))?;
            Ok(network(&untyped("cidr", &this)?).is_some_and(|(of, length)| same_prefix(of, ip, length)))
        },
    )?;
    context.add_function(
        "containsCIDR",
        |This(this): This<Cel>, of: Cel| -> Result<bool, ExecutionError> {
            let written = if let Cel::String(written) = &of {
                Arc::clone(written)
            } else {
                untyped("cidr", &of)?
            };
            let (inner, inside) = network(&written).ok_or_else(|| {
                failed(
                    "containsCIDR",
                    "network address parse error during conversion from string",
                )
            })?;
            let outer = network(&untyped("cidr", &this)?);
            Ok(outer.is_some_and(|(outer, length)| length <= inside && same_prefix(outer, inner, length)))
        },
    )
}

fn quantity(value: &Cel) -> Result<Quantity, ExecutionError> {
    let written = untyped("quantity", value)?;
    Quantity::parse(&written).ok_or_else(|| failed("quantity", "quantity parse error"))
}

fn quantities(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    context.add_function("isQuantity", |This(this): Text| Quantity::parse(&this).is_some())?;
    context.add_function("quantity", |This(this): Text| -> Answer {
        let amount = Quantity::parse(&this)
            .ok_or_else(|| failed("quantity", "quantity parse error during conversion from string"))?;
        Ok(typed("quantity", amount.canonical()))
    })?;
    for (name, wanted) in [("isLessThan", Ordering::Less), ("isGreaterThan", Ordering::Greater)] {
        context.add_function(
            name,
            move |This(this): This<Cel>, other: Cel| -> Result<bool, ExecutionError> {
                Ok(quantity(&this)?.compare(quantity(&other)?) == wanted)
            },
        )?;
    }
    context.add_function("compareTo", |This(this): This<Cel>, other: Cel| -> Answer {
        Ok(Cel::Int(quantity(&this)?.compare(quantity(&other)?) as i64))
    })?;
    context.add_function("sign", |This(this): This<Cel>| -> Answer {
        let sign = quantity(&this)?.nano().signum();
        Ok(Cel::Int(i64::try_from(sign).unwrap_or_default()))
    })?;
    context.add_function("isInteger", |This(this): This<Cel>| -> Result<bool, ExecutionError> {
        Ok(quantity(&this)?.is_whole())
    })?;
    context.add_function("asInteger", |This(this): This<Cel>| -> Answer {
        let amount = quantity(&this)?;
        let whole = i64::try_from(amount.nano() / 1_000_000_000)
            .ok()
            .filter(|_| amount.is_whole());
        whole
            .map(Cel::Int)
            .ok_or_else(|| failed("asInteger", "cannot convert value to integer"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(source: &str) -> Result<Cel, String> {
        let env = super::super::cel::environment();
        let program = env.compile(source).map_err(|error| error.to_string())?;
        let mut context = Context::with_env(env);
        declare(&mut context).map_err(|error| error.to_string())?;
        program.execute(&context).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_can_use_what_the_api_server_adds_to_the_language() {
        for rule in [
            "[1, 2, 2].isSorted() && !['b', 'a'].isSorted()",
            "[1, 2, 3].sum() == 6 && [1.5, 0.5].sum() == 2.0 && [3, 1].min() == 1 && ['a', 'c', 'b'].max() == 'c'",
            "'abc 123'.find('[0-9]+') == '123' && 'a'.find('b') == '' && '1 2'.findAll('[0-9]') == ['1', '2']",
            "isURL('https://a:8080/x?y') && isURL('/x') && !isURL('a b') && !isURL('x')",
            "url('https://me@h:81/p/q?r').getHost() == 'h:81' && url('https://h:81').getHostname() == 'h' && url('https://[::1]:81/').getPort() == '81'",
            "url('HTTPS://h').getScheme() == 'https' && url('/p?q').getEscapedPath() == '/p'",
            "isIP('10.0.0.1') && isIP('::1') && !isIP('10.0.0.256') && !isIP('::ffff:1.2.3.4') && ip('::1').family() == 6",
            "isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0') && cidr('10.0.0.0/8').prefixLength() == 8",
            "cidr('10.0.0.0/8').containsIP('10.9.9.9') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
            "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8') && cidr('0.0.0.0/0').containsIP('1.2.3.4')",
            "ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('8.8.8.8').isGlobalUnicast()",
            "isQuantity('100m') && !isQuantity('x') && quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1').compareTo(quantity('1000m')) == 0",
            "quantity('2').isInteger() && quantity('2k').asInteger() == 2000 && quantity('-1').sign() == -1 && quantity('1') == quantity('1000m')",
        ] {
            assert_eq!(value(rule), Ok(Cel::Bool(true)), "{rule}");
        }
        for (rule, why) in [
            ("quantity('x').isInteger()", "quantity parse error"),
            ("[].max() == 1", "empty list"),
            ("ip('x').family() == 4", "IP Address parse error"),
            ("'a'.find('[') == ''", "illegal regex"),
        ] {
            let told = value(rule).unwrap_err();
            assert!(told.contains(why), "{rule}: {told}");
        }
    }
}
