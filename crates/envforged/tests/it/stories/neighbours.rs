//! Two branches on the same ports, side by side, each alone in its world.

use super::sample::{Member, PATIENCE, repository};
use crate::support::TestBox;
use envforge_testkit::{Browser, Shell, wait_until_within};
use serde_json::json;

// proves RUN-6 RUN-7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_branches_use_the_same_ports_and_see_nothing_of_each_other() {
    let the_box = TestBox::started().await;
    let repository = repository(&the_box.scratch("notes"));
    let one = Member { the_box: &the_box, slug: "one".to_owned() };
    let two = Member { the_box: &the_box, slug: "two".to_owned() };
    for member in [&one, &two] {
        member.workspace(&repository, &member.slug).await;
        member.wake().await;
    }
    let mut browsers = Vec::new();
    for member in [&one, &two] {
        member.all_ready().await;
        let link = member.link("web").await;
        let mut browser = Browser::at(&link.url).unwrap();
        browser.open(&link.url).await.unwrap();
        let text = format!("of {}", member.slug);
        browser.post("/api/notes", &json!({ "text": text })).await.unwrap();
        browsers.push(browser);
    }
    // Data: own database, own Redis.
    assert_eq!(browsers[0].get("/api/notes").await.unwrap(), r#"{"notes":["of one"]}"#);
    assert_eq!(browsers[1].get("/api/notes").await.unwrap(), r#"{"notes":["of two"]}"#);
    for browser in &browsers {
        assert!(browser.get("/api/count").await.unwrap().contains(":1"));
    }
    // The other's database refuses even with a good password of one's own.
    let (_, url) = one.run("echo $DATABASE_URL").await;
    let (_, other) = two.run("echo $DATABASE_URL").await;
    let name = |url: &str| url.trim().rsplit('/').next().unwrap().to_owned();
    assert_ne!(name(&url), name(&other));
    let foreign = url.trim().replace(&name(&url), &name(&other));
    let (code, said) = one.run(&format!("psql '{foreign}' -c 'SELECT 1'")).await;
    assert_ne!(code, 0, "{said}");
    // Processes and network: only one's own.
    let (_, processes) = one.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -d /proc/[0-9]* | wc -l").await;
    assert_eq!(
        (processes.matches("sandbox-init").count(), processes.matches("redis-server").count()),
        (1, 1),
        "{processes}"
    );
    let (_, files) = one.run("ls /var/lib /root /home 2>&1; cat /etc/shadow 2>&1; ls / ").await;
    assert!(!files.contains("owner.key") && !files.contains("root:"), "{files}");
    let key = the_box.path().join("owner.key");
    let (code, said) = one.run(&format!("cat {}", key.display())).await;
    assert!(code != 0 && !said.contains(the_box.key().expose()), "the owner's key can be read");
    let (code, said) =
        one.run("node -e \"fetch('http://127.0.0.1:3000/').then(r => r.text()).then(console.log)\"").await;
    assert!(code == 0 && said.contains("Notes of the story"), "localhost is the workspace's own: {said}");
    // A session of one dev host is worthless on the other.
    let stolen = browsers[0].with_host_of(&browsers[1]);
    assert_eq!(stolen.status("/").await.unwrap(), 401);
    // A shell can't see what only the runtime has: inputs with their passwords.
    let inputs = "/run/user/$(id -u)/envforge/env/api.env";
    wait_until_within("the runtime has its inputs", PATIENCE, async || {
        one.run(&format!("cat {inputs}")).await.1.contains("DATABASE_URL=")
    })
    .await;
    let server = format!("http://{}", the_box.listen);
    let mut shell = Shell::attach(&server, the_box.key().expose(), "local", "one").await.unwrap();
    shell.send(&format!("test -e {inputs} && echo inputs-$((1+1)) || echo no-inputs-$((1+1))\r")).await.unwrap();
    shell.expect("no-inputs-2").await.unwrap();
    shell.send("echo db-${DATABASE_URL:-none}-$((1+1))\r").await.unwrap();
    shell.expect("db-none-2").await.unwrap();
}
