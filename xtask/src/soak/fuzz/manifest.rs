//! `envforge.yml`: it is read, or refused with mistakes that can be shown.

use anyhow::ensure;
use envforge_core::manifest::{FILE_NAME, Wiring, explain, parse};

pub(super) fn check(input: &[u8]) -> anyhow::Result<()> {
    match parse(input, FILE_NAME) {
        Ok(good) => drop(explain(&good, &Wiring::new(&good))),
        Err(mistakes) => {
            ensure!(!mistakes.is_empty(), "refused without a mistake");
            for mistake in mistakes {
                drop(mistake.render_snippet(input));
            }
        }
    }
    Ok(())
}
