//! What the kernel says of a server's process.

use std::{fs, path::PathBuf};

/// A running server.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    directory: PathBuf,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { directory: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// CPU time so far, of all threads, in user and kernel.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, String> {
        let ticks = cpu_ticks(&self.read("stat")?).ok_or("/proc/PID/stat is not what it was")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Result<u64, String> {
        status_kib(&self.read("status")?, "VmRSS:").ok_or_else(|| "no VmRSS".into())
    }

    /// The most that it ever was, in KiB.
    pub(crate) fn most_resident(&self) -> Result<u64, String> {
        status_kib(&self.read("status")?, "VmHWM:").ok_or_else(|| "no VmHWM".into())
    }

    fn read(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.directory.join(file)).map_err(|error| format!("the server is gone: {error}"))
    }
}

/// User and system time. The name before them may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn status_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 77";
        assert_eq!(cpu_ticks(stat), Some(200));
        let status = "Name:\tx\nVmHWM:\t  2000 kB\nVmRSS:\t  1234 kB\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(1234));
        let own = Process::new(std::process::id());
        assert!(own.resident().unwrap() > 0 && own.most_resident().unwrap() > 0);
        assert!(own.cpu_seconds().unwrap() >= 0.0);
    }
}
