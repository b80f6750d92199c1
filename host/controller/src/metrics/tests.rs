//! What a scrape shows.

use std::collections::BTreeSet;

use hookhost_core::Reason;
use k8s_openapi::api::batch::v1::Job;

use super::*;
use hookhost_cluster::client::Verb;

/// Metrics in which everything has happened once.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    metrics.leads(true);
    metrics.transition("Failed", "HookNotFound");
    metrics.set_in_flight("Running", 3);
    metrics.decision("deadline-cap", DecisionOutcome::Deny);
    metrics.decided(Duration::from_micros(150));
    metrics.reconciled(Duration::from_millis(3));
    metrics.reconcile_error(Reason::ClusterUnreachable);
    metrics.job_created(Duration::from_millis(300));
    metrics.set_queue_depth(2);
    metrics.write(&Call::new::<Job>(Verb::Create, Some("apps"), "migrate"), WriteOutcome::Ok);
    metrics.event_dropped(EventLoss::Full);
    metrics
}

#[test]
fn a_scrape_shows_what_happened() {
    let text = busy().encode();
    for line in [
        concat!("hookhost_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "hookhost_leader 1",
        r#"hookhost_operation_transitions_total{phase="Failed",reason="HookNotFound"} 1"#,
        r#"hookhost_operations_in_flight{phase="Running"} 3"#,
        r#"hookhost_policy_decisions_total{policy="deadline-cap",outcome="deny"} 1"#,
        r#"hookhost_decision_duration_seconds_bucket{le="0.0002"} 1"#,
        r#"hookhost_reconcile_duration_seconds_bucket{le="0.002"} 0"#,
        r#"hookhost_reconcile_errors_total{reason="ClusterUnreachable"} 1"#,
        "hookhost_job_creation_delay_seconds_count 1",
        "hookhost_queue_depth 2",
        r#"hookhost_api_writes_total{verb="create",resource="jobs",outcome="ok"} 1"#,
        r#"hookhost_events_dropped_total{cause="full"} 1"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

/// A metric: its name, type and labels.
type Metric = (String, String, BTreeSet<String>);

/// The metrics of the operators' reference.
fn documented() -> Vec<Metric> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/reported.md");
    let reference = std::fs::read_to_string(file).unwrap();
    let rows = reference.lines().filter(|line| line.starts_with("| `hookhost_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("{row}") };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (name.trim_matches('`').to_owned(), kind.to_owned(), labels)
    })
    .collect()
}

/// The metrics of a scrape. Those with labels have to have a value each.
fn scraped(text: &str) -> Vec<Metric> {
    let metric = |line: &str| {
        let (family, kind) = line.split_once(' ').unwrap();
        let (ending, sample) = match kind {
            "counter" => ("_total", "_total"),
            "info" => ("_info", "_info"),
            "histogram" => ("", "_bucket"),
            _ => ("", ""),
        };
        let of_it = text.lines().filter_map(|line| line.strip_prefix(&format!("{family}{sample}{{")));
        let labels = of_it.flat_map(|line| line.split_once('}').unwrap().0.split(','));
        let labels = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
        (format!("{family}{ending}"), kind.to_owned(), labels.filter(|label| label != "le").collect())
    };
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(metric).collect()
}

#[test]
fn operators_can_read_of_every_metric_its_type_labels_and_meaning_and_of_no_other() {
    let (mut documented, mut scraped) = (documented(), scraped(&busy().encode()));
    documented.sort();
    scraped.sort();
    assert_eq!(documented, scraped);
}

#[test]
fn names_of_policies_do_not_fill_the_memory_of_prometheus() {
    let metrics = Metrics::new();
    for n in 0..=MAX_POLICIES {
        metrics.decision(&format!("policy-{n}"), DecisionOutcome::Allow);
    }
    let series =
        |text: &str| text.lines().filter(|line| line.starts_with("hookhost_policy_decisions_total{")).count();
    assert_eq!(series(&metrics.encode()), MAX_POLICIES + 1);
    assert!(metrics.encode().contains(r#"{policy="other",outcome="allow"} 1"#));

    metrics.forget_policy("policy-0");
    metrics.forget_policy("unheard-of");
    metrics.decision("new", DecisionOutcome::Hold);
    let text = metrics.encode();
    assert_eq!(series(&text), MAX_POLICIES + 1);
    assert!(!text.contains(r#"policy="policy-0""#) && text.contains(r#"policy="new",outcome="hold""#));
}

#[test]
fn a_hostile_name_stays_inside_its_quotes() {
    let metrics = Metrics::new();
    metrics.decision("a\"} 1\nforged 7", DecisionOutcome::Allow);
    assert!(!metrics.encode().lines().any(|line| line.starts_with("forged")));
}
