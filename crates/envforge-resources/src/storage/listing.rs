//! A page of a bucket's list: keys in the order of their UTF-8 bytes, those behind a delimiter rolled up.

use super::file::Object;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) prefix: String,
    /// Keys that hold it behind the prefix appear once, as what comes before and the delimiter.
    pub(super) delimiter: Option<String>,
    /// Only what comes after this key or rolled-up prefix.
    pub(super) after: Option<String>,
    /// Entries at most.
    pub(super) limit: usize,
}

/// What is answered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) prefixes: Vec<String>,
    /// The last entry, when there are more: where the next page begins.
    pub(super) next: Option<String>,
}

impl Listing {
    pub(super) fn page(&self, objects: &BTreeMap<String, Arc<Object>>) -> Page {
        let mut page = Page::default();
        let mut last: Option<String> = None;
        let mut from = match &self.after {
            Some(after) if *after >= self.prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(self.prefix.clone()),
        };
        if self.limit == 0 {
            return page;
        }
        while let Some((key, object)) = objects.range((from, Bound::Unbounded)).next() {
            let Some(rest) = key.strip_prefix(&self.prefix) else { break };
            let rolled = self.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty()).and_then(|delimiter| {
                let end = self.prefix.len() + rest.find(delimiter.as_str())? + delimiter.len();
                Some(&key[..end])
            });
            let is_known = rolled.is_some() && (rolled == self.after.as_deref() || rolled == last.as_deref());
            if !is_known {
                if page.objects.len() + page.prefixes.len() == self.limit {
                    page.next = last;
                    break;
                }
                match rolled {
                    Some(prefix) => page.prefixes.push(prefix.to_owned()),
                    None => page.objects.push(Arc::clone(object)),
                }
                last = Some(rolled.unwrap_or(key).to_owned());
            }
            from = match rolled {
                // Over most that is rolled up in one step; the step is never backwards.
                Some(prefix) => Bound::Excluded(format!("{prefix}{}", char::MAX).max(key.clone())),
                None => Bound::Excluded(key.clone()),
            };
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::checksum::Sums;
    use crate::storage::file::Attributes;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn index(keys: &BTreeSet<String>) -> BTreeMap<String, Arc<Object>> {
        let object = |key: &String| Object {
            key: key.clone(),
            size: 0,
            e_tag: String::new(),
            modified: Timestamp::UNIX_EPOCH,
            attributes: Attributes::default(),
            sums: Sums::default(),
        };
        keys.iter().map(|key| (key.clone(), Arc::new(object(key)))).collect()
    }

    /// The whole list as it reads in the standard: every key, rolled up, once.
    fn entries(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        for rest in keys.iter().filter_map(|key| key.strip_prefix(prefix)) {
            let cut = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()));
            let entry = format!("{prefix}{}", &rest[..cut.unwrap_or(rest.len())]);
            if found.last() != Some(&entry) {
                found.push(entry);
            }
        }
        found
    }

    proptest! {
        // proves RUN-6
        #[test]
        fn pages_put_together_are_the_whole_list(
            keys in proptest::collection::btree_set("[ab/\u{10FFFF}]{1,5}", 0..30),
            prefix in "[ab/]{0,2}",
            delimiter in proptest::option::of("(/|b/|a)"),
            limit in 1..5_usize,
        ) {
            let index = index(&keys);
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let listing = Listing { prefix: prefix.clone(), delimiter: delimiter.clone(), after, limit };
                let page = listing.page(&index);
                let mut entries: Vec<String> = page.objects.iter().map(|object| object.key.clone()).collect();
                entries.extend(page.prefixes);
                prop_assert!(entries.len() <= limit);
                entries.sort();
                seen.extend(entries);
                after = page.next;
                if after.is_none() { break }
            }
            prop_assert_eq!(seen, entries(&keys, &prefix, delimiter.as_deref()));
        }
    }
}
