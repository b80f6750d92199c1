//! What strangers and charts can make hookhost read neither stops it nor keeps others waiting, under the chart's own limits.
#![allow(clippy::panic)]

use std::time::Duration;

use e2e::hostile::{Row, Size, play};

/// Of the chart's limit of memory.
const MAX_PERCENT: u64 = 60;

/// Memory of a host that has nothing to do.
const MAX_IDLE: u64 = 60 << 20;

/// The kubelet gives a probe five seconds, thrice.
const MAX_PROBE: Duration = Duration::from_secs(1);

/// How long an Operation that has nothing to do with it may wait for its Job. Where the API server itself is busy, as long as
/// the bench allows: so many times what a bare Job takes in the same moment.
const MAX_WAIT: (Duration, u32) = (Duration::from_secs(2), 5);

#[test]
fn no_hostile_load_restarts_the_host_takes_its_lease_or_keeps_others_waiting() {
    let rows = play(Size::SMALL, show);
    let wrong: Vec<String> = rows.iter().filter(|row| !is_fine(row)).map(Row::to_string).collect();
    assert!(wrong.is_empty(), "\n{}\n{}", Row::HEAD, wrong.join("\n"));
}

fn is_fine(row: &Row) -> bool {
    row.is_worked_off
        && (row.restarts, row.leases_lost) == (0, 0)
        && row.peak * 100 <= row.limit * MAX_PERCENT
        && row.idle <= MAX_IDLE
        && row.slowest_probe <= MAX_PROBE
        && row.starts.iter().all(|start| start.wait <= MAX_WAIT.0.max(start.bare * MAX_WAIT.1))
}

#[expect(clippy::print_stderr, reason = "the table is what this test shows")]
fn show(line: &str) {
    eprintln!("{line}");
}
