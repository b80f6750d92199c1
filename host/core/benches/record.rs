//! How long it takes to list the hooks of a release record, from the Secret's value to the hooks with their manifests.
//!
//! `cargo bench -p hookhost-core --bench record -- FILE N` reads the release Secret (or the record's base64 text) in FILE,
//! lists its hooks N times and prints `{"n", "min_ns", "median_ns"}`, as `helmread bench FILE N` (tests/controlplane)
//! does for Helm's own package; and beside it how long it takes to find the closures of its hooks: `closure_median_ns` for
//! one, on the average of all. Without arguments it makes a record near the limit of a Secret and reads that, with
//! `many` one of 200 hooks; with `make FILE` it writes the first one's Secret to FILE, for both.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hookhost_core::closure::closure;
use hookhost_helm::workload::Workload;
use hookhost_helm::{Record, yaml};
use serde_json::{Value, json};

/// Rounds when no number is given: enough for a steady median in a second.
const ROUNDS: usize = 100;

fn main() {
    // Cargo adds --bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let value = match arguments.next().as_deref() {
        None => near_the_limit(),
        Some("make") => return fs::write(arguments.next().unwrap(), secret(&near_the_limit())).unwrap(),
        Some("many") => many_hooks(),
        Some(file) => secret_value(file),
    };
    let rounds = arguments.next().map_or(ROUNDS, |n| n.parse().unwrap());
    let mut times: Vec<u128> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let hooks = Record::read_secret_value(black_box(&value)).unwrap().hooks();
            let time = start.elapsed().as_nanos();
            black_box(hooks);
            time
        })
        .collect();
    times.sort_unstable();
    let (min, median, closure) = (times[0] as u64, times[rounds / 2] as u64, closure_ns(&value, rounds));
    println!("{}", json!({"n": rounds, "min_ns": min, "median_ns": median, "closure_median_ns": closure}));
}

/// How long it takes to find what one hook needs of the others.
fn closure_ns(value: &[u8], rounds: usize) -> u64 {
    let record = Record::read_secret_value(value).unwrap();
    let hooks = record.hooks();
    let runnable: Vec<_> = hooks.iter().filter(|hook| hook.runnable.is_ok()).collect();
    let mut times: Vec<u128> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            for hook in &runnable {
                black_box(closure(Workload::of(&hook.manifest), &record.namespace, &hooks).unwrap());
            }
            start.elapsed().as_nanos() / runnable.len().max(1) as u128
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2] as u64
}

/// A record with 200 hooks: 40 Jobs, each with a service account, Role, RoleBinding and ConfigMap that are hooks too.
fn many_hooks() -> Vec<u8> {
    let hook = |name: &str, kind: &str, manifest: String| {
        json!({
            "name": name, "kind": kind, "path": format!("many/templates/{name}-{kind}.yaml"), "events": ["pre-upgrade"],
            "last_run": {"phase": ""}, "manifest": manifest, "delete_policies": ["hook-succeeded"],
        })
    };
    let hooks: Vec<Value> = (0..40)
        .flat_map(|n| {
            let name = format!("migrate-{n}");
            let metadata = format!("metadata: {{name: {name}}}");
            let rbac = "apiVersion: rbac.authorization.k8s.io/v1";
            [
                ("ServiceAccount", format!("apiVersion: v1\nkind: ServiceAccount\n{metadata}\n")),
                ("ConfigMap", format!("apiVersion: v1\nkind: ConfigMap\n{metadata}\ndata: {{a: b}}\n")),
                (
                    "Role",
                    format!(
                        "{rbac}\nkind: Role\n{metadata}\nrules: [{{apiGroups: [apps], resources: [deployments], verbs: [get, patch]}}]\n"
                    ),
                ),
                (
                    "RoleBinding",
                    format!(
                        "{rbac}\nkind: RoleBinding\n{metadata}\nroleRef: {{kind: Role, name: {name}}}\nsubjects: [{{kind: ServiceAccount, \
                         name: {name}, namespace: default}}]\n"
                    ),
                ),
                (
                    "Job",
                    format!(
                        "apiVersion: batch/v1\nkind: Job\n{metadata}\nspec: {{template: {{spec: {{serviceAccountName: {name}, restartPolicy: Never, \
                         containers: [{{name: c, image: i, envFrom: [{{configMapRef: {{name: {name}}}}}]}}]}}}}}}\n"
                    ),
                ),
            ]
            .map(|(kind, manifest)| hook(&name, kind, manifest))
        })
        .collect();
    let record = json!({
        "name": "many", "namespace": "default", "version": 1, "info": {"status": "deployed"}, "hooks": hooks,
        "chart": {"metadata": {"name": "many", "version": "1.0.0"}, "templates": []},
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(record.to_string().as_bytes()).unwrap();
    STANDARD.encode(gzip.finish().unwrap()).into_bytes()
}

/// What the API client hands over: `data.release` without the API's base64.
fn secret_value(file: &str) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    match yaml::read_one(str::from_utf8(&bytes).unwrap()) {
        Ok(secret @ Value::Object(_)) => {
            STANDARD.decode(secret["data"]["release"].as_str().unwrap()).unwrap()
        }
        _ => bytes,
    }
}

/// The Secret as Helm stores it, as JSON.
fn secret(value: &[u8]) -> String {
    let metadata = json!({
        "name": "sh.helm.release.v1.big.v1", "namespace": "default",
        "labels": {"name": "big", "owner": "helm", "status": "deployed", "version": "1"},
    });
    let data = json!({"release": STANDARD.encode(value)});
    json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": metadata, "data": data}).to_string()
}

/// A record like that of a large chart (kube-prometheus-stack): 8 hooks' worth of text beside 6 MB of templates and
/// dashboards, which compress to a tenth; about 900,000 bytes of base64.
fn near_the_limit() -> Vec<u8> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let words: Vec<String> = (0..800).map(|_| format!("{:x}", below(1 << 28))).collect();
    let lines: Vec<String> = (0..2000)
        .map(|_| (0..3 + below(5)).map(|_| words[below(800)].as_str()).collect::<Vec<_>>().join(": "))
        .collect();
    let templates: Vec<Value> = (0..76)
        .map(|i| {
            // Dashboards repeat their panels with little changed.
            let panel: Vec<usize> = (0..90).map(|_| below(2000)).collect();
            let text: String = (0..1400)
                .map(|n| if below(40) == 0 { below(2000) } else { panel[n % panel.len()] })
                .map(|line| format!("  {}\n", lines[line]))
                .collect();
            json!({"name": format!("templates/part-{i}.yaml"), "data": STANDARD.encode(text)})
        })
        .collect();
    let hooks: Vec<Value> = (0..8)
        .map(|i| {
            let env: String = (0..30).map(|e| format!("        - name: E{e}\n          value: \"{}\"\n", lines[e])).collect();
            json!({
                "name": format!("big-{i}"), "kind": "Job", "path": format!("big/templates/hook-{i}.yaml"),
                "events": ["pre-upgrade"], "last_run": {"phase": ""},
                "manifest": format!(
                    "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: big-{i}\nspec:\n  template:\n    spec:\n      \
                     restartPolicy: Never\n      containers:\n      - name: main\n        image: example.org/big:1\n        \
                     env:\n{env}"
                )
            })
        })
        .collect();
    let record = json!({
        "name": "big", "namespace": "default", "version": 1, "info": {"status": "deployed"}, "hooks": hooks,
        "chart": {"metadata": {"name": "big", "version": "1.0.0"}, "templates": templates},
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(record.to_string().as_bytes()).unwrap();
    let value = STANDARD.encode(gzip.finish().unwrap()).into_bytes();
    // What the API server takes.
    assert!((900_000..1_048_576).contains(&value.len()), "{} bytes", value.len());
    value
}
