//! Requests that are too much, or that mean one thing to whoever checks them and another to whoever answers.

use super::World;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Sends the text as it is; the answer's status, and its code or else its body.
async fn say(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // A server that has heard enough hangs up while there is more to say.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    (status, json["error"]["code"].as_str().unwrap_or(body).to_owned())
}

pub(super) async fn with_requests_that_mean_two_things(world: &World) {
    let developer = world.member("developer").await;
    let server = world.the_box.listen;
    let ask = async |line: &str, headers: &str, body: &str| {
        let host =
            if headers.to_ascii_lowercase().contains("host:") { String::new() } else { format!("Host: {server}\r\n") };
        let key = format!("Authorization: Bearer {}\r\nConnection: close\r\n", developer.key);
        say(server, &format!("{line} HTTP/1.1\r\n{host}{key}{headers}\r\n{body}")).await
    };
    // Its own org, and never the other's, whatever the path is made to look like.
    for (path, status, code) in [
        ("/v1/orgs/globex", 200, ""),
        ("/v1/orgs/globex/../local", 404, "path.not_found"),
        ("/v1/orgs/globex/..%2flocal", 404, "path.not_found"),
        ("/v1/orgs/globex/%2e%2e/local/secrets", 404, "path.not_found"),
        ("/v1/orgs/globex%2f..%2flocal", 404, "org.not_found"),
        ("/v1/orgs/..%2forgs%2flocal/secrets", 404, "org.not_found"),
        ("/v1/orgs/LOCAL/secrets", 404, "org.not_found"),
        ("/v1/orgs/local%00/secrets", 404, "org.not_found"),
        ("/v1/orgs/local%20/secrets", 404, "org.not_found"),
        ("/v1//orgs/local/secrets", 404, "path.not_found"),
        ("/v1/orgs/local/secrets;globex", 404, "path.not_found"),
        ("/v1/orgs/globex/../../../etc/passwd", 404, "path.not_found"),
    ] {
        let (answered, said) = ask(&format!("GET {path}"), "", "").await;
        assert_eq!((answered, if code.is_empty() { "" } else { &*said }), (status, code), "{path}: {said}");
    }
    // A method is the one in the first line.
    let workspace = "/v1/orgs/globex/workspaces/main";
    for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let (status, _) = ask(&format!("GET {workspace}?_method=DELETE"), &format!("{header}: DELETE\r\n"), "").await;
        assert_eq!(status, 200, "{header}: read");
    }
    let shown: Value = developer.client.get(workspace).await.unwrap();
    assert_ne!(shown["deleting"], json!(true));
    assert_eq!(ask("TRACE /v1/me", "", "").await, (405, "path.method".to_owned()));
    // One host, and it is ours.
    for hosts in [format!("Host: {server}\r\nHost: evil.example\r\n"), format!("Host: {server}\r\nHost: {server}\r\n")]
    {
        assert_eq!(ask("GET /v1/me", &hosts, "").await, (403, "host.unknown".to_owned()), "{hosts}");
    }
    world.noted("installation", &["access.denied", "stranger", "host.unknown"]);
    // Not more than anybody needs.
    let body = format!("{{\"slug\":\"p\",\"repository\":\"{}\"}}", "x".repeat(300 * 1024));
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let (status, code) = ask("POST /v1/orgs/globex/projects", &headers, &body).await;
    assert_eq!((status, &*code), (400, "request.body"));
    let many = "X-One: y\r\n".repeat(200);
    assert_eq!(ask("GET /v1/me", &many, "").await.0, 431, "headers without end");
    assert_eq!(ask("GET /v1/me", &format!("X-Long: {}\r\n", "y".repeat(600 * 1024)), "").await.0, 431, "a long header");
    at_the_gateway(world).await;
}

async fn at_the_gateway(world: &World) {
    let body = json!({ "service": "web", "routes": ["/docs"] });
    let path = "/v1/orgs/local/workspaces/main/links";
    let link: envforge_api::http::links::CreatedLink = world.owner().post(path, &body).await.unwrap();
    let host = link.url.split('/').nth(2).unwrap();
    let ask = async |target: &str, headers: &str| {
        let link = format!("envforge-link: {}\r\nAccept: application/json\r\nConnection: close\r\n", link.token);
        say(world.the_box.gateway, &format!("GET {target} HTTP/1.1\r\n{headers}{link}\r\n")).await
    };
    let one = format!("Host: {host}\r\n");
    for target in ["/", "/docs/..%2fapi/notes", "/docs/%2e%2e/", "/docs/../", "/docs%2f..%2f", "/docsearch", "//docs"] {
        assert_eq!(ask(target, &one).await, (404, "preview.no_such_path".to_owned()), "{target}");
    }
    for hosts in [format!("{one}Host: evil.example\r\n"), format!("{one}{one}"), String::new()] {
        assert_eq!(ask("/docs", &hosts).await, (400, "request.malformed".to_owned()), "{hosts}");
    }
}
