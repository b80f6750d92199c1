//! Operations of the largest size that the API server takes.

use serde_json::{Value, json};

use super::{OPERATION_BYTES, Row, Size, Stage, operation};
use crate::{PATIENCE, World, says};

/// Those in a namespace that is served.
const SERVED: usize = 16;

pub(super) fn operations(world: &World, size: Size, gate: &str) -> Row {
    let Size { operations, of_small_values, .. } = size;
    let (evil, served) = (world.namespace("evil", &[]), world.namespace("evil", &[gate]));
    let texts = [one_long_string(), many_small_values()];
    // One at a time: it is hookhost that is to be loaded, not the API server.
    let make = |number: usize| {
        let text = &texts[usize::from(number.is_multiple_of(operations / of_small_values.max(1)))];
        world.create_operation(&evil, text.replacen("NAME", &format!("large-{number}"), 1));
    };
    // Half of it is there when hookhost starts, as after an upgrade of it, half comes afterwards.
    (0..operations / 2).for_each(make);
    let stage = Stage::new(world, gate);
    let case = format!("{operations} of 1 MB ({of_small_values} small values), {SERVED} served");
    stage.under(case, |_| {
        (operations / 2..operations).for_each(make);
        for number in 0..SERVED {
            world.create_operation(&served, texts[0].replacen("NAME", &format!("large-{number}"), 1));
        }
        are_refused(world, &served)
    })
}

/// Waits until each Operation of a namespace has failed because it is too large; false where that does not come.
fn are_refused(world: &World, namespace: &str) -> bool {
    let is_refused = |operation: &&Value| says(operation, "Failed") == "True/OperationTooLarge";
    let all = || world.list(namespace, "operations", "").iter().filter(is_refused).count() == SERVED;
    world.cluster.eventually("all are refused", PATIENCE, || all().then_some(())).is_ok()
}

/// An Operation of the largest size with one parameter, which is a string.
fn one_long_string() -> String {
    large("\"", "x", "\"")
}

/// One whose parameter is as many values as fit.
fn many_small_values() -> String {
    large("[{\"a\":1}", ",{\"a\":1}", "]")
}

/// An Operation with the name NAME and a parameter of this beginning, this repeated, and this end.
fn large(begin: &str, repeated: &str, end: &str) -> String {
    let mut operation = operation("NAME", "any");
    operation["spec"]["parameters"]["more"] = json!("MORE");
    let filled = [begin, &repeated.repeat(OPERATION_BYTES / repeated.len()), end].concat();
    operation.to_string().replacen("\"MORE\"", &filled, 1)
}
