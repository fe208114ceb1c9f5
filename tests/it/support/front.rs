//! A sound server whose answers to a drill are scripted: what a drill sends goes to a
//! [`KnownServer`], everything else, synthetic probes above all, to a real one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sendcat::load::known_server::{KnownServer, Reply};
use sendcat::load::scenarios::Webhook;
use sendcat::load::traffic::Traffic as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Listens until it is dropped; then every connection is closed, and none is taken.
pub(crate) struct Front {
    address: SocketAddr,
    known: KnownServer,
    _ends: DropGuard,
}

impl Front {
    /// Before the server there; the script is of the drill's requests alone, numbered from 0.
    pub(crate) fn of(server: &str, script: fn(u64) -> (Duration, Reply)) -> Self {
        let keep_alive = Duration::from_secs(5);
        let known = KnownServer::start(Arc::new(move |_, number| script(number)), keep_alive);
        let known = known.expect("loopback has ports");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        listener.set_nonblocking(true).expect("it is a socket");
        let address = listener.local_addr().expect("it is bound");
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        let (real, scripted) = (host(server), host(&known.url()));
        let end = CancellationToken::new();
        let ended = end.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let passing = async {
                let listener = TcpListener::from_std(listener).expect("it is a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let (real, scripted) = (real.clone(), scripted.clone());
                    tokio::spawn(async move { pass_on(stream, real, scripted).await });
                }
            };
            runtime.expect("it can be built").block_on(ended.run_until_cancelled(passing));
        });
        Self { address, known, _ends: end.drop_guard() }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests of the drill that came.
    pub(crate) fn requests(&self) -> u64 {
        self.known.requests()
    }
}

/// By its first request a connection is a drill's or another's, and stays it.
async fn pass_on(mut stream: TcpStream, real: String, scripted: String) -> Option<()> {
    let mut first = Vec::new();
    while !first.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut first).await.ok()? == 0 {
            return None;
        }
    }
    let onward = if is_of_a_drill(&first) { scripted } else { real };
    let mut onward = TcpStream::connect(onward).await.ok()?;
    let _ = (stream.set_nodelay(true), onward.set_nodelay(true));
    onward.write_all(&first).await.ok()?;
    tokio::io::copy_bidirectional(&mut stream, &mut onward).await.ok().map(|_| ())
}

/// No probe's body is as long as the drill's.
fn is_of_a_drill(head: &[u8]) -> bool {
    let call = Webhook::whatsapp().call(0);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = format!("content-length: {}\r\n", call.body.len());
    head.starts_with(&format!("post {} ", call.path)) && head.contains(&length)
}
