//! A full disk: nothing is acknowledged that is not on it, and what comes later is taken again
//! without a restart.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::client::{Caller, answer, run};
use crate::support::webhook::{accepted, delivery_of, eventually, receiver, refused, replayed};

/// A file system of a few megabytes, unmounted when dropped.
struct SmallDisk {
    at: TempDir,
}

impl SmallDisk {
    fn mounted() -> Self {
        let at = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at.path());
        let mounted = mount.status();
        assert!(mounted.is_ok_and(|status| status.success()), "only root may mount");
        Self { at }
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    /// Takes all the room there is.
    fn fill(&self) -> PathBuf {
        let path = self.at.path().join("filler");
        let mut filler = File::create(&path).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}

#[test]
#[ignore = "mounts a file system, which only root may: cargo test --test it disk -- --ignored"]
fn on_a_full_disk_nothing_is_acknowledged_and_with_room_again_everything_is() {
    let disk = SmallDisk::mounted();
    let mut server = receiver().with("SENDCAT_DATA_DIR", disk.path().display()).start();
    let caller = Caller::of(&server);
    let mut acknowledged = Vec::new();
    let sentence = "The request cannot be stored right now; try again in 5 seconds.";
    let full = refused(503, "storage_unavailable", sentence, &[("retry-after", "5")]);
    run(async {
        assert_eq!(answer(caller.delivers(delivery_of(["before".into()]))).await, accepted());
        let filler = disk.fill();
        let mut sent = 0;
        eventually("the disk is full", async || {
            sent += 1;
            let id = format!("full-{sent}");
            let answer = answer(caller.delivers(delivery_of([id.clone()]))).await;
            if answer == accepted() {
                acknowledged.push(id);
                return None;
            }
            assert_eq!(answer, full);
            Some(())
        })
        .await;
        eprintln!("{} were acknowledged", acknowledged.len());
        eventually("readiness says so", async || {
            let readyz = answer(caller.get("/readyz")).await;
            (readyz.status == 503 && readyz.body.contains("the disk has failed for")).then_some(())
        })
        .await;
        assert_eq!(answer(caller.get("/livez")).await.status, 200);
        std::fs::remove_file(filler).unwrap();
        // Nobody asks for anything: a server that load balancers have left must heal by itself.
        eventually("it is ready again", async || {
            (answer(caller.get("/readyz")).await.status == 200).then_some(())
        })
        .await;
        eventually("deliveries are accepted again", async || {
            let id = "after".to_owned();
            let answer = answer(caller.delivers(delivery_of([id.clone()]))).await;
            (answer == accepted()).then(|| acknowledged.push(id))
        })
        .await;
    });
    server.kill_and_restart();
    let caller = Caller::of(&server);
    run(async {
        for id in ["before".to_owned()].into_iter().chain(acknowledged) {
            assert_eq!(answer(caller.delivers(delivery_of([id]))).await, replayed());
        }
    });
}

#[test]
#[ignore = "mounts a file system, which only root may: cargo test --test it disk -- --ignored"]
fn a_disk_that_only_snapshots_found_full_is_found_well_again_without_any_traffic() {
    let disk = SmallDisk::mounted();
    let server = receiver().with("SENDCAT_DATA_DIR", disk.path().display()).start();
    let caller = Caller::of(&server);
    run(async {
        let filler = disk.fill();
        // Counted, which is saved now and then; refused, so that nothing is accepted.
        eventually("a snapshot fails", async || {
            answer(caller.post_json("/api/whatsapp/webhook", "{}")).await;
            let readyz = answer(caller.get("/readyz")).await;
            readyz.body.contains("the disk has failed for").then_some(())
        })
        .await;
        eventually("it is not ready", async || {
            (answer(caller.get("/readyz")).await.status == 503).then_some(())
        })
        .await;
        std::fs::remove_file(filler).unwrap();
        eventually("it is ready again", async || {
            (answer(caller.get("/readyz")).await.status == 200).then_some(())
        })
        .await;
    });
}
