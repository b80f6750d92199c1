//! Whatever a record or a manifest says, reading it stays within a few times the bounds in memory, and within seconds.
//!
//! One test, in a process of its own: the peak that Linux counts is the process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use hookhost_core::record::MAX_INFLATED_BYTES;
use hookhost_core::{Record, yaml};

/// Four times what a record may inflate to: its JSON, the manifests' text, and the values made of them.
const PEAK_MIB: usize = (4 * MAX_INFLATED_BYTES) >> 20;

/// The most that this process has ever had in memory.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn gzip(parts: &[(&str, usize)]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for (text, times) in parts {
        let chunk = text.repeat(1024);
        for _ in 0..times / 1024 {
            encoder.write_all(chunk.as_bytes()).unwrap();
        }
        encoder.write_all(text.repeat(times % 1024).as_bytes()).unwrap();
    }
    encoder.finish().unwrap()
}

/// A record of the largest size allowed: `head`, then `unit` as often as it fits, then `tail`.
fn filled(head: &str, unit: &str, tail: &str) -> Vec<u8> {
    let room = MAX_INFLATED_BYTES - head.len() - tail.len();
    gzip(&[(head, 1), (unit, room / unit.len()), (tail, 1)])
}

#[test]
fn hostile_records_and_manifests_stay_within_the_bounds() {
    const HEAD: &str = r#"{"name":"a","namespace":"b","version":1"#;
    let hook = |head: &str| format!(r#"{HEAD},"hooks":[{{"kind":"Job","name":"x","manifest":"{head}"#);
    let records = [
        ("a bomb of 1 GiB in 1 MiB", gzip(&[(" ", 1 << 30)])),
        ("empty hooks", filled(&format!("{HEAD},\"hooks\":["), "{},", "{}]}")),
        ("empty events", filled(&format!("{HEAD},\"hooks\":[{{\"events\":["), "\"\",", "\"\"]}]}")),
        ("a deep list", filled(&format!("{HEAD},\"config\":"), "[", "")),
        ("a manifest of lists", filled(&hook(""), "- []\\n", "\"}]}")),
        ("a manifest of mappings", filled(&hook(""), "- {a: 1}\\n", "\"}]}")),
        ("a manifest of Lists", filled(&hook("items:\\n"), "- {a: 1}\\n", "\"}]}")),
        ("a manifest of one text", filled(&hook("a: "), "x", "\"}]}")),
    ];
    for (what, record) in records {
        let start = Instant::now();
        if let Ok(record) = Record::read(&record) {
            record.hooks();
        }
        let (took, peak) = (start.elapsed(), peak() >> 20);
        assert!(took < Duration::from_secs(30), "{what} took {took:?}");
        assert!(peak < PEAK_MIB, "{what} took {peak} MiB");
    }
    for unit in ["- []\n", "- {a: 1}\n", "---\n", "- &a {}\n"] {
        let _ = yaml::read(&unit.repeat(yaml::MAX_TEXT_BYTES / unit.len()));
        let peak = peak() >> 20;
        assert!(peak < PEAK_MIB, "{unit:?} took {peak} MiB");
    }
}
