//! The *shared* cluster is the one that all tests of a process use: starting one takes longer than most tests.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use crate::{Cluster, Error, Options, Programs, isolation};

/// The cluster that the tests of this process share, each in a namespace of its own
/// ([`Cluster::namespace`]). Whoever asks first builds the programs, moves the process into its
/// namespaces and starts the cluster as `options` say, with its logs in `dir`; the others wait. It ends with the
/// process.
///
/// ```no_run
/// fn cluster() -> &'static testbed::Cluster {
///     testbed::shared(testbed::Options::pods(), "target/e2e".as_ref()).unwrap_or_else(|error| panic!("{error}"))
/// }
/// ```
///
/// # Errors
/// It could not be started; everyone gets the same error.
pub fn shared(options: Options, dir: &Path) -> Result<&'static Cluster, &'static Error> {
    static CLUSTER: OnceLock<Result<Cluster, Error>> = OnceLock::new();
    let start = || {
        let programs = Programs::build(say)?;
        isolation::isolate()?;
        let start = Instant::now();
        let cluster = options.start(&programs, dir)?;
        say(&format!(
            "cluster ready after {:.1} s, logs in {}",
            start.elapsed().as_secs_f32(),
            cluster.logs().display()
        ));
        Ok(cluster)
    };
    CLUSTER.get_or_init(start).as_ref()
}

#[expect(
    clippy::print_stderr,
    reason = "for the person who waits, or looks for the logs of a test that failed"
)]
fn say(line: &str) {
    eprintln!("{line}");
}
