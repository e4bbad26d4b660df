//! Orgs, members, invitations, groups, and who sees a project.

use crate::support::{Server, envforge, finish, ok, refused, run};
use expect_test::expect;
use serde_json::{Value, json};

const ADA: &str = "user_00000000000000000000000000000001";
const MEMBERS: &str = "/v1/orgs/acme/members";

fn invitation() -> Value {
    json!({ "id": "inv_00000000000000000000000000000001", "state": "open", "role": "reviewer", "groups": ["web"],
        "address": "ada@example.org", "created_by": ADA, "created_at": "2026-11-21T06:00:00Z", "expires_at": "2026-11-28T06:00:00Z" })
}

#[test]
fn orgs_are_listed_made_and_chosen() {
    let server = Server::acme();
    let org = json!({ "id": "org_00000000000000000000000000000002", "slug": "globex", "name": "Globex", "created_at": "2026-11-21T06:00:00Z" });
    server.route("POST /v1/orgs", ok(&org));
    server.route("GET /v1/orgs/globex", ok(&org));
    server.route(
        "GET /v1/orgs/none",
        refused(404, "not_found", "org.not_found", "there is no organization `none` for you", None),
    );
    expect![[r#"
        exit: 0
        --- stdout
        ORG   ROLE
        acme  owner
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["org", "list"]));
    expect![[r#"
        exit: 0
        --- stdout
        globex is there and yours; `envforge org use globex` chooses it
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["org", "create", "globex", "--name", "Globex"]));
    expect![[r#"
        exit: 0
        --- stdout
        globex is used from now on
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["org", "use", "globex"]));
    expect![[r#"
        exit: 4
        --- stdout
        {"error":{"code":"org.not_found","message":"there is no organization `none` for you","kind":"not_found"}}
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["org", "use", "none", "--json"]));
    assert!(server.asked().contains(&r#"POST /v1/orgs {"slug":"globex","name":"Globex"}"#.to_owned()));
}

// proves ORG-2
#[test]
fn members_are_listed_changed_and_removed() {
    let server = Server::acme();
    let members =
        json!({ "members": [{ "user": ADA, "name": "Ada\u{1b}[2J", "role": "developer", "groups": ["web", "data"] }] });
    server.route(&format!("GET {MEMBERS}"), ok(&members));
    server.route(
        &format!("PUT {MEMBERS}/{ADA}"),
        refused(409, "conflict", "member.last_owner", "this is the last owner", Some("make somebody else owner first")),
    );
    server.route(&format!("DELETE {MEMBERS}/{ADA}"), ok(&Value::Null));
    expect![[r#"
        exit: 0
        --- stdout
        USER                                   NAME     ROLE       GROUPS
        user_00000000000000000000000000000001  Ada�[2J  developer  web data
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["member", "list"]));
    expect![[r#"
        exit: 5
        --- stdout
        --- stderr
        error: this is the last owner
          hint: make somebody else owner first
    "#]]
    .assert_eq(&run(&server, &["member", "role", ADA, "admin"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"removed":"user_00000000000000000000000000000001"}
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["member", "remove", ADA, "--json"]));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: invalid value 'king' for '<ROLE>': `king` is not a role

        For more information, try '--help'.
    "#]]
    .assert_eq(&run(&server, &["member", "role", ADA, "king"]));
}

// proves ORG-2
#[test]
fn an_invitation_is_a_code_to_hand_over() {
    let server = Server::acme();
    let path = "/v1/orgs/acme/invitations";
    let mut open = invitation();
    open["address"] = Value::Null;
    server.route(&format!("POST {path}"), ok(&json!({ "invitation": open, "token": "efi_code" })));
    server.route(&format!("GET {path}"), ok(&json!({ "invitations": [invitation()] })));
    server.route(&format!("DELETE {path}/inv_00000000000000000000000000000001"), ok(&Value::Null));
    expect![[r#"
        exit: 0
        --- stdout
        efi_code
        --- stderr
        hand this code over in private; until 2026-11-28 06:00:00 UTC whoever has it becomes reviewer: `envforge invite accept`
    "#]].assert_eq(&run(
        &server,
        &["invite", "create", "--role", "reviewer", "--group", "web"],
    ));
    server.route(
        &format!("POST {path}"),
        ok(&json!({ "invitation": invitation(), "token": "efi_code", "mailed": true })),
    );
    expect![[r#"
        exit: 0
        --- stdout
        efi_code
        --- stderr
        hand this code over in private; until 2026-11-28 06:00:00 UTC whoever has it becomes reviewer: `envforge invite accept`
    "#]]
    .assert_eq(&run(&server, &["invite", "create", "--role", "reviewer", "--address", "ada@example.org"]));
    expect![[r#"
        exit: 0
        --- stdout
        INVITATION                            STATE  ROLE      GROUPS  FOR              EXPIRES
        inv_00000000000000000000000000000001  open   reviewer  web     ada@example.org  2026-11-28 06:00:00 UTC
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["invite", "list"]));
    expect![[r#"
        exit: 0
        --- stdout
        inv_00000000000000000000000000000001 is revoked
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["invite", "revoke", "inv_00000000000000000000000000000001"]));
    expect![[r#"
        exit: 2
        --- stdout
        --- stderr
        error: nobody can be asked for the code here
          hint: `envforge invite accept --code-file FILE`, or `--code-file -` to read it from stdin
    "#]]
    .assert_eq(&run(&server, &["invite", "accept"]));
}

// proves ORG-2
#[test]
fn a_newcomers_key_is_kept_and_not_shown() {
    let server = Server::acme();
    let key = json!({ "id": "key_00000000000000000000000000000001", "value": "efk_test" });
    let accepted = json!({ "org": "org_00000000000000000000000000000001", "slug": "acme", "user": ADA, "role": "developer", "api_key": key });
    server.route("POST /v1/invitations/accept", ok(&accepted));
    let home = tempfile::tempdir().expect("a folder");
    let code = home.path().join("code");
    fs_err::write(&code, "efi_code\n").expect("written");
    let code = code.to_str().expect("UTF-8");
    let mut nameless = envforge(home.path(), &["invite", "accept", "--code-file", code]);
    let ran = finish(nameless.env("ENVFORGE_SERVER", &server.url));
    assert!(ran.stderr.contains("--name"), "{}", ran.stderr);
    let mut command = envforge(home.path(), &["invite", "accept", "--code-file", code, "--name", "Ada"]);
    let ran = finish(command.env("ENVFORGE_SERVER", &server.url));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "you are developer of acme now\n"), "{}", ran.stderr);
    assert!(server.asked().contains(&r#"POST /v1/invitations/accept {"token":"efi_code","name":"Ada"}"#.to_owned()));
    let kept = fs_err::read_to_string(home.path().join(".config/envforge/config.json")).expect("kept");
    assert!(kept.contains("efk_test"), "{kept}");
}

// proves ORG-2
#[test]
fn groups_and_projects_say_who_sees_what() {
    let server = Server::acme();
    let groups = "/v1/orgs/acme/groups";
    server.route(&format!("GET {groups}"), ok(&json!({ "groups": [] })));
    let web = json!({ "groups": [{ "id": "grp_00000000000000000000000000000001", "name": "web", "members": [ADA] }] });
    server.route(&format!("POST {groups}"), ok(&web));
    server.route(&format!("PUT {groups}/web/members/{ADA}"), ok(&Value::Null));
    server.route(
        &format!("DELETE {groups}/web"),
        refused(404, "not_found", "group.not_found", "there is no group `web`", None),
    );
    let access = "/v1/orgs/acme/projects/planner/access";
    server.route(&format!("GET {access}"), ok(&json!({ "is_restricted": false, "groups": [] })));
    server.route(&format!("PUT {access}"), ok(&json!({ "is_restricted": true, "groups": ["web"] })));
    expect![[r#"
        exit: 0
        --- stdout
        no groups; `envforge group create <name>` makes one
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["group", "list"]));
    expect![[r#"
        exit: 0
        --- stdout
        GROUP  MEMBERS
        web    1
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["group", "create", "web"]));
    expect![[r#"
        exit: 0
        --- stdout
        user_00000000000000000000000000000001 is in web
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["group", "add", "web", ADA]));
    expect![[r#"
        exit: 4
        --- stdout
        --- stderr
        error: there is no group `web`
    "#]]
    .assert_eq(&run(&server, &["group", "delete", "web"]));
    expect![[r#"
        exit: 0
        --- stdout
        planner is open to all members
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["project", "access", "planner"]));
    expect![[r#"
        exit: 0
        --- stdout
        planner is shown to owners and admins and to web
        --- stderr
    "#]]
    .assert_eq(&run(&server, &["project", "access", "planner", "--restrict", "--group", "web"]));
    let both = run(&server, &["project", "access", "planner", "--open", "--group", "web"]);
    assert!(both.starts_with("exit: 2"), "{both}");
    assert!(server.asked().contains(&format!(r#"PUT {access} {{"is_restricted":true,"groups":["web"]}}"#)));
}
