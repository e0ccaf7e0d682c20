//! Figures of the process itself, under the names that Prometheus' clients have for them. From `/proc`; what cannot be read is left out.

use std::{fmt::Write as _, fs};

/// Of Linux' clock ticks a second, in what `/proc` says: a part of its interface.
const TICKS_A_SECOND: f64 = 100.0;

/// Name, kind, meaning.
const FIGURES: [(&str, &str, &str); 5] = [
    ("process_cpu_seconds_total", "counter", "Time that the process spent on processors, in seconds."),
    ("process_resident_memory_bytes", "gauge", "Memory of the process that is resident."),
    ("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970."),
    ("process_open_fds", "gauge", "Files and connections that the process has open."),
    ("process_max_fds", "gauge", "Files and connections that the process may have open."),
];

/// All that can be read, as text for Prometheus.
pub fn figures() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let values = [cpu_seconds(&stat), resident_bytes(), started_at(&stat), open_files(), max_files()];
    let mut text = String::new();
    for ((name, kind, meaning), value) in FIGURES.iter().zip(values) {
        let Some(value) = value else { continue };
        let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {value}\n"); // a String takes all
    }
    text
}

/// A field of `/proc/self/stat` by its number in proc(5). The name before them may hold anything, in parentheses.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_A_SECOND)
}

fn started_at(stat: &str) -> Option<f64> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + field(stat, 22)? / TICKS_A_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: f64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0)
}

fn open_files() -> Option<f64> {
    // one of them is the folder that is being read
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        let text = figures();
        for (name, kind, _) in FIGURES {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            assert!(
                text.contains(&format!("# TYPE {name} {kind}")) && value.is_some_and(|value| value.parse::<f64>().is_ok()),
                "{name}:\n{text}"
            );
        }
    }

    #[test]
    fn a_name_with_parentheses_shifts_nothing() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 900 1";
        assert_eq!((cpu_seconds(stat), field(stat, 22)), (Some(3.0), Some(900.0)));
    }
}
