//! A `sendcat serve` process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sendcat_state::machine::RecordWrite;
use sendcat_state::store::sled::SledStore;
use sendcat_state::store::{Commit, Store as _};
use tempfile::TempDir;

use super::webhook::eventually;

/// How long a process may take to listen: debug builds on a busy machine are slow.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How a process is started.
pub(crate) struct Setup {
    knobs: Vec<(String, String)>,
    sandbox: bool,
    data: TempDir,
    binary: PathBuf,
}

impl Setup {
    /// With stand-ins for every provider, and made-up secrets.
    pub(crate) fn sandbox() -> Self {
        let binary = env!("CARGO_BIN_EXE_sendcat").into();
        Self { knobs: Vec::new(), sandbox: true, data: TempDir::new().unwrap(), binary }
    }

    /// With nothing but what the test sets.
    pub(crate) fn bare() -> Self {
        Self { sandbox: false, ..Self::sandbox() }
    }

    /// The same, with a knob.
    pub(crate) fn with(mut self, knob: &str, value: impl ToString) -> Self {
        self.knobs.push((knob.to_owned(), value.to_string()));
        self
    }

    /// The same, with several knobs.
    pub(crate) fn with_all(mut self, knobs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.knobs.extend(knobs);
        self
    }

    /// Writes these records into the state before the process starts, as an earlier one would have.
    pub(crate) fn with_records(self, writes: Vec<RecordWrite>) -> Self {
        let mut store = SledStore::open(&self.data.path().join("state")).unwrap();
        store.apply(&[Commit { change: None, writes }]).unwrap();
        store.sync().unwrap();
        self
    }

    /// The same, of another build than the one that tests are given.
    pub(crate) fn of_build(self, binary: PathBuf) -> Self {
        Self { binary, ..self }
    }

    /// Starts the process and waits until it listens.
    pub(crate) fn start(self) -> Server {
        let running = Running::start(&self);
        Server { setup: self, running }
    }

    /// Starts a process that must refuse to serve; its exit code and standard error.
    pub(crate) fn refused(self) -> (Option<i32>, String) {
        let output = command(&self).output().expect("the binary was built for this test");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn command(setup: &Setup) -> Command {
    let mut command = Command::new(&setup.binary);
    command.arg("serve");
    if setup.sandbox {
        command.arg("--sandbox");
    }
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SENDCAT_BIND", "127.0.0.1:0")
        .env("SENDCAT_DATA_DIR", setup.data.path())
        .envs(setup.knobs.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A process that listens; killed when dropped.
pub(crate) struct Server {
    setup: Setup,
    running: Running,
}

struct Running {
    child: Child,
    url: String,
    log: std::thread::JoinHandle<String>,
    banner: Vec<String>,
}

impl Running {
    fn start(setup: &Setup) -> Self {
        let mut child = command(setup).spawn().expect("the binary was built for this test");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let (log, banner) = follow(stderr);
        let (to, listening) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = to.send(line);
        });
        let line = listening.recv_timeout(START_DEADLINE).unwrap_or_default();
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not listen: {line:?}\n{}", log.join().unwrap_or_default());
        };
        let url = url.to_owned();
        let banner = if setup.sandbox { until_sandbox(&banner) } else { Vec::new() };
        Self { child, url, log, banner }
    }
}

/// The banner's lines up to the last, which names the sandbox.
fn until_sandbox(banner: &mpsc::Receiver<String>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(line) = banner.recv_timeout(START_DEADLINE) {
        let last = line.starts_with("sandbox: ");
        lines.push(line);
        if last {
            break;
        }
    }
    lines
}

/// Reads a process's standard error to its end; its first lines that are no log are its banner.
fn follow(stderr: ChildStderr) -> (std::thread::JoinHandle<String>, mpsc::Receiver<String>) {
    let (to, banner) = mpsc::channel();
    let log = std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if !line.starts_with('{') {
                let _ = to.send(line.clone());
            }
            all.push_str(&line);
            all.push('\n');
        }
        all
    });
    (log, banner)
}

impl Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.running.url
    }

    /// What a line of the sandbox's banner says, such as `chat token`.
    pub(crate) fn banner(&self, name: &str) -> &str {
        let lines = self.running.banner.iter();
        let found = lines.filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name);
        found.map(|(_, value)| value).unwrap_or_else(|| panic!("no {name} in the banner"))
    }

    /// Sets a knob, from the next start on.
    pub(crate) fn set(&mut self, knob: &str, value: &str) {
        self.setup.knobs.push((knob.to_owned(), value.to_owned()));
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.running.child.id()
    }

    /// Where it keeps its state.
    pub(crate) fn data(&self) -> &Path {
        self.setup.data.path()
    }

    /// Kills the process as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.running.child.kill().expect("it runs");
        self.running.child.wait().expect("it was ours");
    }

    /// Starts the process that has ended again, on the same state.
    pub(crate) fn start_again(&mut self) {
        self.running = Running::start(&self.setup);
    }

    /// Kills the process as `kill -9` does, and starts it again on the same state.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Asks the process to end by a signal, and starts it again on the same state once it did.
    pub(crate) fn restart_by(&mut self, signal: &str) {
        self.signal(signal);
        let (code, log) = self.wait();
        assert_eq!(code, Some(0), "an orderly end: {log}");
        self.start_again();
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for the process to end; its exit code, and all it wrote to standard error.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let status = self.running.child.wait().expect("it was ours");
        let log = std::mem::replace(&mut self.running.log, std::thread::spawn(String::new));
        (status.code(), log.join().unwrap_or_default())
    }

    /// The same within a test's async part, whose other tasks go on meanwhile.
    pub(crate) async fn ended_elsewhere(&mut self) -> (Option<i32>, String) {
        eventually("the process ends", async || {
            self.running.child.try_wait().expect("it was ours")
        })
        .await;
        self.wait()
    }

    /// Asks the process to end by a signal; its exit code, and all it wrote to standard error.
    pub(crate) fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        self.wait()
    }

    /// The same, of a process that is not needed any more.
    pub(crate) fn end_by(mut self, signal: &str) -> (Option<i32>, String) {
        self.end(signal)
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the runner shows it with the test that failed")]
    fn drop(&mut self) {
        let _ = self.running.child.kill();
        let _ = self.running.child.wait();
        if std::thread::panicking() {
            let log = std::mem::replace(&mut self.running.log, std::thread::spawn(String::new));
            eprintln!("--- what the process said ---\n{}", log.join().unwrap_or_default());
        }
    }
}
