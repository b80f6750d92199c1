use hookhost_core::{Decision, Denial};

use super::*;

fn deny() -> Answer {
    Answer::Decision(Decision::Deny(Denial { reason: "No".into(), message: "not: this".into() }))
}

/// Updates the first case and compares.
fn becomes(old: &str, new: &str) {
    assert_eq!(update(old, &[(0, &deny())]).unwrap(), new);
}

#[test]
fn a_block_is_replaced_and_every_comment_and_blank_stays() {
    becomes(
        "# top\nsettings: {a:   1}   # odd blanks\ncases:\n  - name: ä 漢   # one\n    expect:  # why\n      allow: {}\n\n  # about the second\n  - name: two\n    expect: { allow: {} }\n",
        "# top\nsettings: {a:   1}   # odd blanks\ncases:\n  - name: ä 漢   # one\n    expect:  # why\n      deny:\n        message: \"not: this\"\n        reason: \"No\"\n\n  # about the second\n  - name: two\n    expect: { allow: {} }\n",
    );
}

#[test]
fn a_value_in_braces_stays_on_its_line() {
    becomes(
        "cases:\n- name: x\n  expect: { allow: {} } # sure\n",
        "cases:\n- name: x\n  expect: {\"deny\":{\"reason\":\"No\",\"message\":\"not: this\"}} # sure\n",
    );
    becomes(
        "cases: [{name: x, expect: {allow: {} # not }\n}}]\n",
        "cases: [{name: x, expect: {\"deny\":{\"reason\":\"No\",\"message\":\"not: this\"}}}]\n",
    );
    becomes(
        "cases: [{name: x, expect: {allow: {}}}]\n",
        "cases: [{name: x, expect: {\"deny\":{\"reason\":\"No\",\"message\":\"not: this\"}}}]\n",
    );
}

#[test]
fn a_missing_expectation_is_added_at_the_end_of_its_case() {
    let block = "\n    expect:\n      deny:\n        message: \"not: this\"\n        reason: \"No\"";
    becomes(
        "cases:\n  - name: x # first\n\n  # more\n  - name: y\n",
        &format!("cases:\n  - name: x # first{block}\n\n  # more\n  - name: y\n"),
    );
    becomes("cases:\n  - name: x", &format!("cases:\n  - name: x{block}"));
    becomes(
        "cases: [{name: x}]",
        "cases: [{name: x, expect: {\"deny\":{\"reason\":\"No\",\"message\":\"not: this\"}}}]",
    );
}

#[test]
fn an_empty_expectation_is_filled() {
    let block = "\n      deny:\n        message: \"not: this\"\n        reason: \"No\"";
    becomes(
        "cases:\n  - name: x\n    expect:\n  - name: y\n",
        &format!("cases:\n  - name: x\n    expect:{block}\n  - name: y\n"),
    );
    becomes("cases:\n  - expect: null\n    name: x\n", &format!("cases:\n  - expect:{block}\n    name: x\n"));
}

#[test]
fn several_cases_are_updated_at_once_and_line_endings_stay() {
    let old =
        "cases:\r\n  - name: a\r\n    expect: {allow: {}}\r\n  - name: b\r\n    expect: {allow: {}}\r\n";
    let new = update(old, &[(1, &deny()), (0, &deny())]).unwrap();
    assert_eq!(new, old.replace("{allow: {}}", "{\"deny\":{\"reason\":\"No\",\"message\":\"not: this\"}}"));
}

#[test]
fn a_case_that_is_an_alias_is_left_alone() {
    let old = "x: &x {name: a}\ncases: [*x]\n";
    assert!(update(old, &[(0, &deny())]).unwrap_err().to_string().contains("alias"));
}
