//! Connections of one worker to one server, kept shorter than the server keeps them.
//!
//! No request is ever repeated: a client that does so by itself hides what its users would see,
//! and counts one arrival twice at the server.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::clock::RunClock;
use super::traffic::Target;
use crate::slo::report::ErrorKind;

/// An idle connection is given up before actix does so after 5 s (OPERATIONS.md §5.2), also one
/// that never carried a request: of these a server says 408.
const IDLE_US: u64 = 4_000_000;

/// How long connecting, and agreeing on encryption, may take each.
const CONNECT: Duration = Duration::from_secs(5);

/// One connection, and what is known of it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Whether it has carried a request before.
    pub(super) reused: bool,
    /// How long it was idle before this request, microseconds.
    pub(super) idle_us: u64,
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    client: u16,
    since_us: u64,
    reused: bool,
}

/// Idle connections, the last used first.
pub(super) struct Pool {
    target: Target,
    clock: RunClock,
    client_ips: u16,
    address: RefCell<Option<SocketAddr>>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: RefCell<Vec<Idle>>,
}

impl Pool {
    pub(super) fn new(target: Target, clock: RunClock, client_ips: u16) -> Rc<Self> {
        let tls = target.tls.then(|| encryption(&target)).flatten();
        let (address, idle) = (RefCell::new(None), RefCell::default());
        Rc::new(Self { target, clock, client_ips, address, tls, idle })
    }

    /// Makes so many connections ahead, as well as it can: the run itself counts what fails.
    pub(super) async fn warm(&self, connections: u16) {
        let made = (0..connections).map(async |client| {
            let client = client % self.client_ips.max(1);
            if let Ok(connection) = self.connect(client).await {
                self.put(client, connection.sender, false);
            }
        });
        futures_util::future::join_all(made).await;
    }

    /// A connection that can take a request now, an idle one if there is one.
    pub(super) async fn take(&self, client: u16) -> Result<Connection, ErrorKind> {
        while let Some(idle) = self.take_idle(client) {
            let mut sender = idle.sender;
            // Nothing was sent on it yet, so taking another is no repetition.
            if sender.ready().await.is_ok() {
                let idle_us = self.clock.now_us().saturating_sub(idle.since_us);
                return Ok(Connection { sender, reused: idle.reused, idle_us });
            }
        }
        self.connect(client).await
    }

    fn take_idle(&self, client: u16) -> Option<Idle> {
        let oldest = self.clock.now_us().saturating_sub(IDLE_US);
        let mut idle = self.idle.borrow_mut();
        idle.retain(|it| it.since_us >= oldest && !it.sender.is_closed());
        let place = idle.iter().rposition(|it| it.client == client)?;
        Some(idle.remove(place))
    }

    /// Takes a connection back whose answer was read to its end.
    pub(super) fn put(&self, client: u16, sender: SendRequest<Full<Bytes>>, reused: bool) {
        if !sender.is_closed() {
            let since_us = self.clock.now_us();
            self.idle.borrow_mut().push(Idle { sender, client, since_us, reused });
        }
    }

    async fn connect(&self, client: u16) -> Result<Connection, ErrorKind> {
        let stream = tokio::time::timeout(CONNECT, self.stream(client)).await;
        let stream = stream.map_err(|_late| ErrorKind::Connect)??;
        let Some((connector, name)) = &self.tls else {
            return if self.target.tls { Err(ErrorKind::Tls) } else { shaken(stream).await };
        };
        let agreed = tokio::time::timeout(CONNECT, connector.connect(name.clone(), stream)).await;
        match agreed {
            Ok(Ok(stream)) => shaken(stream).await,
            Ok(Err(_)) | Err(_) => Err(ErrorKind::Tls),
        }
    }

    async fn stream(&self, client: u16) -> Result<TcpStream, ErrorKind> {
        let address = self.resolve().await?;
        let connected = match (self.source(client), address) {
            (Some(source), SocketAddr::V4(_)) => {
                let socket = TcpSocket::new_v4().map_err(|_none| ErrorKind::Connect)?;
                socket.bind((source, 0).into()).map_err(|_taken| ErrorKind::Connect)?;
                socket.connect(address).await
            }
            _ => TcpStream::connect(address).await,
        };
        let stream = connected.map_err(|_refused| ErrorKind::Connect)?;
        // What is written whole must not wait for the acknowledgement of what went before.
        stream.set_nodelay(true).map_err(|_gone| ErrorKind::Connect)?;
        Ok(stream)
    }

    /// The address on this machine that a client's requests come from.
    fn source(&self, client: u16) -> Option<IpAddr> {
        let many = self.client_ips > 1 && self.has_sources();
        let [high, low] = (client + 2).to_be_bytes();
        many.then(|| Ipv4Addr::new(127, 0, high, low).into())
    }

    async fn resolve(&self) -> Result<SocketAddr, ErrorKind> {
        if let Some(address) = *self.address.borrow() {
            return Ok(address);
        }
        let host = (self.target.host.as_str(), self.target.port);
        let found = tokio::net::lookup_host(host).await.map_err(|_none| ErrorKind::Dns)?;
        let found: Vec<_> = found.collect();
        let four = found.iter().find(|address| address.is_ipv4() && self.client_ips > 1);
        let address = *four.or(found.first()).ok_or(ErrorKind::Dns)?;
        *self.address.borrow_mut() = Some(address);
        Ok(address)
    }

    /// Whether requests can come from many addresses of this machine: the whole of 127.0.0.0/8 is
    /// its own, of IPv6 `::1` alone.
    fn has_sources(&self) -> bool {
        self.target.is_loopback() && self.target.host.parse::<Ipv6Addr>().is_err()
    }

    /// The address that a proxy would name for a client, where requests all come from one.
    pub(super) fn forwarded_for(&self, client: u16) -> Option<String> {
        let many = self.client_ips > 1 && !self.has_sources();
        let [high, low] = (client + 1).to_be_bytes();
        // Addresses that are set aside for benchmarks (RFC 2544).
        many.then(|| format!("198.18.{high}.{low}"))
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

/// `None` if the machine has no CAs or the host has no name: requests then fail as `tls`.
fn encryption(target: &Target) -> Option<(TlsConnector, ServerName<'static>)> {
    let config = rustls::ClientConfig::with_platform_verifier().ok()?;
    let name = ServerName::try_from(target.host.clone()).ok()?;
    Some((TlsConnector::from(Arc::new(config)), name))
}

async fn shaken<S>(stream: S) -> Result<Connection, ErrorKind>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_gone| ErrorKind::Connect)?;
    // Its end is seen by whoever holds the sender.
    tokio::task::spawn_local(connection);
    Ok(Connection { sender, reused: false, idle_us: 0 })
}
