//! What kind of value a knob takes, and how its text is read.
//!
//! # Invariants
//! - What a kind accepts it also describes: [`Kind::expected`] ends the sentence "expected …".

use std::net::SocketAddr;

use ipnet::IpNet;

/// The kind of a knob's value, with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, from and to.
    Count(u64, u64),
    /// A size in bytes, from and to.
    Bytes(u64, u64),
    /// A span in milliseconds, from and to.
    Millis(u64, u64),
    /// A span in milliseconds, from and to, or `off`.
    MillisOrOff(u64, u64),
    /// A span in minutes, from and to.
    Minutes(u64, u64),
    /// Any text.
    Text,
    /// A path of a file or directory.
    Path,
    /// A key, token or password.
    Secret,
    /// Several of them, by comma, the newest first.
    Secrets,
    /// An address of a service, `http` or `https`.
    Url,
    /// Texts by comma.
    List,
    /// One or more of these words, by comma.
    Words(&'static [&'static str]),
    /// Origins by comma.
    Origins,
    /// Networks by comma, in CIDR form.
    Networks,
    /// Webhook sources by comma, each `name=scheme`.
    Sources,
    /// An address and port to listen on.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing was set and nothing is the default.
    Unset,
    /// `off` where a span could stand.
    Off,
    /// A number of whatever the kind counts.
    Number(u64),
    /// A text, a word, a path, a secret, an address of a service without its last slash.
    Text(String),
    /// Several.
    List(Vec<String>),
    /// Networks.
    Networks(Vec<IpNet>),
    /// Where to listen.
    Address(SocketAddr),
}

/// The schemes that a configured webhook source may sign by.
pub const SCHEMES: &[&str] = &["standard", "github", "stripe"];

impl Kind {
    /// The unit of its numbers; empty for what is not counted.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Count(..) => "count",
            Self::Bytes(..) => "bytes",
            Self::Millis(..) | Self::MillisOrOff(..) => "ms",
            Self::Minutes(..) => "min",
            Self::Text | Self::Path | Self::Secret | Self::Secrets | Self::Url => "",
            Self::List | Self::Words(_) | Self::Origins | Self::Networks | Self::Sources => "",
            Self::Address | Self::Choice(_) => "",
        }
    }

    /// Whether its values must never be shown.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }

    /// Whether an empty text is a value. For lists it is the empty list, for numbers a fault;
    /// anywhere else it means that nothing is set here.
    pub const fn takes_empty(self) -> bool {
        match self {
            Self::Count(..) | Self::Bytes(..) | Self::Millis(..) => true,
            Self::MillisOrOff(..) | Self::Minutes(..) | Self::Choice(_) | Self::Address => true,
            Self::List | Self::Origins | Self::Networks | Self::Sources => true,
            Self::Text | Self::Path | Self::Secret | Self::Secrets | Self::Url => false,
            Self::Words(_) => false,
        }
    }

    /// What it takes, as the end of the sentence "expected …".
    pub fn expected(self) -> String {
        match self {
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bytes(min, max) => format!("a number of bytes from {min} to {max}"),
            Self::Millis(min, max) => format!("milliseconds from {min} to {max}"),
            Self::MillisOrOff(min, max) => format!("milliseconds from {min} to {max}, or off"),
            Self::Minutes(min, max) => format!("minutes from {min} to {max}"),
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::Secret => "a secret".into(),
            Self::Secrets => "one or more secrets, separated by commas".into(),
            Self::Url => "an address such as https://host/path, without user, query or #".into(),
            Self::List => "texts separated by commas".into(),
            Self::Words(words) => {
                format!("one or more of {}, separated by commas", words.join(", "))
            }
            Self::Origins => "origins such as https://host:port, separated by commas".into(),
            Self::Networks => "networks such as 10.0.0.0/8, separated by commas".into(),
            Self::Sources => {
                format!("name=scheme separated by commas, scheme one of {}", SCHEMES.join(", "))
            }
            Self::Address => "an address and port such as 127.0.0.1:8787".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Reads a text; `None` if it is not what [`Self::expected`] says.
    pub fn read(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::MillisOrOff(..) if text == "off" => Some(Value::Off),
            Self::Count(min, max)
            | Self::Bytes(min, max)
            | Self::Millis(min, max)
            | Self::MillisOrOff(min, max)
            | Self::Minutes(min, max) => number(text, min, max).map(Value::Number),
            Self::Text | Self::Path | Self::Secret => text_of(text),
            Self::Secrets => {
                let secrets = items(text);
                (!secrets.is_empty()).then_some(Value::List(secrets))
            }
            Self::Url => service(text).map(Value::Text),
            Self::List => Some(Value::List(items(text))),
            Self::Words(words) => {
                let items = items(text);
                let known = items.iter().all(|item| words.contains(&item.as_str()));
                (known && !items.is_empty()).then_some(Value::List(items))
            }
            Self::Origins => {
                items(text).iter().map(|item| origin(item)).collect::<Option<_>>().map(Value::List)
            }
            Self::Networks => {
                let nets = items(text).iter().map(|item| network(item)).collect::<Option<_>>();
                nets.map(Value::Networks)
            }
            Self::Sources => sources(text).map(Value::List),
            Self::Address => address(text).map(Value::Address),
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        }
    }
}

fn text_of(text: &str) -> Option<Value> {
    let plain = !text.is_empty() && !text.chars().any(char::is_control);
    plain.then(|| Value::Text(text.to_owned()))
}

/// Digits only: a sign, a fraction or a unit is a fault that a person should hear of.
fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| (min..=max).contains(number))
}

fn items(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// A single address is a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().map(IpNet::from).ok())
}

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse().ok(),
        None => text.parse().ok(),
    }
}

/// Splits `scheme://authority/rest`, the scheme in lower case; `None` for what a request could
/// not be sent to as it stands.
fn split_address(text: &str) -> Option<(String, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let bare = !text.contains(['?', '#', '@', '\\', '"', '<', '>']) && plain(text);
    let known = scheme == "http" || scheme == "https";
    (known && bare && is_authority(authority)).then_some((scheme, authority, path))
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, port)) => {
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (host, port.strip_prefix(':').or((!port.is_empty()).then_some("bad")))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let bracketed = text.starts_with('[');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let host_fits = bracketed || (!host.is_empty() && host.bytes().all(plain));
    host_fits && port.is_none_or(|port| number(port, 1, 65_535).is_some())
}

fn service(text: &str) -> Option<String> {
    let (scheme, authority, path) = split_address(text)?;
    Some(format!("{scheme}://{authority}{}", path.trim_end_matches('/')))
}

/// An origin as browsers write it: lower case, no default port.
fn origin(text: &str) -> Option<String> {
    let (scheme, authority, path) = split_address(text)?;
    let authority = authority.to_ascii_lowercase();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    (path.is_empty() || path == "/").then(|| format!("{scheme}://{authority}"))
}

/// Checked `name=scheme` pairs, each name once.
fn sources(text: &str) -> Option<Vec<String>> {
    let pairs = items(text);
    let mut names = Vec::new();
    for pair in &pairs {
        let (name, scheme) = pair.split_once('=')?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=32).contains(&name.len()) && name.bytes().all(plain);
        if !fits || !SCHEMES.contains(&scheme) || names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Value> {
        Some(Value::Text(text.into()))
    }

    fn list(items: &[&str]) -> Option<Value> {
        Some(Value::List(items.iter().map(|&item| item.to_owned()).collect()))
    }

    #[test]
    fn a_number_is_digits_within_its_range() {
        let kind = Kind::Millis(1, 100);
        for (text, number) in [("1", 1), ("100", 100), (" 42 ", 42), ("007", 7)] {
            assert_eq!(kind.read(text), Some(Value::Number(number)), "{text}");
        }
        for bad in ["", "0", "101", "-1", "+1", "1.5", "1e2", "1_0", "5s", "99999999999999999999"] {
            assert_eq!(kind.read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_span_may_be_off_only_where_it_says_so() {
        assert_eq!(Kind::MillisOrOff(1, 9).read("off"), Some(Value::Off));
        assert_eq!(Kind::MillisOrOff(1, 9).read("9"), Some(Value::Number(9)));
        assert_eq!(Kind::Millis(1, 9).read("off"), None);
    }

    #[test]
    fn an_address_of_a_service_loses_its_last_slash_and_nothing_else() {
        let table = [
            ("https://openrouter.ai/api/v1", text("https://openrouter.ai/api/v1")),
            ("HTTP://127.0.0.1:9/", text("http://127.0.0.1:9")),
            ("http://[::1]:9000/x//", text("http://[::1]:9000/x")),
            ("http://host", text("http://host")),
            ("host:80", None),
            ("ftp://host", None),
            ("https://", None),
            ("https:///x", None),
            ("https://user:pw@host", None),
            ("https://host/?key=1", None),
            ("https://host/#x", None),
            ("https://ho st", None),
            ("https://host:0", None),
            ("https://host:x", None),
            ("https://[::1", None),
            ("https://[::1]x", None),
        ];
        for (from, expected) in table {
            assert_eq!(Kind::Url.read(from), expected, "{from}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let table = [
            ("https://A.example:443/, http://localhost:3000", {
                list(&["https://a.example", "http://localhost:3000"])
            }),
            ("http://x:80", list(&["http://x"])),
            ("http://x:443", list(&["http://x:443"])),
            ("", list(&[])),
            ("*", None),
            ("null", None),
            ("https://x/path", None),
        ];
        for (from, expected) in table {
            assert_eq!(Kind::Origins.read(from), expected, "{from}");
        }
    }

    #[test]
    fn networks_are_cidr_blocks_or_single_addresses() {
        let nets = |nets: &[&str]| {
            Some(Value::Networks(nets.iter().map(|net| net.parse().unwrap()).collect()))
        };
        let read = |text| Kind::Networks.read(text);
        assert_eq!(read("10.0.0.0/8, ::1"), nets(&["10.0.0.0/8", "::1/128"]));
        assert_eq!(read(""), nets(&[]));
        assert_eq!((read("10.0.0.0/33"), read("any")), (None, None));
    }

    #[test]
    fn sources_name_a_known_scheme_once_each() {
        let read = |text| Kind::Sources.read(text);
        assert_eq!(read("shop=stripe, ci=github"), list(&["shop=stripe", "ci=github"]));
        for bad in
            ["shop", "shop=none", "Shop=stripe", "a=stripe,a=github", "=github", "a/b=github"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_choices_and_addresses_are_read_as_described() {
        assert_eq!(Kind::Secrets.read("new, old,"), list(&["new", "old"]));
        assert_eq!(Kind::Secrets.read(","), None);
        assert_eq!(Kind::Text.read("a\nb"), None);
        let choice = Kind::Choice(&["worker", "dedicated"]);
        assert_eq!((choice.read("worker"), choice.read("Worker")), (text("worker"), None));
        for (from, to) in [("localhost:0", "127.0.0.1:0"), ("[::]:80", "[::]:80")] {
            let expected = Some(Value::Address(to.parse().unwrap()));
            assert_eq!(Kind::Address.read(from), expected);
        }
        assert_eq!(Kind::Address.read("127.0.0.1"), None);
    }
}
