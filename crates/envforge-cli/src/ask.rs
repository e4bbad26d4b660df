//! Questions to a person. Each has a flag that answers it, and none is asked when nobody can answer.

use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use inquire::{Confirm, InquireError, Password, PasswordDisplayMode, Select};
use std::fmt::Display;
use std::io::Read as _;
use std::path::Path;

/// Longest file with a secret that is read, in bytes: a token is a line, a private key a page.
const SECRET_MAX: u64 = 16 * 1024;

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

/// The secret in a file; `-` is stdin.
pub(crate) fn secret_in(path: &Path) -> Result<Secret, Refusal> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(SECRET_MAX).read_to_string(&mut text)
    } else {
        fs_err::File::open(path).and_then(|file| file.take(SECRET_MAX).read_to_string(&mut text))
    };
    let text = Secret::new(text);
    read.map(|_| text)
        .map_err(|error| Refusal::invalid("secret.unreadable", format!("the secret can't be read: {error}")))
}
