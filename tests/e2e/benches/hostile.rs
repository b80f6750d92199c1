//! What becomes of hookhost under the whole of each hostile load: the table of the test of the same name at full size, and
//! each of its figures as a target.
//!
//! `hookhost` is the one beside this bench: build it first, with the same profile. Prints the table to stderr, and JSON lines
//! like those of the bench `controller`.

use std::io::Write;
use std::time::Duration;

use e2e::hostile::{Load, Row, Size};
use serde_json::json;

fn main() {
    for load in Load::ALL {
        let row = load.play(Size::FULL);
        say(Row::HEAD);
        say(&row.to_string());
        let seconds = |time: Duration| time.as_secs_f64();
        let percent = row.peak as f64 * 100.0 / row.limit as f64;
        for (what, measured, at_most, unit) in [
            ("memory at most, of the limit", percent, 60.0, " %"),
            ("slowest answer of /healthz", seconds(row.slowest_probe), 1.0, " s"),
            ("longest wait of others", seconds(row.longest().wait), 2.0, " s"),
            ("restarts", row.restarts as f64, 0.0, ""),
        ] {
            let name = format!("{}: {what}", row.case);
            let line = json!({"name": name, "measured": measured, "atMost": at_most, "unit": unit});
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
}

#[expect(clippy::print_stderr, reason = "for the person who waits")]
fn say(line: &str) {
    eprintln!("{line}");
}
