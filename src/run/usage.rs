//! What a step costs: processor time, wall time, peak memory; and on which machine.

use std::time::Instant;

/// A running measurement.
pub struct Meter {
    start: Instant,
    cpu_s: f64,
}

/// What was used between start and end.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Elapsed time in s.
    pub wall_s: f64,
    /// Processor time of all threads, user and system, in s.
    pub cpu_s: f64,
    /// Largest resident memory of the process in the time, in bytes.
    pub peak_bytes: u64,
}

impl Meter {
    /// Starts measuring; the kernel's high-water mark of memory is set back where it allows that.
    pub fn start() -> Meter {
        // "5" resets VmHWM (proc(5)); without permission the mark of the whole process is reported
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Meter { start: Instant::now(), cpu_s: cpu_s() }
    }
    /// What was used since the start.
    pub fn read(&self) -> Usage {
        Usage { wall_s: self.start.elapsed().as_secs_f64(), cpu_s: (cpu_s() - self.cpu_s).max(0.0), peak_bytes: peak_bytes() }
    }
}

/// Processor time of this process so far, in s.
fn cpu_s() -> f64 {
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills the struct that it is given; all-zero is a valid value of it should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The high-water mark of resident memory, in bytes.
pub fn peak_bytes() -> u64 {
    kib_of("/proc/self/status", "VmHWM:").unwrap_or(0)
}

fn kib_of(file: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(field))?;
    line[field.len()..].split_whitespace().next()?.parse::<u64>().ok().map(|k| k * 1024)
}

/// The machine of a run.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Operating system and kernel.
    pub system: String,
    /// Processor.
    pub processor: String,
    /// Logical cores that the process may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find(|l| l.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            system: format!("{} {} {}", std::env::consts::OS, kernel.trim(), std::env::consts::ARCH),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib_of("/proc/meminfo", "MemTotal:").unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_processor_time_and_memory() {
        let meter = Meter::start();
        let block: Vec<u64> = (0..8_000_000).map(|i: u64| i.wrapping_mul(i)).collect();
        let sum = block.iter().fold(0u64, |a, b| a.wrapping_add(*b));
        let usage = meter.read();
        assert!(sum != 1 && usage.wall_s > 0.0 && usage.cpu_s >= 0.0);
        assert!(usage.peak_bytes > 64_000_000, "{} bytes", usage.peak_bytes);
    }
}
