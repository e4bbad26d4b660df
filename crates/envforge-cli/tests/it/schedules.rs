//! Schedules and quiet hours: what is typed, what is sent, what is refused before anything is.

use crate::support::{Server, ok, run};
use expect_test::expect;
use serde_json::json;

const SCHEDULE: &str = "/v1/orgs/acme/workspaces/fix-login/schedule";
const QUIET: &str = "/v1/orgs/acme/quiet-hours";

// proves UP-9
#[test]
fn a_schedule_is_typed_as_days_and_times() {
    let server = Server::acme();
    let entries = json!([
        { "action": "wake", "days": ["mon", "tue", "wed", "thu", "fri"], "at": "08:30" },
        { "action": "sleep", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "at": "19:00" },
    ]);
    let schedule = json!({ "zone": "Europe/Berlin", "entries": entries });
    server.route(
        &format!("PUT {SCHEDULE}"),
        ok(&json!({ "schedule": schedule, "next": { "at": "2026-11-30T07:30:00Z", "action": "wake" },
            "last": { "at": "2026-11-27T07:30:00Z", "action": "wake", "outcome": "refused", "code": "cap.stopped", "message": "the cap is used up" } })),
    );
    let typed = ["--wake", "Mon-Fri 8:30", "--sleep", "19:00", "--zone", "Europe/Berlin", "-w", "fix-login"];
    let set = |more: &[&str]| run(&server, &[&["schedule", "set"], &typed[..], more].concat());
    expect![[r"
        exit: 0
        --- stdout
        wakes   Mon-Fri 08:30 Europe/Berlin
        sleeps  daily 19:00 Europe/Berlin
        next    wakes at 2026-11-30 07:30:00 UTC
        last    wake at 2026-11-27 07:30:00 UTC: refused, the cap is used up (cap.stopped)
        --- stderr
    "]]
    .assert_eq(&set(&[]));
    let sent = json!({ "schedule": schedule });
    assert!(server.asked().contains(&format!("PUT {SCHEDULE} {sent}")), "{:?}", server.asked());
    assert!(set(&["--json"]).contains("\"outcome\":\"refused\""));
    server.replace(&format!("PUT {SCHEDULE}"), ok(&json!({ "schedule": null, "next": null, "last": null })));
    expect![[r"
        exit: 0
        --- stdout
        no schedule: it wakes when it is needed and sleeps when it idles
        --- stderr
    "]]
    .assert_eq(&run(&server, &["schedule", "clear", "-w", "fix-login"]));
    assert!(server.asked().contains(&format!("PUT {SCHEDULE} {{\"schedule\":null}}")), "{:?}", server.asked());
}

// proves UP-9
#[test]
fn what_cant_be_meant_is_refused_before_anything_is_asked() {
    let server = Server::acme();
    let set = |wake: &str, zone: &str| {
        run(&server, &["schedule", "set", "--wake", wake, "--zone", zone, "-w", "fix-login", "--json"])
    };
    for (wake, zone, code) in [
        ("Mon-Fry 08:30", "UTC", "schedule.day"),
        ("Mon-Fri 25:30", "UTC", "schedule.time"),
        ("Mon-Fri 08:30", "Berlin", "schedule.zone"),
    ] {
        let told = set(wake, zone);
        assert!(told.starts_with("exit: 2\n") && told.contains(code), "{told}");
    }
    assert!(server.asked().is_empty(), "{:?}", server.asked());
    expect![[r"
        exit: 2
        --- stdout
        --- stderr
        error: `Berlin` is not a time zone
          hint: give its IANA name, such as Europe/Berlin, America/New_York or UTC
    "]]
    .assert_eq(&run(&server, &["schedule", "quiet", "--from", "20:00", "--to", "07:00", "--zone", "Berlin"]));
}

// proves UP-9
#[test]
fn quiet_hours_are_shown_set_and_taken_away() {
    let server = Server::acme();
    let hours = json!({ "zone": "Europe/Berlin", "days": ["mon", "tue", "wed", "thu", "fri"], "from": "20:00", "to": "07:00", "quiet_idle": 120 });
    server.route(&format!("PUT {QUIET}"), ok(&json!({ "quiet_hours": hours })));
    server.route(&format!("GET {QUIET}"), ok(&json!({ "quiet_hours": null })));
    let typed = ["--from", "20:00", "--to", "07:00", "--days", "mon-fri", "--zone", "Europe/Berlin"];
    expect![[r"
        exit: 0
        --- stdout
        Mon-Fri 20:00 to 07:00 Europe/Berlin: no schedule wakes anything, and what idles for 2 min sleeps; visits wake as ever
        --- stderr
    "]]
    .assert_eq(&run(&server, &[&["schedule", "quiet"], &typed[..]].concat()));
    assert!(
        server.asked().contains(&format!("PUT {QUIET} {}", json!({ "quiet_hours": hours }))),
        "{:?}",
        server.asked()
    );
    expect![[r"
        exit: 0
        --- stdout
        none: schedules wake at every hour
        --- stderr
    "]]
    .assert_eq(&run(&server, &["schedule", "quiet"]));
    run(&server, &["schedule", "quiet", "--off"]);
    assert!(server.asked().contains(&format!("PUT {QUIET} {{\"quiet_hours\":null}}")), "{:?}", server.asked());
}
