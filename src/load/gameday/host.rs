//! What this machine tells of itself: free disk, and the memory of whoever listens on a port here.

use std::path::Path;

/// Free space where `path` is, in MB; `None` where `df` does not say.
pub async fn free_disk_mb(path: &Path) -> Option<u64> {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        std::process::Command::new("df").arg("-Pk").arg(path).output()
    });
    let output = asked.await.ok()?.ok()?;
    available_mb(&String::from_utf8_lossy(&output.stdout))
}

fn available_mb(text: &str) -> Option<u64> {
    let row = text.lines().nth(1)?;
    Some(row.split_whitespace().nth(3)?.parse::<u64>().ok()? / 1024)
}

/// Memory of the process that listens on that port of this machine, in MB; `None` where it cannot
/// be seen.
pub async fn rss_mb(port: u16) -> Option<f64> {
    tokio::task::spawn_blocking(move || rss_of(listener(port)?)).await.ok()?
}

/// The number of the process.
fn listener(port: u16) -> Option<u32> {
    let wanted = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let row = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // The second column is the local address, the fourth the state: 0A listens.
    let mut rows = row.filter(|row| row.len() > 9 && row[3] == "0A" && row[1].ends_with(&wanted));
    let socket = format!("socket:[{}]", rows.next()?[9]);
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(|number: &u32| {
        let files = std::fs::read_dir(format!("/proc/{number}/fd"));
        files.into_iter().flatten().flatten().any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|to| to.to_str() == Some(socket.as_str()))
        })
    })
}

fn rss_of(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(row.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_df_says_is_read() {
        let said = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/x 10485760 1048576 5242880 17% /\n";
        assert_eq!(available_mb(said), Some(5120));
        assert_eq!(available_mb("df: nothing there\n"), None);
    }

    #[test]
    fn whoever_listens_here_is_found_and_has_memory() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listening.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(std::process::id()));
        assert!(rss_of(std::process::id()).unwrap() > 1.0);
    }
}
