//! Acknowledged WhatsApp deliveries over HTTP at 64 connections: a serving process, whose journal
//! commits together what waits together, with every guard on: *working*, where its workers work off
//! what came meanwhile, and *stalled*, where each of them waits for a model that never answers, and
//! what is measured is acknowledging alone, as it is in the floor.
//!
//! Floor: the least that could say yes as honestly. A handler of the same framework on as many
//! threads checks the signature, parses, and appends to a file in the same kind of directory.
//! Twice: *alone*, where each append and its fdatasync have the file to themselves, and *joined*,
//! where as many threads as there are requests sync at once and the kernel makes one of what it
//! can.
//!
//! Beside criterion's figures this prints all rates, measured in turn in one run, their ratios, and
//! what one fdatasync takes: on the disk that `TMPDIR` is on, and again with [`SLOWER`] more to
//! each wait for it, theirs and ours, for a disk of one's own syncs in 1 to 10 ms and a virtual one
//! often in a tenth of that (PERFORMANCE.md §3).

#[path = "support/serving.rs"]
mod serving;
mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sendcat::contract::{headers, signature, whatsapp};
use sendcat_actors::faults::{Fault, FaultBoard, FaultKind, Step};
use serving::{APP_SECRET, Serving};
use support::{now, together};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: u64 = 64;

/// Rounds of each server in turn, and deliveries of each round.
const PAIRS: usize = 5;
const ROUND: u64 = 64 * 40;

/// Syncs that are timed alone.
const SYNCS: usize = 300;

/// What is added to each wait for the disk, in the second half.
const SLOWER: Duration = Duration::from_millis(2);

/// A text of usual length: a delivery is 600 to 1000 bytes.
const TEXT: &str = "When will my order come? It said Tuesday, and I shall be out until four.";

/// A connection that is kept open, and knows no more of HTTP than it needs.
struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    async fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket has options");
        Self { stream, answer: Vec::with_capacity(1024) }
    }

    /// Sends a signed delivery and waits for its 200, which has no body.
    async fn delivers(&mut self, number: u64) {
        self.stream.write_all(&delivery(number)).await.expect("the server reads");
        self.answer.clear();
        while !self.answer.ends_with(b"\r\n\r\n") {
            let read = self.stream.read_buf(&mut self.answer).await.expect("the server answers");
            assert!(read > 0, "the server has hung up");
        }
        let answer = String::from_utf8_lossy(&self.answer);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains(headers::IDEMPOTENT_REPLAY), "each is sent once: {answer}");
    }
}

/// The bytes of a delivery of one text, its head included.
fn delivery(number: u64) -> Vec<u8> {
    let id = format!("wamid.HBgLMTU1NTU1NTU1NTUVAgARGBI{number:020}");
    let body = serde_json::json!({"object": "whatsapp_business_account", "entry": [{
        "id": "102290129340398", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": "1065"},
            "contacts": [{"profile": {"name": "Sheena Nelson"}, "wa_id": "16505551234"}],
            "messages": [{"from": "16505551234", "id": id, "timestamp": "1749416383",
                "type": "text", "text": {"body": TEXT}}]}}]}]});
    let body = body.to_string();
    let signed = signature::sign_meta(APP_SECRET.as_bytes(), body.as_bytes());
    let head = format!(
        "POST /api/whatsapp/webhook HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{}: {signed}\r\n\r\n",
        body.len(),
        headers::HUB_SIGNATURE,
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// Where the floor appends.
struct Disk {
    file: File,
    /// Held over an append and its sync by a handler that has the disk to itself.
    alone: Option<Mutex<()>>,
    /// Lengthens each wait for it, as the same fault does for ours.
    slower: FaultBoard,
}

impl Disk {
    fn append(&self, body: &[u8]) -> std::io::Result<()> {
        let _held = self.alone.as_ref().map(|alone| alone.lock().expect("no holder panics"));
        let mut file = &self.file;
        file.write_all(body)?;
        file.sync_data()?;
        self.slower.strike(Step::Flush);
        Ok(())
    }
}

/// Says yes when the delivery is on disk.
async fn bare(request: HttpRequest, body: web::Bytes, disk: web::Data<Disk>) -> HttpResponse {
    let signed = request.headers().get(headers::HUB_SIGNATURE);
    let signed = signed.and_then(|value| value.to_str().ok());
    let verdict = signature::verify_meta(&[APP_SECRET], signed, &body);
    if verdict.is_err() || whatsapp::read(&body).is_err() {
        return HttpResponse::Forbidden().finish();
    }
    match web::block(move || disk.append(&body)).await {
        Ok(Ok(())) => HttpResponse::Ok().finish(),
        Ok(Err(_)) | Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// Starts a floor on a thread of its own, on a worker a core as we have; where it listens.
fn floor(directory: &Path, alone: bool, slower: Duration) -> String {
    let name = format!("floor-{alone}-{}", slower.as_micros());
    let file = File::options().create(true).append(true).open(directory.join(name));
    let file = file.expect("the directory can be written");
    let board = FaultBoard::default();
    board.arm(Fault::lasting(FaultKind::DiskSlow(slower)));
    let disk = Disk { file, alone: alone.then(Mutex::default), slower: board };
    let disk = web::Data::new(disk);
    let (to, started) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = move || {
                let disk = disk.clone();
                App::new().app_data(disk).route("/api/whatsapp/webhook", web::post().to(bare))
            };
            let server = HttpServer::new(app).bind("127.0.0.1:0").expect("loopback has ports");
            to.send(server.addrs()[0].to_string()).expect("the bench waits");
            server.run().await.expect("it serves");
        });
    });
    started.recv().expect("the floor starts")
}

/// How long `times` deliveries take over all connections.
async fn all(address: &str, times: u64, next: &Rc<std::cell::Cell<u64>>) -> Duration {
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        lines.push(Rc::new(tokio::sync::Mutex::new(Line::to(address).await)));
    }
    together(CONNECTIONS, times, |caller| {
        let line = Rc::clone(&lines[usize::try_from(caller).expect("they are few")]);
        let next = Rc::clone(next);
        move |_| {
            let (line, number) = (Rc::clone(&line), next.get());
            next.set(number + 1);
            async move { line.lock().await.delivers(number).await }
        }
    })
    .await
}

/// What one append and fdatasync takes, with nothing beside it: the middle of many.
fn fdatasync(directory: &Path) -> Duration {
    let file = File::options().create(true).append(true).open(directory.join("alone"));
    let mut file = file.expect("the directory can be written");
    let bytes = delivery(0);
    let mut spans: Vec<_> = (0..SYNCS)
        .map(|_| {
            let begun = now();
            file.write_all(&bytes).expect("the disk has room");
            file.sync_data().expect("the disk syncs");
            begun.elapsed()
        })
        .collect();
    spans.sort();
    spans[SYNCS / 2]
}

fn acknowledges(bench: &mut Criterion) {
    let system = actix_rt::System::new();
    let directory = tempfile::tempdir().expect("there is a directory for files that pass");
    let next = Rc::new(std::cell::Cell::new(0));
    let sync = fdatasync(directory.path());
    for slower in [Duration::ZERO, SLOWER] {
        let working = system.block_on(Serving::on_disk_slower_by(slower));
        let stalled = system.block_on(Serving::stalled_on_disk_slower_by(slower));
        let servers = [
            ("alone", floor(directory.path(), true, slower)),
            ("joined", floor(directory.path(), false, slower)),
            ("working", working.address()),
            ("stalled", stalled.address()),
        ];
        let disk = format!("webhook/disk {slower:?} slower");
        let mut group = bench.benchmark_group(disk);
        group.throughput(Throughput::Elements(1)).sample_size(10);
        group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
        for (name, address) in &servers {
            group.bench_function(BenchmarkId::new(*name, CONNECTIONS), |each| {
                each.iter_custom(|times| system.block_on(all(address, times, &next)));
            });
        }
        group.finish();
        let mut rounds = [const { Vec::new() }; 4];
        for _ in 0..PAIRS {
            for (place, (_, address)) in servers.iter().enumerate() {
                rounds[place].push(system.block_on(all(address, ROUND, &next)));
            }
        }
        tell(rounds, sync + slower);
    }
}

/// Prints all rates of the middle rounds, and the ratios.
#[expect(clippy::print_stdout, reason = "criterion has no place for a ratio of two figures")]
fn tell(mut rounds: [Vec<Duration>; 4], sync: Duration) {
    rounds.iter_mut().for_each(|spans| spans.sort());
    let rate = |spans: Vec<Duration>| ROUND as f64 / spans[PAIRS / 2].as_secs_f64();
    let [alone, joined, working, stalled] = rounds.map(rate);
    println!(
        "webhook/acks at {CONNECTIONS} connections, fdatasync p50 {sync:?}: alone {alone:.0}/s, \
         joined {joined:.0}/s; ours working {working:.0}/s, ratio to alone {:.2}, to joined {:.2}; \
         ours stalled {stalled:.0}/s, ratio to alone {:.2} (floor 2, aim 5), to joined {:.2}",
        working / alone,
        working / joined,
        stalled / alone,
        stalled / joined,
    );
}

criterion_group!(benches, acknowledges);
criterion_main!(benches);
