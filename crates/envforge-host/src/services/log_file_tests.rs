//! Logs read backwards and forwards, searched, rotated beneath the reader, and prepared by somebody hostile.

use super::*;
use envforge_api::uplink::LogFilter;
use proptest::prelude::*;

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|n| format!("2026-01-01T00:00:00.000Z stdout line {n}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn what_a_service_writes_is_quoted_plainly() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = |text: &str| format!("2026-01-01T00:00:00.000Z stderr {text}\n");
    let odd = line("\u{1b}[31;1mred\u{1b}[0m a\0b\u{7}\tc\u{9b}");
    fs_err::write(dir.path().join("web.log"), odd).expect("written");
    assert_eq!(last_words(dir.path(), "web", 5, None), "red ab\tc");
    fs_err::write(dir.path().join("api.log"), line(&"ä".repeat(9_000))).expect("written");
    let words = last_words(dir.path(), "api", 5, None);
    assert!(words.starts_with('…') && words.ends_with('ä') && words.len() <= WORDS_MAX + '…'.len_utf8());
}

#[test]
fn the_tail_reaches_into_rotated_pieces() {
    let dir = tempfile::tempdir().expect("a directory");
    fs_err::write(dir.path().join("web.log.1"), lines(0, 5)).expect("written");
    fs_err::write(dir.path().join("web.log"), lines(5, 8)).expect("written");
    let text = tail(dir.path(), "web", 4, None).expect("reads");
    assert_eq!(String::from_utf8_lossy(&text), lines(4, 8));
    assert_eq!(last_words(dir.path(), "web", 2, None), "line 6\nline 7");
    assert_eq!(tail(dir.path(), "web", 100, None).expect("reads"), lines(0, 8).into_bytes());
    assert!(tail(dir.path(), "web", 0, None).expect("reads").is_empty());
    assert!(tail(dir.path(), "other", 3, None).expect("reads").is_empty());
}

// proves RUN-8
#[test]
fn the_last_words_of_a_process_are_none_of_the_one_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.log");
    fs_err::write(&path, lines(0, 5)).expect("written");
    let since = Cursor::end(dir.path(), "web");
    let position = since.position().expect("there is a file");
    let words = || last_words(dir.path(), "web", 3, Some(&Cursor::at(dir.path(), "web", position)));
    assert_eq!(words(), "", "it said nothing");
    fs_err::write(&path, lines(0, 7)).expect("written");
    assert_eq!(words(), "line 5\nline 6");
    // Its output goes on in the next piece, and then its beginning is gone.
    fs_err::rename(&path, dir.path().join("web.log.1")).expect("rotated");
    fs_err::write(&path, lines(7, 8)).expect("written");
    assert_eq!(words(), "line 5\nline 6\nline 7");
    fs_err::remove_file(dir.path().join("web.log.1")).expect("removed");
    assert_eq!(words(), "line 7");
    // More than is read at once.
    fs_err::write(&path, lines(0, 4_000)).expect("written");
    let since = Cursor::end(dir.path(), "web");
    let mut file = fs_err::OpenOptions::new().append(true).open(&path).expect("opened");
    std::io::Write::write_all(&mut file, lines(4_000, 8_000).as_bytes()).expect("written");
    let text = tail(dir.path(), "web", 10_000, Some(&since)).expect("reads");
    assert_eq!(String::from_utf8_lossy(&text), lines(4_000, 8_000));
}

#[test]
fn following_loses_nothing_across_a_rotation() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.log");
    let mut cursor = Cursor::end(dir.path(), "web");
    assert!(cursor.read().expect("reads").is_empty());
    fs_err::write(&path, lines(0, 2)).expect("written");
    assert_eq!(cursor.read().expect("reads"), lines(0, 2).into_bytes());
    fs_err::write(&path, lines(0, 4)).expect("written");
    fs_err::rename(&path, dir.path().join("web.log.1")).expect("rotated");
    fs_err::write(&path, lines(4, 6)).expect("written");
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(cursor.read().expect("reads"));
    }
    assert_eq!(String::from_utf8_lossy(&all), lines(2, 6));
}

#[test]
fn a_link_is_no_log() {
    let dir = tempfile::tempdir().expect("a directory");
    fs_err::os::unix::fs::symlink("/etc/passwd", dir.path().join("web.log")).expect("linked");
    assert!(!exists(dir.path(), "web"));
}

/// The last `count` lines in which the pattern is found.
fn search(dir: &Path, pattern: &str, count: usize) -> String {
    let wanted = LogFilter { grep: Some(pattern.to_owned()), since: None };
    let mut sieve = Sieve::new(Filter::new(&wanted).expect("compiles").expect("a filter"));
    let (mut past, _) = Past::open(dir, "web", count).expect("opens");
    while !past.look_back(|line| sieve.judge(line)).expect("reads") {}
    let mut text = Vec::new();
    loop {
        let chunk = past.read().expect("reads");
        if chunk.is_empty() {
            text.extend(sieve.finish());
            return String::from_utf8(text).expect("text");
        }
        text.extend(sieve.push(&chunk));
    }
}

#[test]
fn a_search_reaches_into_rotated_pieces() {
    let dir = tempfile::tempdir().expect("a directory");
    // Several chunks each, with lines across their ends.
    fs_err::write(dir.path().join("web.log.2"), lines(0, 5_000)).expect("written");
    fs_err::write(dir.path().join("web.log.1"), lines(5_000, 9_000)).expect("written");
    fs_err::write(dir.path().join("web.log"), lines(9_000, 9_500)).expect("written");
    let every = |wanted: &[usize]| wanted.iter().map(|n| lines(*n, n + 1)).collect::<String>();
    assert_eq!(search(dir.path(), "line [159]000$", 9), every(&[1_000, 5_000, 9_000]));
    assert_eq!(search(dir.path(), "line [159]000$", 2), every(&[5_000, 9_000]));
    assert_eq!(search(dir.path(), "nowhere", 9), "");
    assert_eq!(search(dir.path(), "line", 9_500), lines(0, 9_500));
}

#[test]
fn what_is_rotated_while_it_is_read_is_read_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.log");
    fs_err::write(dir.path().join("web.log.1"), lines(0, 3_000)).expect("written");
    fs_err::write(&path, lines(3_000, 6_000)).expect("written");
    let (mut past, mut cursor) = Past::open(dir.path(), "web", 6_000).expect("opens");
    assert!(!past.look_back(|_| Verdict::Wanted).expect("reads"), "there are more chunks than one");
    fs_err::rename(dir.path().join("web.log.1"), dir.path().join("web.log.2")).expect("rotated");
    fs_err::rename(&path, dir.path().join("web.log.1")).expect("rotated");
    fs_err::write(&path, lines(6_000, 6_001)).expect("written");
    while !past.look_back(|_| Verdict::Wanted).expect("reads") {}
    let mut all = Vec::new();
    while let chunk @ [_, ..] = &*past.read().expect("reads") {
        all.extend_from_slice(chunk);
    }
    all.extend(cursor.read().expect("reads"));
    assert!(all == lines(0, 6_001).into_bytes());
}

#[test]
fn a_line_without_end_does_not_fill_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = fs_err::File::create(dir.path().join("web.log")).expect("created");
    file.set_len(64 * 1024 * 1024).expect("a hole");
    let (mut past, _) = Past::open(dir.path(), "web", usize::MAX).expect("opens");
    let filter = Filter::new(&LogFilter { grep: Some("x".to_owned()), since: None }).expect("compiles");
    let mut sieve = Sieve::new(filter.expect("a filter"));
    while !past
        .look_back(|line| {
            assert!(line.len() <= LINE_MAX + CHUNK as usize, "{}", line.len());
            Verdict::Wanted
        })
        .expect("reads")
    {}
    while let chunk @ [_, ..] = &*past.read().expect("reads") {
        assert!(sieve.push(chunk).is_empty() && sieve.rest.len() <= LINE_MAX);
    }
}

proptest! {
    #[test]
    fn a_tail_is_the_last_lines(texts in prop::collection::vec("[a-z ]{0,30}", 0..60), wanted in 0_usize..70) {
        let dir = tempfile::tempdir().expect("a directory");
        let all: Vec<String> = texts.iter().map(|text| format!("{text}\n")).collect();
        fs_err::write(dir.path().join("a.log"), all.concat()).expect("written");
        let text = tail(dir.path(), "a", wanted, None).expect("reads");
        let expected = all[all.len().saturating_sub(wanted)..].concat();
        prop_assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    #[test]
    fn a_search_is_the_last_lines_that_match(texts in prop::collection::vec("[ab]{0,3}", 0..60), wanted in 0_usize..70, cut in 0_usize..60) {
        let dir = tempfile::tempdir().expect("a directory");
        let all: Vec<String> = texts.iter().map(|text| format!("2026-01-01T00:00:00.000Z stdout {text}\n")).collect();
        let cut = cut.min(all.len());
        fs_err::write(dir.path().join("web.log.1"), all[..cut].concat()).expect("written");
        fs_err::write(dir.path().join("web.log"), all[cut..].concat()).expect("written");
        let matching: Vec<&str> = all.iter().map(String::as_str).filter(|line| line.trim_end().ends_with("ab")).collect();
        let expected = matching[matching.len().saturating_sub(wanted)..].concat();
        prop_assert_eq!(search(dir.path(), "ab$", wanted), expected);
    }
}
