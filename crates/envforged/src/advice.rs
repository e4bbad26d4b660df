//! Errors that say what helps.
//!
//! An operator who reads an error wants the next step. [`advised`] makes one that carries it; whatever is wrapped
//! around it on the way out, [`render`] finds the advice and prints it as a line of its own.

/// What is wrong, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Advised {
    /// What is wrong.
    pub(crate) cause: String,
    /// What helps.
    pub(crate) fix: String,
}

/// An error with advice.
pub(crate) fn advised(cause: impl Into<String>, fix: impl Into<String>) -> anyhow::Error {
    Advised { cause: cause.into(), fix: fix.into() }.into()
}

/// The error as `envforged` prints it.
pub(crate) fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error:#}");
    if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        text.push_str("\n  fix: ");
        text.push_str(&advised.fix);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{advised, render};
    use anyhow::Context as _;

    #[test]
    fn advice_survives_what_is_wrapped_around_it() {
        let error =
            Err::<(), _>(advised("port 7080 is in use", "give another with --listen")).context("starting").unwrap_err();
        assert_eq!(render(&error), "error: starting: port 7080 is in use\n  fix: give another with --listen");
    }
}
