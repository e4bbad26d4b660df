//! What a sleeping workspace costs is what its driver and its queue are while they wait.

use super::*;

/// Bytes of what a function that is async answers with.
fn size_of_work<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
    size_of::<F>()
}

// proves UP-3
#[test]
fn a_driver_that_waits_is_small() {
    let driver = size_of::<Driver>() + size_of_work(Driver::run);
    assert!(driver <= 4 * 1024, "{driver} bytes");
    assert!(size_of::<Event>() <= 72, "{} bytes, and a queue has room for 32", size_of::<Event>());
}
