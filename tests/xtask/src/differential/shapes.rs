//! The *shapes* of public charts: hooks with everything in them that charts write, put together by chance.
//!
//! Each hook is a skeleton as charts have it (migrations, wait loops, certificates, tests) with a value here and there in
//! one of the ways in which YAML can say it. They take the indentation of the place where they stand, or, as people and
//! templates do, not quite.

use super::texts::Random;

/// Hooks with places for a value: `@` behind a key or dash.
const SKELETONS: [&str; 9] = [
    // A migration, with labels of a helper and a list in the column of its key.
    "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: release-migrate\n  labels:\n    helm.sh/chart: @\n    app.kubernetes.io/version: @\n  \
     annotations:\n    # Runs before the release.\n    \"helm.sh/hook\": pre-install,pre-upgrade\n    \"helm.sh/hook-weight\": \"-5\"\n    \
     \"helm.sh/hook-delete-policy\": @\nspec:\n  backoffLimit: @\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      \
     - name: migrate\n        image: @\n        command: @\n        args: @\n        env:\n        - name: DATABASE_URL\n          value: @\n",
    // A wait loop and its environment, indented lists, blanks behind keys.
    "---\n# Source: chart/templates/wait.yaml\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: \"release-wait\"\n  annotations: \n    helm.sh/hook: \
     'post-install, post-upgrade'\nspec:\n  template:\n    spec:\n      initContainers:\n        - name: check\n          command:\n            - sh\n            \
     - -c\n            - @\n          securityContext: @\n      nodeSelector: \n        kubernetes.io/os: linux\n      tolerations: @\n      affinity: @\n",
    // A test pod, with empty values.
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: \"release-test\"\n  annotations:\n    \"helm.sh/hook\": test\n  creationTimestamp: @\nspec:\n  \
     containers:\n    - name: wget\n      image: busybox\n      command: ['wget']\n      args: ['release:80', @]\n      resources: {}\n  restartPolicy: Never\n",
    // Scripts and settings in one object.
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: scripts\n  annotations:\n    \"helm.sh/hook\": pre-install\ndata:\n  run.sh: @\n  config.yaml: @\n  \
     empty: @\n  key.pem: @\n",
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: credentials\n  annotations: {\"helm.sh/hook\": \"pre-install\", \"helm.sh/hook-weight\": \"-10\"}\ntype: Opaque\n\
     data:\n  password: @\nstringData:\n  url: @\n",
    // Rights, and a certificate's request.
    "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: hook\n  annotations:\n    helm.sh/hook: pre-install,pre-upgrade\nrules:\n- \
     apiGroups: @\n  resources: @\n  verbs: [\"get\", \"list\"]\n",
    "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: @\nspec:\n  dnsNames: @\n  duration: @\n",
    // Defaults that are merged.
    "defaults: &defaults\n  image: busybox\n  tag: @\nspec:\n  <<: *defaults\n  tag: @\n  extra:\n    <<: [*defaults, {a: @}]\n",
    "@\n",
];

/// What stands without quotes, and may mean something else.
const PLAIN: [&str; 104] = [
    "release-1.2.3",
    "1.10",
    "1.2.3",
    "v1",
    "0x1F",
    "0X1f",
    "0o17",
    "0O17",
    "017",
    "0755",
    "08",
    "0b101",
    "-0b11",
    "0b_1",
    "1_000",
    "_1",
    "1__0",
    "0x_1",
    "+12",
    "-0",
    "+0x10",
    "- 1",
    "12:30",
    "1:30:45",
    "190:20:30.15",
    "12e03",
    "1e3",
    "1E+3",
    "-1e-3",
    "1e400",
    ".5",
    "5.",
    "+.5",
    "-.5e3",
    "._5",
    "1.5_0",
    ".inf",
    "-.INF",
    "+.Inf",
    ".nan",
    ".NaN",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775809",
    "y",
    "Y",
    "n",
    "yes",
    "No",
    "ON",
    "off",
    "true",
    "True",
    "TRUE",
    "tRUE",
    "~",
    "null",
    "Null",
    "NULL",
    "nULL",
    "2001-12-14",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43.10 -5",
    "2001-1-1",
    "=",
    "<<",
    "<no value>",
    "%!s(<nil>)",
    "{{ .Values.image }}",
    "{{- end }}",
    "a: b",
    "a:b",
    "a :b",
    ":a",
    "::",
    "a#b",
    "a # b",
    "#",
    "-a",
    "--",
    "?a",
    "a?b",
    "@a",
    "`a`",
    "%a",
    "!a",
    "&a",
    "*a",
    "http://a:80/?b=c#d",
    "a,b",
    "[a",
    "a]",
    "{a",
    "a}",
    "|a",
    ">a",
    "\"a\" b",
    "'a' b",
    "it's",
    "C:\\a\\b",
    "\u{e9}t\u{e9}",
    "a\tb",
    "\u{1f680}",
];

/// What is within quotes or a block, line by line.
const LINES: [&str; 40] = [
    "set -e",
    "echo \"$A\" | grep -q 'x' && exit 0",
    "until nc -z db 5432; do",
    "  sleep 1",
    "    deeper",
    "\ttabbed",
    "done",
    "# a comment",
    "a: b",
    "- a",
    "? a",
    "--- a",
    "---",
    "...",
    "",
    " ",
    "   ",
    "\t",
    "it''s",
    "\\\"quoted\\\"",
    "\\n\\t\\x41\\u00e9\\U0001f680",
    "\\'",
    "\\/",
    "\\ ",
    "\\",
    "\\q",
    "a \\",
    "{{ .Values.a }}",
    "%YAML 1.1",
    "[a, {b: c}]",
    "&a *b !c",
    "trailing  ",
    "caf\u{e9}",
    "\u{2028}",
    "\u{2029}x",
    "\u{85}",
    "\u{feff}mark",
    "\u{a0}nbsp",
    "'",
    "\"",
];

/// Tags, anchors and aliases before a value.
const PROPERTIES: [&str; 24] = [
    "&a ",
    "&a-b_1 ",
    "*a",
    "*a ",
    "! ",
    "!!str ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!null ",
    "!!binary ",
    "!!timestamp ",
    "!!seq ",
    "!!map ",
    "!!set ",
    "!local ",
    "!a!b ",
    "!<tag:yaml.org,2002:str> ",
    "!!str &a ",
    "&a !!str ",
    "&a &b ",
    "!!str,",
    "!a[b] ",
    "!%41 ",
];

/// Whole values as a template's toJson and toYaml give them.
const WHOLE: [&str; 12] = [
    "{\"limits\":{\"cpu\":\"100m\",\"memory\":\"1Gi\"},\"requests\":null}",
    "[\"sh\",\"-c\",\"a \\u0026\\u0026 b\"]",
    "[]",
    "{}",
    "[ ]",
    "{ }",
    "[[],[{}]]",
    "{a: 1, \"b\":2, c : 3, d}",
    "[a: b, ? c, ? d : e, f:]",
    "{? a, ?b : c, :d}",
    "[a:, b?, c?d, -, -e]",
    "\"\"",
];

/// Values that are read wherever they stand.
const TAME: [&str; 12] = [
    "a",
    "\"1.2.3\"",
    "'it''s'",
    "[a, \"b\", {c: d}]",
    "{\"a\":[1,null,true]}",
    "0x1F",
    "yes",
    "\"a\n  b\"",
    "[\n  a,\n]",
    "|\n              a\n\n              b",
    ">-\n              a\n              b",
    "\"{{ .Values.a | quote }}\"",
];

/// One hook or several.
pub(super) fn shape(random: &mut Random) -> String {
    let mut text = match random.below(24) {
        0..20 => hook(random),
        20 => json(random),
        21 => [json(random), json(random)].join(random.one(&["", "\n", "\n---\n", " ", ",", "5", "\n# a\n"])),
        22 => format!("{}\n{}", json(random), hook(random)),
        _ => [hook(random), hook(random)].join(random.one(&[
            "---\n",
            "--- # b\n",
            "---\t\n",
            "...\n",
            "--- b\n",
            "\n---\n\n",
            "---\r\n",
        ])),
    };
    match random.below(16) {
        0 => text.insert_str(
            0,
            random.one(&[
                "%YAML 1.1\n---\n",
                "%YAML 1.2\n---\n",
                "%TAG !a! tag:a,2002:\n---\n",
                "%FOO\n---\n",
                "%YAML 1.1\n",
            ]),
        ),
        1 => text.insert_str(
            0,
            random.one(&[
                "---\n",
                "--- # a\n",
                "--- \n---\n",
                "\n\n",
                "# a\n",
                "...\n",
                "--- !!map\n",
                "--- |\n",
                "---\r\n",
                " ---\n",
            ]),
        ),
        2 => text.insert_str(
            0,
            random.one(&["\u{feff}", "\u{feff}\u{feff}", "\u{feff}---\n", "\u{feff}# a\n", " \u{feff}"]),
        ),
        3 => text.push_str(random.one(&[
            "...\n",
            "---\n",
            "---",
            "...\nb: c\n",
            "\u{1}",
            "\u{7}",
            "{{- end }}\n",
            "%YAML 1.1\n",
            "\u{feff}",
            "]",
            "}",
        ])),
        _ => {}
    }
    match random.below(16) {
        0 => text.replace('\n', "\r\n"),
        1 => text.replace('\n', "\r"),
        2 => text.replace('\n', random.one(&["\u{85}", "\u{2028}", "\r\r\n", "\n\r"])),
        3 => text.replacen('\n', "\r\n", 4),
        _ => text,
    }
}

fn hook(random: &mut Random) -> String {
    let skeleton = random.one(&SKELETONS);
    let mut text = String::new();
    // What is wrong early hides what comes later, so half of them have one value only that may be.
    let mut left = (random.below(2) == 0).then(|| random.below(skeleton.matches('@').count()));
    for line in skeleton.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '-']).len();
        match line.split_once('@') {
            Some((before, after)) => {
                let is_flow = before.contains('[') || before.contains('{');
                let is_wild = left.is_none_or(|left| left == 0);
                left = left.map(|left| left.wrapping_sub(1));
                text.push_str(before.trim_end_matches(' '));
                if is_wild {
                    text.push_str(random.one(&[" ", " ", " ", " ", " ", " ", "  ", "\t", ""]));
                    text.push_str(&value(random, indent, usize::from(is_flow)));
                } else {
                    let tame = if is_flow { &TAME[..6] } else { &TAME[..] };
                    text.push_str(&format!(" {}", random.one(tame)));
                }
                text.push_str(after);
            }
            None => text.push_str(line),
        }
        if random.below(24) == 0 {
            let blanks = " ".repeat(random.below(12));
            let comment = random.one(&["# a comment", "#", "# \u{e9}: [", "#\ta", "", "\t", "\t# a"]);
            text.push_str(&format!("{blanks}{comment}\n"));
        }
    }
    text
}

fn json(random: &mut Random) -> String {
    let value = random.one(&[
        "1",
        "-0",
        "1e3",
        "1e400",
        "0.10",
        "18446744073709551616",
        "\"\\ud83d\\ude80\"",
        "\"\\ud83d\"",
        "\"\\/\\u0041\"",
        "null",
        "[]",
        "01",
        "\"a\tb\"",
        "truefalse",
    ]);
    let space = random.one(&["", "", " ", "\n  ", "\t"]);
    format!(
        "{space}{{\"kind\":{space}\"Job\",\"spec\":{{\"a\":{value}}},{space}\"b\":[{value}]{space}}}{}",
        random.one(&["", "\n", " "])
    )
}

/// A value within a block that is indented so far; within brackets, from a depth of one.
fn value(random: &mut Random, indent: usize, depth: usize) -> String {
    match random.below(16) {
        0..3 => random.one(&PLAIN).to_owned(),
        3 => folded(random, indent, "", ""),
        4 | 5 => folded(random, indent, "'", "'"),
        6 | 7 => folded(random, indent, "\"", "\""),
        8 | 9 if depth == 0 => block(random, indent),
        10 | 11 if depth < 4 => flow(random, indent, depth),
        12 if depth == 0 => collection(random, indent),
        13 => format!("{}{}", random.one(&PROPERTIES), value(random, indent, depth.max(1))),
        14 => random.one(&WHOLE).to_owned(),
        _ => random.one(&["", "~", "\"\"", "''", "aGVsbG8=", "# none", " # none", "a # b"]).to_owned(),
    }
}

/// How far a line is indented: as it should be, mostly.
fn indentation(random: &mut Random, indent: usize) -> String {
    let indent = match random.below(8) {
        0..3 => indent + 2,
        3 => indent,
        4 => indent.saturating_sub(2),
        5 => 0,
        6 => indent + 1 + random.below(6),
        _ => return "\t".repeat(1 + random.below(2)),
    };
    " ".repeat(indent)
}

/// Text that goes on over lines.
fn folded(random: &mut Random, indent: usize, open: &str, close: &str) -> String {
    let mut text = format!("{open}{}", random.one(&LINES));
    for _ in 0..random.below(4) {
        let indentation = if random.below(4) == 0 { String::new() } else { indentation(random, indent) };
        text.push_str(&format!("\n{indentation}{}", random.one(&LINES)));
    }
    text + close
}

fn block(random: &mut Random, indent: usize) -> String {
    let digit = random.one(&["", "", "", "", "1", "2", "3", "4", "9", "0"]);
    let chomp = random.one(&["", "", "-", "+"]);
    let header = if random.below(2) == 0 { format!("{digit}{chomp}") } else { format!("{chomp}{digit}") };
    let style = random.one(&["|", ">"]);
    let comment = random.one(&["", "", "", " # bash", " #", "#no", " ", "\t", " x"]);
    let mut text = format!("{style}{header}{comment}");
    let deeper = indent + if random.below(8) == 0 { random.below(8) } else { 2 };
    for _ in 0..random.below(6) {
        let blanks = match random.below(8) {
            0 => indentation(random, indent),
            1 => String::new(),
            _ => " ".repeat(deeper),
        };
        text.push_str(&format!("\n{blanks}{}", random.one(&LINES)));
    }
    text.push_str(random.one(&["", "", "\n", "\n\n", "\n   \n", "\n\t"]));
    text
}

fn flow(random: &mut Random, indent: usize, depth: usize) -> String {
    let (open, close) = random.one(&[("[", "]"), ("{", "}"), ("[", "]"), ("{", "}"), ("[", "}")]);
    let mut text = open.to_owned();
    for _ in 0..random.below(4) {
        if random.below(3) == 0 {
            let comment = random.one(&["", "", " # a", "#a", " # ]"]);
            text.push_str(&format!("{comment}\n{}", indentation(random, indent)));
        }
        if open == "{" || random.below(6) == 0 {
            text.push_str(&key(random));
            text.push_str(random.one(&[": ", ": ", ":", " : ", "", "? "]));
        }
        text.push_str(&value(random, indent, depth + 1));
        text.push_str(random.one(&[", ", ",", ",", " ,", "\n,", ""]));
    }
    if random.below(3) == 0 {
        text.push_str(&format!("\n{}", indentation(random, indent)));
    }
    text + close
}

fn collection(random: &mut Random, indent: usize) -> String {
    let mut text = String::new();
    let column = random.one(&[2, 2, 0, 4, 1]) + indent;
    let is_list = random.below(2) == 0;
    for _ in 0..=random.below(3) {
        let blanks = if random.below(12) == 0 { indentation(random, indent) } else { " ".repeat(column) };
        let key = if is_list {
            random.one(&["- ", "- ", "-", "-   ", "- - ", "- a: "]).to_owned()
        } else {
            key(random) + random.one(&[": ", ": ", ":", " : "])
        };
        text.push_str(&format!("\n{blanks}{key}{}", value(random, column, 0)));
    }
    text
}

fn key(random: &mut Random) -> String {
    match random.below(12) {
        0 => "k".repeat(1018 + random.below(10)),
        1 => format!("\"{}\"", random.one(&LINES)),
        2 => format!("? {}\n", random.one(&PLAIN)),
        3 => random.one(&PLAIN).to_owned(),
        4 => random
            .one(&[
                "<<", "<<", "1", "\"1\"", "0x1", "yes", "~", "", "[a]", "{a: b}", "*a", "&a b", "!!str a",
                "1e6", "\u{e9}",
            ])
            .to_owned(),
        _ => random.one(&["a", "b", "name", "helm.sh/hook", "\"helm.sh/hook-weight\"", "'c'"]).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_the_shapes_are_read_and_many_are_not() {
        let mut random = Random::new(1);
        let read = (0..2000).filter(|_| hookhost_helm::yaml::read(&shape(&mut random)).is_ok()).count();
        assert!((500..1500).contains(&read), "{read} of 2000");
    }
}
