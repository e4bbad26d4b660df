//! The contracts are checked in; these fail when code and document differ. `UPDATE_EXPECT=1` writes them anew.

use expect_test::expect_file;

fn pretty(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    text
}

#[test]
fn openapi_is_as_checked_in() {
    expect_file!["../../../../docs/reference/openapi.json"].assert_eq(&pretty(&envforge_server::openapi_document()));
}

#[test]
fn the_host_protocol_is_as_checked_in() {
    let down = schemars::schema_for!(envforge_api::host::ToHost);
    let up = schemars::schema_for!(envforge_api::host::FromHost);
    let ask = schemars::schema_for!(envforge_api::host::AskSecrets);
    let given = schemars::schema_for!(envforge_api::host::GivenSecrets);
    let ask_identity = schemars::schema_for!(envforge_api::host::AskGitIdentity);
    let identity = schemars::schema_for!(envforge_api::host::GitIdentity);
    let ask_signature = schemars::schema_for!(envforge_api::host::AskGitSignature);
    let signature = schemars::schema_for!(envforge_api::host::GitSignature);
    let document = serde_json::json!({
        "server to host": down, "host to server": up, "host asks for secrets": ask, "secrets given": given,
        "host asks for an SSH key": ask_identity, "SSH key given": identity,
        "host asks for a signature": ask_signature, "signature given": signature,
    });
    expect_file!["../../../../docs/reference/host-protocol.schema.json"].assert_eq(&pretty(&document));
}

// proves REPO-3
#[test]
fn the_manifest_schema_is_as_checked_in() {
    expect_file!["../../../../docs/reference/envforge.schema.json"]
        .assert_eq(&pretty(&envforge_core::manifest::json_schema()));
}

#[test]
fn the_permission_page_is_as_checked_in() {
    use envforge_core::access::{Action, Role, allows};
    use std::fmt::Write as _;
    let mut page =
        "# Permissions\n\nMade from the one table in `crates/envforge-core/src/access.rs`. The codes are the scopes of API keys; the scope\n\
         `read` stands for every action that only reads.\n\n| code | may |".to_owned();
    for role in Role::ALL {
        write!(page, " {role} |").unwrap();
    }
    page.push_str("\n|---|---|---|---|---|---|---|\n");
    for action in Action::ALL {
        write!(page, "| `{}` | {} |", action.code(), action.as_str()).unwrap();
        for role in Role::ALL {
            write!(page, " {} |", if allows(role, *action) { "yes" } else { "" }).unwrap();
        }
        page.push('\n');
    }
    expect_file!["../../../../docs/reference/permissions.md"].assert_eq(&page);
}
