use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::any_json;

fn yaml(text: &str) -> Value {
    read_one(text).unwrap()
}

fn problem(text: &str) -> YamlProblem {
    read(text).unwrap_err().problem
}

#[test]
fn octal_modes_are_octal() {
    assert_eq!(yaml("[0644, 0o644, '0644', 08, -010, 0]"), json!([420, 420, "0644", 8, -8, 0]));
}

#[test]
fn booleans_are_those_of_yaml_1_1() {
    assert_eq!(
        yaml("[yes, No, ON, off, y, N, TRUE, tRUE]"),
        json!([true, false, true, false, true, false, true, "tRUE"])
    );
}

#[test]
fn numbers_are_those_of_go() {
    let whole = "[1_000, 0x1F, 0b11, +5, 1e3, 1.0, 18446744073709551615]";
    assert_eq!(yaml(whole), json!([1000, 31, 3, 5, 1000, 1, 18_446_744_073_709_552_000_f64]));
    assert_eq!(yaml("[.5, 1e21]"), json!([0.5, 1e21]));
    assert_eq!(yaml("[12:30, 1.2.3, 10Gi, 1e999]"), json!(["12:30", "1.2.3", "10Gi", "1e999"]));
}

#[test]
fn nulls_are_kept() {
    assert_eq!(
        yaml("{a: , b: ~, c: null, d: Null, e: ''}"),
        json!({"a": null, "b": null, "c": null, "d": null, "e": ""})
    );
}

#[test]
fn dates_are_text() {
    assert_eq!(yaml("[2001-12-14, 2001-12-14T21:59:43Z]"), json!(["2001-12-14", "2001-12-14T21:59:43Z"]));
}

#[test]
fn keys_become_text_as_in_go() {
    assert_eq!(
        yaml("{1: a, 0x10: b, true: c, 1.5: d, 1e6: e, no: f}"),
        json!({"1": "a", "16": "b", "true": "c", "1.5": "d", "1e+06": "e", "false": "f"})
    );
    assert_eq!(problem("{~: a}"), YamlProblem::Key);
    assert_eq!(problem("? [a]\n: b"), YamlProblem::Key);
}

#[test]
fn a_later_key_replaces_an_earlier_one() {
    assert_eq!(yaml("{a: 1, a: 2}"), json!({"a": 2}));
}

#[test]
fn merges_take_effect_where_they_stand() {
    let base = "base: &b {x: 1, z: 2}\n";
    assert_eq!(yaml(&format!("{base}m: {{<<: *b, x: 3}}"))["m"], json!({"x": 3, "z": 2}));
    assert_eq!(yaml(&format!("{base}m: {{x: 3, <<: *b}}"))["m"], json!({"x": 1, "z": 2}));
    assert_eq!(yaml(&format!("{base}m: {{<<: [{{x: 9}}, *b]}}"))["m"], json!({"x": 9, "z": 2}));
    assert_eq!(yaml("{'<<': {a: 1}}"), json!({"<<": {"a": 1}}));
    assert_eq!(problem("<<: text"), YamlProblem::Merge);
}

#[test]
fn tags_are_obeyed_or_refused() {
    assert_eq!(
        yaml("[!!str 5, !!int '5', !!float 5, !!bool yes, !mine 5, !!binary aGk=]"),
        json!(["5", 5, 5, true, "5", "hi"])
    );
    assert_eq!(problem("!!int x"), YamlProblem::Tag("whole number"));
    assert_eq!(problem("[.inf]"), YamlProblem::NotFinite);
}

#[test]
fn aliases_stand_for_their_anchors_in_one_document_only() {
    assert_eq!(yaml("[&a {x: 1}, *a, &a 2, *a]"), json!([{"x": 1}, {"x": 1}, 2, 2]));
    assert_eq!(problem("&a [*a]"), YamlProblem::Cycle);
    assert!(matches!(problem("&a x\n---\n*a"), YamlProblem::Syntax(_)));
}

#[test]
fn documents_are_read_in_order_and_empty_ones_are_passed_over() {
    assert_eq!(read("a: 1\n---\n# nothing\n---\n- 2\n").unwrap(), [json!({"a": 1}), json!([2])]);
    assert_eq!(read("").unwrap(), Vec::<Value>::new());
    assert_eq!(problem_one("a: 1\n---\nb: 2"), YamlProblem::NotOneDocument);
    assert_eq!(read_one("---\n# only this\n---\na: 1").unwrap(), json!({"a": 1}));
}

fn problem_one(text: &str) -> YamlProblem {
    read_one(text).unwrap_err().problem
}

#[test]
fn the_last_line_has_an_end_whether_it_is_written_or_not() {
    // Helm stores hooks without it, and the resource builder puts it back.
    for (text, value) in [
        ("a: |\n  b", "b\n"),
        ("a: |\n  b\n", "b\n"),
        ("a: |\r\n  b\r\n  c", "b\nc\n"),
        ("a: |\n  b\n ", "b\n"),
        ("a: |\n  b\n# c", "b\n"),
        ("a: |\n  b\n   # c", "b\n # c\n"),
        ("a: >\n  b\n  c", "b c\n"),
        ("a: |+\n  b", "b\n"),
        ("a: |+\n  b\n\n", "b\n\n"),
        ("a: |-\n  b\n", "b"),
        ("a: |\n   ", ""),
    ] {
        assert_eq!(yaml(text), json!({"a": value}), "{text:?}");
    }
}

/// What Go's reader makes of each, as `helmread yaml` says; none where it refuses it.
fn reads_as_go(texts: &[(&str, Option<Value>)]) {
    for (text, expected) in texts {
        let found = read(text).map(Value::Array);
        assert_eq!(found.as_ref().ok(), expected.as_ref(), "{text:?}: {found:?}");
    }
}

#[test]
fn what_is_in_brackets_is_read_by_the_rules_of_yaml_1_1() {
    reads_as_go(&[
        ("[a:, b:c, -d, -]\n", Some(json!([["a:", "b:c", "-d", "-"]]))),
        ("[a:, b:c, -d]\n", Some(json!([["a:", "b:c", "-d"]]))),
        ("{a:, b}\n", Some(json!([{"a:": null, "b": null}]))),
        ("[? a, b]\n", Some(json!([[{"a": null}, "b"]]))),
        ("[?a : b]\n", Some(json!([[{"a": "b"}]]))),
        ("{?a : b, ? c}\n", Some(json!([{"a": "b", "c": null}]))),
        ("[d?e]\n", None),
        ("[!a,b x]\n", Some(json!([["x"]]))),
        ("a: !x,y[z] b\n", Some(json!([{"a": "b"}]))),
        ("[!!str,a]\n", None),
    ]);
}

#[test]
fn quoted_text_goes_on_wherever_its_next_line_begins() {
    reads_as_go(&[
        ("a:\n    b: \"c\n  d\"\n", Some(json!([{"a": {"b": "c d"}}]))),
        ("a:\n  b: \"c\nd\n  e\"\nf: g\n", Some(json!([{"a": {"b": "c d e"}, "f": "g"}]))),
        ("a:\n- 'b\nc'\n- d\n", Some(json!([{"a": ["b c", "d"]}]))),
        ("a: 'b\nc: d'\n", Some(json!([{"a": "b c: d"}]))),
        ("a:\n  b: \"c\\\n\n\td\"\n", Some(json!([{"a": {"b": "c\nd"}}]))),
        ("a: \"b\n--- c\"\n", None),
        ("a: 'b\n... \nc'\n", None),
    ]);
}

#[test]
fn a_document_ends_where_go_ends_it() {
    let far = "x".repeat(600);
    reads_as_go(&[
        ("a: b\n...\nc: [\n", Some(json!([{"a": "b"}]))),
        ("[a] b: c\n", None),
        ("[]: b\n", Some(json!([[]]))),
        ("[]\n[: ]@\n", Some(json!([[]]))),
        ("a: [] b\n", None),
        ("a: b\n...\n\u{7}\n", None),
        (&format!("a: b\n...\nc\n# {far}\u{7}\n"), Some(json!([{"a": "b"}]))),
        ("a: b\n...\n%YAML 1.2\n", Some(json!([{"a": "b"}]))),
        ("%YAML 1.1\r---\ra: b\r", Some(json!([{"a": "b"}]))),
        ("%YAML 1.123\r---\ra: b\r", None),
        ("%YAML 1.2\r---\ra: b\r", None),
    ]);
}

#[test]
fn what_json_cannot_have_may_be_replaced() {
    reads_as_go(&[
        ("a: .inf\na: 1\n", Some(json!([{"a": 1}]))),
        ("a: 1\na: .inf\n", None),
        ("a: {~: 1}\na: 2\n", Some(json!([{"a": 2}]))),
        ("a: {~: 1}\nb: 2\n", None),
        ("a: &a {~: 1}\na: {<<: *a, ~: 2, '': 3}\n", None),
        ("a: &a {~: 1}\na: {<<: *a}\na: [.nan]\na: 1", Some(json!([{"a": 1}]))),
        ("a: &a -.inf\n*a : *a\na: 1\n", None),
        ("a: &a -.inf\n*a : b\na: 1\n", Some(json!([{"a": 1, "-.inf": "b"}]))),
        ("[0.0, -0.0, -0]\n", Some(json!([[0, 0, 0]]))),
    ]);
}

#[test]
fn an_alias_is_the_key_that_its_node_would_be() {
    reads_as_go(&[
        ("a: &a 1000000.0\n*a : 2\n", Some(json!([{"a": 1_000_000, "1e+06": 2}]))),
        ("a: &a 0x10\n*a : 2\n", Some(json!([{"a": 16, "16": 2}]))),
        ("a: &a 18446744073709551615\n*a : 2\n", None),
        ("a: &a ~\n*a : 2\n", None),
        ("a: &a []\n*a : 2\n", None),
    ]);
}

#[test]
fn a_timestamp_is_a_time() {
    reads_as_go(&[
        ("!!timestamp 2001-12-14\n", Some(json!(["2001-12-14"]))),
        ("!!timestamp 2001-2-29\n", None),
        ("!!timestamp 2000-2-29\n", Some(json!(["2000-2-29"]))),
        ("!!timestamp 2001-13-01\n", None),
        ("!!timestamp 2001-12-14T1:2:3,5Z\n", Some(json!(["2001-12-14T1:2:3,5Z"]))),
        ("!!timestamp 2001-12-14t21:59:43.10-24:60\n", Some(json!(["2001-12-14t21:59:43.10-24:60"]))),
        ("!!timestamp 2001-12-14T21:59:43\n", None),
        ("!!timestamp 2001-12-14  21:59:43.\n", None),
        ("!!timestamp 2001-12-14  21:59:43.1\n", Some(json!(["2001-12-14  21:59:43.1"]))),
        ("!!timestamp 5\n", None),
    ]);
}

#[test]
fn an_escaped_single_quote_is_one() {
    let text = "a: \"it\\'s \\\\'so\\'\"\r\nb: 'x\\'\nc: [\"\\'\"]\n";
    assert_eq!(yaml(text), json!({"a": "it's \\'so'", "b": "x\\", "c": ["'"]}));
    assert!(matches!(problem("a: \"\\'\\q\""), YamlProblem::Syntax(_)));
    assert_eq!(yaml("\u{feff}\"\\'\": a"), json!({"'": "a"}));
    let many = "- \"\\'\"\n".repeat(500);
    assert_eq!(yaml(&many), json!(vec!["'"; 500]));
}

#[test]
fn what_begins_with_many_escaped_single_quotes_is_read_once() {
    let texts = vec!["- \"\\'\"\n".repeat(1100); 100].join("---\n");
    assert_eq!(read(&texts).unwrap().len(), 100);
}

#[test]
fn a_byte_order_mark_is_text_where_it_begins_no_text() {
    assert_eq!(yaml("\u{feff}a: b\n\u{feff}c: d"), json!({"a": "b", "\u{feff}c": "d"}));
    assert_eq!(yaml("[\u{feff}, \u{fdd0}]"), json!(["\u{feff}", "\u{fdd0}"]));
    // Behind a second one, Go leaves out the first character of each line.
    assert_eq!(yaml("\u{feff}\u{feff}a: b\nxc: d\n"), json!({"a": "b", "c": "d"}));
}

#[test]
fn json_values_may_follow_each_other() {
    assert_eq!(read("{\"a\":1e3}{\"b\":\"\\/\"}\n").unwrap(), [json!({"a": 1000}), json!({"b": "/"})]);
    assert_eq!(read("{\"a\":1}\n---\nb: 2").unwrap(), [json!({"a": 1}), json!({"b": 2})]);
    assert_eq!(read("{a: 1}\n---\n{b: 2}").unwrap(), [json!({"a": 1}), json!({"b": 2})]);
    assert!(read("{\"a\":1} {\"b\":2} c: 3").is_err(), "it cannot be YAML any more");
    reads_as_go(&[
        ("{\"a\":1}-5truefalse\"b\"", Some(json!([{"a": 1}, -5, true, false, "b"]))),
        ("{\"a\":1}012", Some(json!([{"a": 1}, 0, 12]))),
        ("{\"a\":\"\\ud83d\\ude80 \\ud83d \\\\ud83d\"}", Some(json!([{"a": "🚀 \u{fffd} \\ud83d"}]))),
        ("{\"a\":1} -", None),
        ("{a}", None),
        ("{a}\n", Some(json!([{"a": null}]))),
    ]);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(problem(&deep), YamlProblem::TooDeep);
    assert!(matches!(problem(&format!("[{}]", "{},".repeat(1 << 18))), YamlProblem::TooLarge { .. }));
    assert!(matches!(
        problem(&format!("{{\"a\":[{}{{}}]}}", "{},".repeat(1 << 18))),
        YamlProblem::TooLarge { .. }
    ));
}

#[test]
fn a_separator_has_nothing_but_a_comment_behind_it() {
    assert_eq!(read("a: 1\n--- # b\nc: 2").unwrap(), [json!({"a": 1}), json!({"c": 2})]);
    assert_eq!(problem("a: 1\n--- b: 2"), YamlProblem::Separator);
    assert_eq!(read("a: 1\n\n--- b\n").unwrap_err().line, 3);
}

#[test]
fn control_characters_are_refused_and_old_line_ends_are_line_ends() {
    assert_eq!(problem("a: \"\u{7}\""), YamlProblem::Control('\u{7}'));
    assert_eq!(yaml("a: |\u{2028}  b\u{85}c: d\u{2029}"), json!({"a": "b\n", "c": "d"}));
    assert_eq!(yaml("\"\\a\\u2028\""), json!("\u{7}\u{2028}"));
}

#[test]
fn an_error_says_where() {
    let error = read("a: 1\nb: [1, !!int x]\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 8: the value is not a whole number, as its tag says");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..40 {
        let list = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb += &format!("a{i}: &a{i} [{list}]\n");
    }
    assert_eq!(problem(&bomb), YamlProblem::Aliases);
}

#[test]
fn what_is_nearly_all_aliases_is_refused_as_by_go() {
    let text =
        |items: usize, aliases: usize| format!("- &a [{}]\n{}", "x,".repeat(items), "- *a\n".repeat(aliases));
    assert!(read(&text(1000, 99)).is_ok());
    assert_eq!(problem(&text(1000, 120)), YamlProblem::Aliases);
    assert!(read(&text(1, 50_000)).is_ok());
}

#[test]
fn a_long_text_cannot_be_multiplied() {
    let bomb = format!("- &a {}\n{}", "x".repeat(1 << 20), "- *a\n".repeat(100));
    assert_eq!(problem(&bomb), YamlProblem::TooLarge { allowed: MAX_EXPANDED_BYTES });
}

#[test]
fn a_text_of_many_directives_is_refused_before_it_is_parsed() {
    // Each is compared with all others: of so many it takes minutes.
    for line_end in ["\n", "\r", "\u{85}", "\u{2028}"] {
        let directives: String = (0..300_000).map(|n| format!("%TAG !a{n:x}! b{line_end}")).collect();
        let found = problem(&format!("{directives}---{line_end}c: d\n"));
        assert_eq!(found, YamlProblem::TooManyDirectives);
        // Behind the document nothing reads them.
        assert_eq!(yaml(&format!("a: b\n{directives}")), json!({"a": "b"}));
    }
    // One is enough, if it is long: what it declares is copied for each tag.
    let long = "b".repeat(4 << 20);
    let tags = "!a!x, ".repeat(500_000);
    assert_eq!(problem(&format!("%TAG !a! {long}\r---\r[{tags}]\n")), YamlProblem::DirectivesTooLong);
    assert_eq!(yaml("%TAG !a! tag:yaml.org,2002:\r---\r[!a!str 5, !a!int '5']\n"), json!(["5", 5]));
    let percents: String = (0..1000).map(|n| format!("  %TAG {n} 100%\n")).collect();
    assert!(yaml(&format!("a: |\n{percents}"))["a"].is_string());
}

#[test]
fn depth_is_bounded_with_and_without_aliases() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(read(&deep(MAX_DEPTH)).is_ok());
    assert_eq!(problem(&deep(MAX_DEPTH + 1)), YamlProblem::TooDeep);
    let half = deep(MAX_DEPTH / 2);
    assert_eq!(
        problem(&format!("- &a {half}\n- {}*a{}", "[".repeat(60), "]".repeat(60))),
        YamlProblem::TooDeep
    );
}

#[test]
fn hostile_texts_are_refused_in_time() {
    let started = std::time::Instant::now();
    for unit in [
        "[",
        "{a: ",
        "- ",
        "? ",
        "&a ",
        "!a ",
        "--- ",
        "---\n",
        "\"",
        "- - ",
        "a: ",
        "*a ",
        "|",
        "%TAG ! a:\n",
        "\t",
        "[a,",
        "'",
        "# ",
    ] {
        let text = unit.repeat(1 << 20);
        let _ = read(&text);
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn a_text_beyond_the_limit_is_refused() {
    let too_long = YamlProblem::TooLong { found: MAX_TEXT_BYTES + 1, allowed: MAX_TEXT_BYTES };
    assert_eq!(problem(&" ".repeat(MAX_TEXT_BYTES + 1)), too_long);
}

#[test]
fn an_object_is_written_as_people_expect_it() {
    let job = json!({
        "status": {}, "spec": {"z": ["a", {"b": [1, []]}], "a": "0644", "mode": 420}, "kind": "Job", "apiVersion": "batch/v1",
        "metadata": {"name": "yes", "annotations": {"a/b": "x: y"}}, "data": {"run.sh": "#!/bin/sh\necho hi\n", "none": null},
    });
    assert_eq!(
        write(&job),
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  annotations:\n    a/b: \"x: y\"\n  name: \"yes\"\nspec:\n  \
         a: \"0644\"\n  mode: 420\n  z:\n  - a\n  - b:\n    - 1\n    - []\nstatus: {}\ndata:\n  none: null\n  \
         run.sh: |\n    #!/bin/sh\n    echo hi\n"
    );
}

#[test]
fn text_that_a_reader_could_mistake_is_quoted() {
    for doubtful in [
        "yes",
        "No",
        "y",
        "on",
        "null",
        "~",
        "",
        "0644",
        "0o17",
        "1e3",
        "1.5",
        ".5",
        "12:30:45",
        "2001-12-14",
        "1_000",
        "0x1F",
        "<<",
        "=",
        "-",
        "- a",
        "a: b",
        "a #b",
        "# a",
        "a:",
        " a",
        "a ",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "{a",
        "[a",
        "|",
        ">",
        "'a",
        "?",
        "1.2.3",
        "NaN",
        ".nan",
        "+1",
        "\t",
        "a\u{85}b",
        "\u{feff}a",
        "---",
        "...",
    ] {
        let written = write(&json!(doubtful));
        let quoted = written.starts_with(['"', '\'']) || doubtful == "NaN";
        assert!(quoted, "{written}");
        assert_eq!(yaml(&written), json!(doubtful));
    }
}

/// Text of the kinds that break writers, and text at random.
fn texts() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        3 => "[a-zA-Z0-9_./-]{0,12}",
        2 => "[ -~\n]{0,24}",
        2 => "[-+]?[0-9][0-9_.:eExob]{0,8}",
        1 => "(  |\t|#|a|:|-|\n|'|\"|\\\\|%|&|\\*|!|\\||>){0,8}",
        1 => any::<String>(),
        1 => "[yYnN]|yes|no|On|OFF|null|~|<<|=|true|\\.inf|\\.NaN",
        1 => Just("k".repeat(1500)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_written_reads_back_the_same(value in any_json(texts(), texts())) {
        let written = write(&value);
        let documents = read(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
        let values: Vec<Value> = Some(value).filter(|value| !value.is_null()).into_iter().collect();
        prop_assert_eq!(&documents, &values, "{}", written);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "([a-z]|: |- |\n|  |\\[|\\]|\\{|\\}|,|&a|\\*a|!|!!int |<<: |\\||>|'|\"|#|---|\t|%|\\?|0){0,40}") {
        let _ = read(&text);
    }
}
