//! Exit codes: the one enum, and the only place where the end of the program gets its number.
//!
//! They are part of the interface, as much as `--json`: a script or an agent branches on them without reading a
//! sentence. `docs/reference/exit-codes.md` is made from [`ExitCode::TABLE`]. `envforge run` and `envforge exec`
//! may answer any other number: they end with the code of the command they ran.

use envforge_core::refusal::RefusalKind;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// What was asked for is done.
    Ok,
    /// It was understood and tried, and failed: a service is blocked, a check does not pass, a chain does not verify.
    Failed,
    /// The command line, or the input, is wrong as it stands.
    Usage,
    /// Nobody is signed in, or the caller is not allowed.
    Denied,
    /// No such thing, or its existence is not for this caller.
    NotFound,
    /// The state does not allow it, or a limit, cap or budget says no.
    Conflict,
    /// No server answers, or the product can't do it now; trying again can help.
    Unavailable,
    /// A fault of the product.
    Internal,
    /// `envforge run` and `envforge exec`: the code of the command that ran.
    Command(u8),
}

/// A line of the reference: code, name, and when it is used.
pub type Row = (u8, &'static str, &'static str);

impl ExitCode {
    /// Every code with its meaning, as the reference prints it.
    pub const TABLE: [Row; 8] = [
        (0, "ok", "What was asked for is done."),
        (1, "failed", "It was tried and failed: a service is blocked, a check does not pass, a chain does not verify."),
        (2, "usage", "The command line, or the input, is wrong as it stands."),
        (3, "denied", "Nobody is signed in, or the caller is not allowed."),
        (4, "not_found", "No such thing, or its existence is not for this caller."),
        (5, "conflict", "The state does not allow it, or a limit, cap or budget says no."),
        (6, "unavailable", "No server answers, or the product can't do it now; trying again can help."),
        (70, "internal", "A fault of the product."),
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Unavailable => 6,
            Self::Internal => 70,
            Self::Command(code) => code,
        }
    }
}

impl From<RefusalKind> for ExitCode {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Invalid => Self::Usage,
            RefusalKind::Unauthenticated | RefusalKind::Forbidden => Self::Denied,
            RefusalKind::NotFound => Self::NotFound,
            RefusalKind::Conflict | RefusalKind::Limit => Self::Conflict,
            RefusalKind::Unavailable => Self::Unavailable,
            RefusalKind::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    // proves UP-4
    #[test]
    fn the_table_is_the_enum() {
        use ExitCode::{Conflict, Denied, Failed, Internal, NotFound, Ok, Unavailable, Usage};
        let codes = [Ok, Failed, Usage, Denied, NotFound, Conflict, Unavailable, Internal].map(ExitCode::code);
        assert_eq!(codes, ExitCode::TABLE.map(|(code, _, _)| code));
    }
}
