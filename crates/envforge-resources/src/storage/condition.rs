//! Conditional requests (RFC 9110, section 13), as S3 has them.

use super::file::Object;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};
use std::time::SystemTime;

/// What a reader demands.
#[expect(clippy::struct_field_names, reason = "the names of the headers")]
pub(super) struct Reading<'a> {
    pub(super) if_match: Option<&'a ETagCondition>,
    pub(super) if_none_match: Option<&'a ETagCondition>,
    pub(super) if_modified_since: Option<&'a Timestamp>,
    pub(super) if_unmodified_since: Option<&'a Timestamp>,
}

impl Reading<'_> {
    /// Refuses what does not fit, in the order of section 13.2.2: a tag is asked before a date, and instead of it.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        // Dates in headers are whole seconds.
        let modified = Timestamp::from(SystemTime::from(
            jiff::Timestamp::from_second(object.modified.as_second()).unwrap_or(object.modified),
        ));
        match (self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) if !fits(wanted, object) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(date)) if modified > *date => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(known), _) if fits(known, object) => Err(s3_error!(NotModified)),
            (None, Some(date)) if modified <= *date => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }

    /// The same for the source of a copy, where what is not modified is a failure too.
    pub(super) fn check_source(&self, object: &Object) -> S3Result<()> {
        self.check(object).map_err(|_| s3_error!(PreconditionFailed))
    }
}

/// What a writer demands of the object that is there.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl Writing {
    /// Whether it may be written over what is there.
    pub(super) fn holds(&self, there: Option<&Object>) -> bool {
        let matches = |condition: &ETagCondition| there.is_some_and(|object| fits(condition, object));
        self.if_match.as_ref().is_none_or(matches) && !self.if_none_match.as_ref().is_some_and(matches)
    }
}

fn fits(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => ETag::Strong(object.e_tag.clone()).weak_cmp(tag),
    }
}
