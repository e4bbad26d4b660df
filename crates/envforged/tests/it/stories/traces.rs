//! Traces: what a collector is sent of a request's way through the box, read by the format's own library.

use super::sample::{Member, repository};
use crate::support::TestBox;
use bytes::Bytes;
use envforge_testkit::{python_judge, wait_until_within};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Where spans arrive, each request's body a file.
struct Receiver {
    address: SocketAddr,
    folder: tempfile::TempDir,
    refuses: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (refuses, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (at, is_off, count) = (folder.path().to_owned(), Arc::clone(&refuses), Arc::clone(&refused));
        let serving = tokio::spawn(async move {
            let number = Arc::<AtomicUsize>::default();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (at, is_off, count, number) = (at.clone(), is_off.clone(), count.clone(), number.clone());
                tokio::spawn(async move {
                    let answer = service_fn(async |request: Request<Incoming>| {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let mut response = Response::new(Full::new(Bytes::new()));
                        if is_off.load(Ordering::SeqCst) {
                            count.fetch_add(1, Ordering::SeqCst);
                            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        } else {
                            // A name that no other request has: three programs send at the same time.
                            let number = number.fetch_add(1, Ordering::SeqCst);
                            let partial = at.join(format!("{number}.partial"));
                            fs_err::write(&partial, body).unwrap();
                            fs_err::rename(&partial, partial.with_extension("spans")).unwrap();
                        }
                        Ok::<_, Infallible>(response)
                    });
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { address, folder, refuses, refused, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Everything that arrived, as it came.
    fn bytes(&self) -> Vec<u8> {
        let files = fs_err::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == "spans"))
            .flat_map(|path| fs_err::read(path).unwrap())
            .collect()
    }

    /// Every span that arrived.
    fn spans(&self, python: &Path) -> Vec<Value> {
        #[expect(clippy::disallowed_methods, reason = "an independent program judges ours")]
        let output = Command::new(python).args(["-c", READ]).arg(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Reads every request of a folder.
const READ: &str = r#"
import glob, json, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
def read(attributes):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
spans = []
for path in glob.glob(sys.argv[1] + "/*.spans"):
    request = ExportTraceServiceRequest.FromString(open(path, "rb").read())
    for of in request.resource_spans:
        for scope in of.scope_spans:
            for span in scope.spans:
                spans.append({
                    "from": read(of.resource.attributes), "name": span.name, "kind": span.kind, "events": len(span.events),
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                    "attributes": read(span.attributes), "is_over": span.end_time_unix_nano >= span.start_time_unix_nano > 0,
                })
json.dump(spans, sys.stdout)
"#;

const LIMIT: Duration = Duration::from_secs(20);
/// Of the caller: the trace of a visitor, and of who asks the API.
const VISITOR: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
const ASKER: (&str, &str) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");

fn traceparent((trace, span): (&str, &str)) -> String {
    format!("00-{trace}-{span}-01")
}

fn program() -> reqwest::Client {
    #[expect(clippy::disallowed_methods, reason = "a stranger is no client of the product")]
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn ask(the_box: &TestBox) -> StatusCode {
    let url = format!("http://{}/v1/me?code=planted-secret-query", the_box.listen);
    let asked = program().get(url).bearer_auth(the_box.key().expose()).header("cookie", "a=planted-secret-cookie");
    asked.header("traceparent", traceparent(ASKER)).send().await.unwrap().status()
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_followed_through_the_box() {
    let Some(python) = python_judge("python") else { return };
    let receiver = Receiver::start().await;
    let endpoint = format!("http://{}", receiver.address);
    let mut the_box =
        TestBox::new().with_env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).with_env("OTEL_BSP_SCHEDULE_DELAY", "100");
    the_box.start().await;
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let link = member.link("web").await;
    member.sleep("frozen").await;
    let host = link.url.split("://").nth(1).unwrap().split('/').next().unwrap();
    let visit = program().get(format!("http://{}/?state=planted-secret-query", the_box.gateway)).header("host", host);
    let visit = visit.header("envforge-link", &link.token).header("cookie", "a=planted-secret-cookie");
    assert_eq!(visit.header("traceparent", traceparent(VISITOR)).send().await.unwrap().status(), 200);
    assert_eq!(ask(&the_box).await, 200);

    let named = |spans: &[Value], name: &str, trace: &str| {
        spans.iter().find(|span| span["name"] == name && span["trace"] == trace).cloned()
    };
    let mut spans = Vec::new();
    wait_until_within("all spans arrive", LIMIT, async || {
        spans = receiver.spans(&python);
        let wanted = [("wait for a wake", VISITOR.0), ("GET /v1/me", ASKER.0), ("START_RUNTIME", VISITOR.0)];
        wanted.iter().all(|(name, trace)| named(&spans, name, trace).is_some())
            && spans.iter().any(|span| span["trace"] == VISITOR.0 && span["from"]["envforge.role"] == "server")
    })
    .await;
    let gateway = named(&spans, "wait for a wake", VISITOR.0).unwrap();
    assert_eq!(gateway["parent"], VISITOR.1);
    assert_eq!(gateway["from"]["service.name"], "envforge-gateway");
    assert_eq!(gateway["attributes"]["http.response.status_code"], 200);
    let children = |of: &Value| -> Vec<Value> {
        spans.iter().filter(|span| span["trace"] == VISITOR.0 && span["parent"] == of["id"]).cloned().collect()
    };
    let woken = children(&gateway);
    let names = |spans: &[Value]| -> Vec<Value> {
        spans.iter().map(|span| json!([span["from"]["service.name"], span["name"]])).collect()
    };
    assert_eq!(names(&woken), [json!(["envforge-server", "POST /internal/gateway/wake"])]);
    let started = children(&woken[0]);
    assert_eq!(names(&started), [json!(["envforge-host", "START_RUNTIME"])], "the wake by the visit, and no other");
    assert_eq!(started[0]["attributes"]["outcome"], "done");
    let api = named(&spans, "GET /v1/me", ASKER.0).unwrap();
    assert_eq!((&api["parent"], &api["kind"]), (&ASKER.1.into(), &2.into()));
    assert_eq!(api["attributes"]["http.route"], "/v1/me");
    assert_eq!(api["attributes"]["http.response.status_code"], 200);
    assert!(spans.iter().all(|span| span["events"] == 0 && span["is_over"] == true), "{spans:#?}");
    assert!(!serde_json::to_string(&spans).unwrap().contains('?'), "no query at all: {spans:#?}");
    let bytes = receiver.bytes();
    for secret in ["planted-", &link.token, the_box.key().expose(), "envforge-session"] {
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{secret} was exported");
    }

    // A collector that takes nothing any more: said once, and nobody waits.
    receiver.refuses.store(true, Ordering::SeqCst);
    wait_until_within("several batches are refused", LIMIT, async || {
        assert_eq!(ask(&the_box).await, 200);
        receiver.refused.load(Ordering::SeqCst) >= 4
    })
    .await;
    let said = |words: &str| words.lines().filter(|line| line.contains("the collector does not take spans")).count();
    let roles = said(&the_box.words());
    assert!((1..=3).contains(&roles), "{}", the_box.words());
    drop(receiver);
    for _ in 0..20 {
        assert_eq!(ask(&the_box).await, 200);
    }
    assert!(the_box.stop().await.success());
    assert!(said(&the_box.words()) <= 3, "once per role: {}", the_box.words());
}
