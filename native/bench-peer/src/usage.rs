//! What this process has used: processor time and memory.

use std::time::Instant;

/// User and system time of all threads, in seconds.
pub fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills the struct it is given, all of whose bit patterns are valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Resident memory in bytes, from proc(5).
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    // SAFETY: sysconf has no preconditions.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// Wall and processor time since it was made.
pub struct Stopwatch {
    begin: Instant,
    cpu: f64,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { begin: Instant::now(), cpu: cpu_seconds() }
    }

    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// The two fields every timed answer has.
    pub fn fields(&self) -> String {
        format!("\"seconds\":{:.6},\"cpu\":{:.6}", self.seconds(), cpu_seconds() - self.cpu)
    }
}
