//! What processes use: their CPU time and memory.

use std::{fs, time::Duration};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};
use serde::Serialize;

/// A process on this machine, as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Pid(u32);

impl std::str::FromStr for Pid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pid = Self(text.parse().map_err(|_| "expected the number of a process")?);
        match (pid.cpu_time(), pid.resident_bytes()) {
            (Some(_), Some(_)) => Ok(pid),
            _ => Err("no such process can be seen in /proc".into()),
        }
    }
}

impl Pid {
    /// CPU time so far, of all its threads, in user and in kernel.
    pub(super) fn cpu_time(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let ticks = ticks(&stat)?;
        Some(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
    }

    /// The memory that is resident.
    pub(super) fn resident_bytes(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        resident(&status)
    }
}

/// Fields 14 and 15. The second is a name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn resident(status: &str) -> Option<u64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// CPU time of this process so far.
pub(super) fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// CPU time of all that runs on this machine so far, and of its cores altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    busy: u64,
    all: u64,
}

impl Machine {
    pub(super) fn now() -> Option<Self> {
        machine(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The share of the machine's time since `before` that was used.
    pub(super) fn busy_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.busy.checked_sub(before.busy)? as f64 / all as f64)
    }
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal. What follows is counted in these.
fn machine(stat: &str) -> Option<Machine> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let times = fields.split_ascii_whitespace().take(8).map(|time| time.parse::<u64>().ok());
    let times: Vec<u64> = times.collect::<Option<_>>()?;
    let idle = times.get(3)? + times.get(4)?;
    let all: u64 = times.iter().sum();
    Some(Machine { busy: all.checked_sub(idle)?, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        let machine = machine("cpu  10 1 5 80 4 0 0 0 9 9\ncpu0 1\n").unwrap();
        assert_eq!(machine, Machine { busy: 16, all: 100 });
        assert_eq!(Machine { busy: 66, all: 200 }.busy_since(machine), Some(0.5));
        assert_eq!((ticks("7 (a) S"), resident("Name:\tx\n")), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_there() {
        let pid: Pid = std::process::id().to_string().parse().unwrap();
        assert!(pid.resident_bytes().unwrap() > 100_000);
        assert!(own_cpu_time() > Duration::ZERO);
        assert!("0".parse::<Pid>().is_err() && "x".parse::<Pid>().is_err());
    }
}
