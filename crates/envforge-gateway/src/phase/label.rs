//! Phase 1: which dev host is meant.
//!
//! The label comes from the request's one authority: of an absolute-form target if there is one, else of the one
//! `Host` header (RFC 9112, section 3.2). A request that names two, or none, means nothing and is refused before
//! anything else looks at it. From here on `Host` is that authority and the target is in origin form, so no later
//! phase and no service can read another host out of the same request.

use crate::phase::refused::Refused;
use crate::sessions::Unverified;
use envforge_core::hostname::label_of_host;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Uri};

/// The label, after the request was put into its one form.
pub(crate) fn of<B>(request: &mut Request<B>, dev_domain: &str) -> Result<String, Refused> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) => return Err(Refused::BadRequest("the request names no host")),
        (Some(_), Some(_)) => return Err(Refused::BadRequest("the request names more than one host")),
    };
    if request.headers().contains_key(http::header::CONTENT_LENGTH)
        && request.headers().contains_key(http::header::TRANSFER_ENCODING)
    {
        return Err(Refused::BadRequest("the request tells the length of its body twice"));
    }
    let label = if let Some(authority) = request.uri().authority() {
        if authority.as_str().contains('@') {
            return Err(Refused::BadRequest("the target names a user"));
        }
        let label = label_of_host(authority.as_str(), dev_domain);
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|_| Refused::BadRequest("the target is not readable"))?;
        if request.method() != Method::CONNECT {
            let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
            *request.uri_mut() = Uri::from(path);
        }
        request.headers_mut().insert(HOST, host);
        label
    } else {
        host.to_str().ok().and_then(|host| label_of_host(host, dev_domain))
    };
    label.ok_or(Refused::Unverified(Unverified::UnknownLabel))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, hosts: &[&str]) -> Result<(String, String, String), u16> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let mut request = request.body(()).expect("a request");
        let label = of(&mut request, "localhost").map_err(|refused| refused.status())?;
        let host = request.headers()[HOST].to_str().expect("text").to_owned();
        Ok((label, request.uri().to_string(), host))
    }

    // proves LINK-6
    #[test]
    fn one_request_names_one_host() {
        let good = |label: &str, target: &str, host: &str| Ok((label.to_owned(), target.to_owned(), host.to_owned()));
        assert_eq!(check("/x?y", &["web--a--b.localhost:7081"]), good("web--a--b", "/x?y", "web--a--b.localhost:7081"));
        assert_eq!(
            check("http://web--a--b.localhost/x", &["evil--a--b.localhost"]),
            good("web--a--b", "/x", "web--a--b.localhost"),
        );
        assert_eq!(check("/", &[]), Err(400));
        assert_eq!(check("/", &["web--a--b.localhost", "web--a--b.localhost"]), Err(400));
        assert_eq!(check("http://u@web--a--b.localhost/", &["web--a--b.localhost"]), Err(400));
        assert_eq!(check("/", &["localhost"]), Err(404));
        assert_eq!(check("/", &["a.b.localhost"]), Err(404));
        assert_eq!(check("/", &["web--a--b.example"]), Err(404));
    }
}
