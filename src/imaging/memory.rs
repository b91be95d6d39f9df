//! How much memory there is.

/// Fourier planes may take this part of the memory that is free.
const PART_FOR_GRIDS: usize = 4;
/// And as much as this in any case, bytes.
const LEAST_FOR_GRIDS: usize = 256 << 20;

/// Bytes that can be had without swapping; `None` where the system does not tell.
pub fn available() -> Option<usize> {
    let free = of_meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(of_container().map_or(free, |limit| limit.min(free)))
}

/// What is left of the limit of a container or a batch job (cgroup, version 2).
fn of_container() -> Option<usize> {
    let number = |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<usize>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// `1.2 GB`, `340 MB`
pub fn text(bytes: usize) -> String {
    let mb = bytes as f64 / 1e6;
    if mb >= 1e3 { format!("{:.1} GB", mb / 1e3) } else { format!("{mb:.0} MB") }
}

/// The line `MemAvailable:    12345 kB`.
fn of_meminfo(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}

/// Bytes that Fourier planes of a cube may take together. How many planes are made at a time changes no bit of them.
pub(super) fn for_grids() -> usize {
    available().map_or(LEAST_FOR_GRIDS, |b| (b / PART_FOR_GRIDS).max(LEAST_FOR_GRIDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(of_meminfo("MemTotal:  99 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\nBuffers: 5 kB\n"), Some(2 << 20));
        assert_eq!(of_meminfo("nothing"), None);
        assert!(for_grids() >= LEAST_FOR_GRIDS);
    }
}
