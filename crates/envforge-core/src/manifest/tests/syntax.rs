//! Files that are no YAML, and what people are told about them.

use expect_test::expect;

use super::check;

// proves REPO-3
#[test]
fn tabs() {
    check(
        "services:\n  web:\n\tcommand: npm run dev\n",
        expect![[r#"
            envforge.yml:3:1: a tab is used as indentation here
              |
            3 |  command: npm run dev
              | ^
              hint: indent with spaces: YAML does not allow tabs [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn a_colon_in_plain_text() {
    check(
        "services:\n  web:\n    command: echo a: b\n",
        expect![[r#"
            envforge.yml:3:20: a `:` stands where no key can be
              |
            3 |     command: echo a: b
              |                    ^
              hint: put quotes around text that contains `: `, or check the indentation of this line [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn an_open_quote() {
    check(
        "services:\n  web:\n    command: \"npm run dev\n    port: 3000\n",
        expect![[r#"
            envforge.yml:4:5: a quote opened above is not closed before this line
              |
            4 |     port: 3000
              |     ^^^^
              hint: close the quote at the end of its value [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn an_open_bracket() {
    check(
        "services:\n  web:\n    command: npm run dev\n    routes: [/, /docs\n",
        expect![[r#"
            envforge.yml:4:13: a `{` or `[` is opened and never closed
              |
            4 |     routes: [/, /docs
              |             ^
              hint: close it with `}` or `]`, or put quotes around text that contains it [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn indentation_that_fits_nothing() {
    check(
        "services:\n  web:\n    command: npm run dev\n   port: 3000\n",
        expect![[r#"
            envforge.yml:4:4: the indentation of this line fits no line above
              |
            4 |    port: 3000
              |    ^^^^
              hint: give keys that belong together the same number of leading spaces [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn a_line_without_a_colon() {
    check(
        "services:\n  web:\n    command: npm run dev\n    port\n",
        expect![[r#"
            envforge.yml:4:5: this line is neither `key: value` nor part of the value above
              |
            4 |     port
              |     ^^^^
              hint: add the `:`, or indent the line under the key it belongs to [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn an_at_sign() {
    check(
        "services:\n  web:\n    command: @scope/tool\n",
        expect![[r#"
            envforge.yml:3:14: `@` can't start a value
              |
            3 |     command: @scope/tool
              |              ^^^^^^^^^^^
              hint: put quotes around text that starts with `@` [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn a_star() {
    check(
        "services:\n  web:\n    command: npm run dev\n    routes: [*]\n",
        expect![[r#"
            envforge.yml:4:14: `*` or `&` starts an alias or anchor, and its name is missing
              |
            4 |     routes: [*]
              |              ^
              hint: put quotes around text that starts with `*` or `&` [manifest.syntax]
        "#]],
    );
}

// proves REPO-3
#[test]
fn aliases_and_tags() {
    check(
        "services:\n  web:\n    command: *start\n    directory: !path apps/web\n  api: &api\n    command: npm run api\n    inputs: *api\n",
        expect![[r#"
            envforge.yml:3:14: alias `*start` points to nothing
              |
            3 |     command: *start
              |              ^^^^^^
              hint: mark its target with `&start` first, or put quotes around text that starts with `*` [manifest.unknown_alias]

            envforge.yml:4:16: tag `!path` has no meaning in this file
              |
            4 |     directory: !path apps/web
              |                ^^^^^
              hint: remove it, or put quotes around text that starts with `!` [manifest.unsupported_tag]

            envforge.yml:7:13: this alias is inside what it points to
              |
            7 |     inputs: *api
              |             ^^^^
              hint: write the value out instead of the alias [manifest.unknown_alias]
        "#]],
    );
}

// proves REPO-3
#[test]
fn two_documents() {
    check(
        "services:\n  web: { command: a }\n---\nservices: {}\n",
        expect![[r#"
            envforge.yml:3:1: a second YAML document starts here
              |
            3 | ---
              | ^^^
              hint: keep everything in one document: remove the line `---` [manifest.multiple_documents]
        "#]],
    );
}

// proves REPO-3
#[test]
fn an_empty_file() {
    check(
        "",
        expect![[r#"
            envforge.yml:1:1: the file is empty
              hint: name at least one service, as in `services: { web: { command: npm run dev } }` [manifest.empty]
        "#]],
    );
}

// proves REPO-3
#[test]
fn only_comments() {
    check(
        "# later\n\n",
        expect![[r#"
            envforge.yml:1:1: the file is empty
              |
            1 | # later
              | ^
              hint: name at least one service, as in `services: { web: { command: npm run dev } }` [manifest.empty]
        "#]],
    );
}
