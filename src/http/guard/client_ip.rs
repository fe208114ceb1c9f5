//! Whose request it is, as far as addresses tell (INTERFACE.md §4).
//!
//! The peer of the connection, unless it is a proxy that we trust: then what the proxy says. Nobody
//! else's word counts, for anybody can write these headers.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use ipnet::IpNet;

use crate::contract::headers;

/// The client's address; mapped IPv4 is IPv4.
pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    // A connection without a peer is a test's, or gone already.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let fields = |name: &str| {
        let values = request.headers().get_all(name).filter_map(|value| value.to_str().ok());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let single = |name: &str| match fields(name).as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    from_fields(
        peer.to_canonical(),
        trusted,
        single(headers::CF_CONNECTING_IP).as_deref(),
        &fields(headers::FORWARDED_FOR),
        single(headers::REAL_IP).as_deref(),
    )
}

fn from_fields(
    peer: IpAddr,
    trusted: &[IpNet],
    cf: Option<&str>,
    forwarded: &[String],
    real: Option<&str>,
) -> IpAddr {
    let trusts = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    if !trusts(peer) {
        return peer;
    }
    let parse = |text: &str| text.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    if let Some(client) = cf.and_then(parse) {
        return client;
    }
    if forwarded.is_empty() {
        return real.and_then(parse).unwrap_or(peer);
    }
    // All lines form one list; each proxy has added who called it at the end.
    let mut last = peer;
    for hop in forwarded.iter().flat_map(|line| line.split(',')).rev() {
        match parse(hop) {
            Some(address) if trusts(address) => last = address,
            Some(address) => return address,
            None => return last,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, cf: Option<&str>, forwarded: &[&str], real: Option<&str>) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let forwarded: Vec<_> = forwarded.iter().map(|line| (*line).to_owned()).collect();
        from_fields(peer.parse().unwrap(), &trusted, cf, &forwarded, real).to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let fields = ["6.6.6.6"];
        assert_eq!(client("9.9.9.9", Some("6.6.6.6"), &fields, Some("6.6.6.6")), "9.9.9.9");
        assert_eq!(client("10.0.0.1", Some("6.6.6.6"), &["7.7.7.7"], None), "6.6.6.6");
        assert_eq!(client("10.0.0.1", None, &["7.7.7.7"], Some("8.8.8.8")), "7.7.7.7");
        assert_eq!(client("10.0.0.1", None, &[], Some("8.8.8.8")), "8.8.8.8");
        assert_eq!(client("10.0.0.1", None, &[], None), "10.0.0.1");
    }

    #[test]
    fn of_forwarded_addresses_the_rightmost_untrusted_one_is_the_client() {
        assert_eq!(client("10.0.0.1", None, &["6.6.6.6, 7.7.7.7"], None), "7.7.7.7");
        assert_eq!(client("10.0.0.1", None, &["6.6.6.6", "7.7.7.7, 10.2.2.2"], None), "7.7.7.7");
        assert_eq!(client("10.0.0.1", None, &["6.6.6.6, junk, 10.2.2.2"], None), "10.2.2.2");
        assert_eq!(client("10.0.0.1", None, &["10.3.3.3, 10.2.2.2"], None), "10.3.3.3");
        assert_eq!(client("::1", None, &["::ffff:7.7.7.7"], None), "7.7.7.7");
        assert_eq!(client("10.0.0.1", Some("junk"), &["7.7.7.7"], None), "7.7.7.7");
    }
}
