//! What strangers and charts can make hookhost read neither stops it nor keeps others waiting, under the chart's own limits.
#![allow(clippy::panic)]

use std::sync::Once;
use std::time::Duration;

use e2e::hostile::{Load, Row, Size, run_that_can_be_changed};
use serde_json::json;

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
fn wrong_names_against_thousands_of_hooks_stop_nobody() {
    stops_nobody(Load::WrongNames);
}

#[test]
fn a_record_that_fills_memory_once_it_is_read_stops_nobody() {
    stops_nobody(Load::LongLists);
}

#[test]
fn a_long_queue_for_one_hook_stops_nobody() {
    stops_nobody(Load::Queue);
}

#[test]
fn large_operations_that_nobody_serves_stop_nobody() {
    stops_nobody(Load::LargeOperations);
}

#[test]
fn forged_jobs_and_pods_of_the_largest_size_stop_nobody() {
    stops_nobody(Load::ForgedJobs);
}

/// Its CRD forbids the change; another's may not.
#[test]
fn a_run_is_followed_to_its_end_though_its_operation_names_another_engine_by_then() {
    let (world, _host, namespace) = run_that_can_be_changed("run");
    world.patch(&namespace, "operation/run", &json!({"spec": {"engine": "velero"}}));
    world.cancel(&namespace, "run");
    world.phase(&namespace, "run", "Cancelled");
    world.until_gone(&namespace, "job/run");
}

fn stops_nobody(load: Load) {
    static HEAD: Once = Once::new();
    let row = load.play(Size::SMALL);
    HEAD.call_once(|| show(Row::HEAD));
    show(&row.to_string());
    assert!(is_fine(&row), "\n{}\n{row}", Row::HEAD);
}

fn is_fine(row: &Row) -> bool {
    row.is_worked_off
        && (row.restarts, row.leases_lost) == (0, 0)
        && row.peak * 100 <= row.limit * MAX_PERCENT
        && row.idle <= MAX_IDLE
        && row.slowest_probe <= MAX_PROBE
        && row.starts.iter().all(|start| start.wait <= MAX_WAIT.0.max(start.bare * MAX_WAIT.1))
}

#[expect(clippy::print_stderr, reason = "the table is what these tests show")]
fn show(line: &str) {
    eprintln!("{line}");
}
