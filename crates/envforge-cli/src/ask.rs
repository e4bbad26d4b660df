//! Questions to a person. Each has a flag that answers it, and none is asked when nobody can answer.

use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use inquire::{Confirm, InquireError, Password, PasswordDisplayMode, Select};
use std::fmt::Display;

fn not_answered(error: &InquireError) -> Refusal {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            Refusal::conflict("asked.cancelled", "cancelled")
        }
        other => Refusal::conflict("asked.no_answer", format!("could not ask: {other}")),
    }
}

/// One out of several.
pub(crate) fn choose<T: Display>(question: &str, options: Vec<T>) -> Result<T, Refusal> {
    Select::new(question, options).prompt().map_err(|error| not_answered(&error))
}

/// Yes or no; Enter is no.
pub(crate) fn confirm(question: &str) -> Result<bool, Refusal> {
    Confirm::new(question).with_default(false).prompt().map_err(|error| not_answered(&error))
}

/// A secret; nothing of it is shown.
pub(crate) fn secret(question: &str) -> Result<Secret, Refusal> {
    Password::new(question)
        .with_display_mode(PasswordDisplayMode::Hidden)
        .without_confirmation()
        .prompt()
        .map(Secret::new)
        .map_err(|error| not_answered(&error))
}
