//! A server that a game day starts itself, to be killed, stopped and damaged: nobody else's is.
//!
//! It lives on loopback and in a directory of its own, and it ends with the tool however that
//! ends: beside it waits a shell that kills it as soon as the tool is gone.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use super::server::Target;
use crate::config::Secret;
use crate::load::clock::wall;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

/// Reads until the tool has gone, and leaves nothing behind that it has started.
const GUARD: &str = "read -r _; kill -CONT \"$1\"; kill -KILL \"$1\"";

/// The server; gone when dropped, with all that it has written.
pub struct OwnServer {
    directory: PathBuf,
    bind: Mutex<String>,
    running: Mutex<Option<Running>>,
    ops: Secret,
    webhook: Secret,
}

struct Running {
    server: Child,
    guard: Child,
}

impl OwnServer {
    /// Starts this very program as a server with stand-ins. Blocks until it listens.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn start() -> io::Result<Self> {
        let name = format!("sendcat-gameday-{}-{:x}", std::process::id(), wall().as_nanos());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let own = Self {
            directory,
            bind: Mutex::new("127.0.0.1:0".to_owned()),
            running: Mutex::default(),
            ops: secret()?,
            webhook: secret()?,
        };
        own.launch()?;
        Ok(own)
    }

    /// How it is asked.
    pub fn target(&self) -> Option<Target> {
        let target = Target::at(&format!("http://{}", lock(&self.bind)))?;
        let (ops, webhook) = (Some(self.ops.clone()), Some(self.webhook.clone()));
        Some(Target { ops, webhook, ..target })
    }

    /// The number of its process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.running).as_ref().map(|running| running.server.id())
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub fn kill(&self) {
        let Some(Running { mut server, mut guard }) = lock(&self.running).take() else { return };
        // The guard first: it must not end a process that has the number later.
        for process in [&mut guard, &mut server] {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Starts it again on the same address and the same state. Blocks until it listens.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn launch(&self) -> io::Result<()> {
        let mut bind = lock(&self.bind);
        let log = File::options().create(true).append(true).open(self.directory.join("log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--sandbox"]).env_clear().env("SENDCAT_BIND", &*bind);
        command.env("SENDCAT_DATA_DIR", self.data()).env("OPS_TOKEN", self.ops.expose());
        command.env("WHATSAPP_APP_SECRET", self.webhook.expose());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut server = command.spawn()?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", &server.id().to_string()]).stdin(Stdio::piped());
        let guard = guard.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let stdout = server.stdout.take();
        *lock(&self.running) = Some(Running { server, guard });
        let (to, listening) = mpsc::channel();
        std::thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(to.send(line));
            }
        });
        let line = listening.recv_timeout(START).unwrap_or_default();
        let address = line.trim().strip_prefix("listening on http://");
        let why = || io::Error::other("the server of the game day's own does not listen");
        address.ok_or_else(why)?.clone_into(&mut bind);
        Ok(())
    }

    /// Sends its process a signal by name, such as `STOP`; `false` if there is none.
    pub fn signal(&self, name: &str) -> bool {
        let Some(pid) = self.pid() else { return false };
        let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Stops it for so many seconds, by a process that lets it go on in any case. Blocks as long.
    pub fn stop_for(&self, seconds: u64) -> bool {
        let Some(pid) = self.pid() else { return false };
        let script = "kill -STOP \"$1\"; sleep \"$2\"; kill -CONT \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &pid.to_string(), &seconds.to_string()]);
        command.status().is_ok_and(|status| status.success())
    }

    /// Turns some bits in the middle of its store, which nobody may have open.
    ///
    /// # Errors
    /// Of the file.
    pub fn damage(&self) -> io::Result<()> {
        let path = self.data().join("state").join("db");
        let mut bytes = std::fs::read(&path)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
        let byte = bytes.get_mut(used / 2).ok_or_else(|| io::Error::other("the store is empty"))?;
        *byte ^= 0x55;
        std::fs::write(&path, bytes)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn secret() -> io::Result<Secret> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}
