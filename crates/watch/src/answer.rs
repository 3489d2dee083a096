//! What the server answers to a request. No socket here.

use std::{net::SocketAddr, time::UNIX_EPOCH};

use hyper::{
    Method, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
    http::request::Parts,
};
use kasmina_telemetry::names::{EVENTS, METRICS};
use serde_json::json;

use crate::{
    follow::{Cursor, FollowError},
    page::ASSETS,
    runs::Follower,
};

/// What a browser may do with an answer: nothing but show it, with what this server sends, and to no other page.
const GUARDS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request that came to the server at `address`.
pub(crate) fn answer(request: &Parts, address: SocketAddr, follower: &Follower) -> Response<String> {
    let mut response = if !is_for(request, address) {
        // A page of another site can make its own name mean 127.0.0.1, but it cannot change the name that its browser sends.
        decline(StatusCode::FORBIDDEN, format!("open http://{address}/: this server answers under no other name"))
    } else if request.method != Method::GET {
        let mut response = decline(StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        response
    } else {
        match request.uri.path() {
            "/runs" => runs(follower),
            "/names" => names(),
            "/lines" => lines(request.uri.query().unwrap_or_default(), follower),
            path => match ASSETS.iter().find(|asset| asset.path == path) {
                Some(asset) => ok(asset.content_type, asset.body.to_owned()),
                None => decline(StatusCode::NOT_FOUND, "there is nothing at this path".to_owned()),
            },
        }
    };
    for (name, value) in GUARDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the request names this server by its address or as localhost.
fn is_for(request: &Parts, address: SocketAddr) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let port = address.port();
    let names = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    // A browser leaves out the port of its scheme.
    let bare: &[&str] = if port == 80 { &["127.0.0.1", "localhost"] } else { &[] };
    let is_known = |host: &str| {
        names.iter().map(String::as_str).chain(bare.iter().copied()).any(|name| name.eq_ignore_ascii_case(host))
    };
    // An absolute URI wins over the header, for whoever routes by it; here both have to be right.
    let in_uri = request.uri.authority().is_none_or(|authority| is_known(authority.as_str()));
    in_uri && host.to_str().is_ok_and(is_known)
}

fn runs(follower: &Follower) -> Response<String> {
    let runs = follower.runs();
    let found = runs.found.iter().map(|run| {
        let modified = run.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        json!({
            "name": run.name,
            "bytes": run.bytes,
            "modified_ms": modified.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        })
    });
    let body = json!({
        "directory": follower.directory().to_string_lossy(),
        "is_there": runs.is_there,
        "has_more": runs.has_more,
        "runs": found.collect::<Vec<_>>(),
    });
    ok(JSON, body.to_string())
}

/// What events and metrics mean, so that the page says it in the words of the contract.
fn names() -> Response<String> {
    let events = EVENTS.iter().map(|event| (event.name.to_owned(), json!(event.meaning)));
    let metrics = METRICS.iter().map(|it| (it.name.to_owned(), json!({ "meaning": it.meaning, "unit": it.unit })));
    let body = json!({
        "events": events.collect::<serde_json::Map<_, _>>(),
        "metrics": metrics.collect::<serde_json::Map<_, _>>(),
    });
    ok(JSON, body.to_string())
}

fn lines(query: &str, follower: &Follower) -> Response<String> {
    let (mut run, mut from) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "run" => run = Some(value),
            "from" => from = Some(value),
            _other => {}
        }
    }
    let Some(run) = run else { return decline(StatusCode::BAD_REQUEST, "run= is missing".to_owned()) };
    let cursor = match from.map_or(Ok(Cursor::default()), |from| from.parse()) {
        Ok(cursor) => cursor,
        Err(error) => return decline(StatusCode::BAD_REQUEST, format!("from=: {error}")),
    };
    let chunk = match follower.read(&run, cursor) {
        Ok(chunk) => chunk,
        Err(error @ FollowError::NoSuchRun { .. }) => return decline(StatusCode::NOT_FOUND, error.to_string()),
        Err(error @ FollowError::Read { .. }) => return decline(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let about = [
        ("kasmina-next", chunk.next.to_string()),
        ("kasmina-behind", chunk.behind.to_string()),
        ("kasmina-restarted", u8::from(chunk.restarted).to_string()),
        ("kasmina-oversized", chunk.oversized.to_string()),
    ];
    let mut response = ok("application/x-ndjson; charset=utf-8", chunk.lines);
    for (name, value) in about {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn ok(content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn decline(status: StatusCode, text: String) -> Response<String> {
    let mut response = ok(TEXT, text + "\n");
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn names(host: &str, port: u16) -> bool {
        let request = Request::builder().uri("/runs").header(header::HOST, host).body(());
        request.is_ok_and(|request| is_for(&request.into_parts().0, SocketAddr::from(([127, 0, 0, 1], port))))
    }

    #[test]
    fn a_host_without_a_port_is_that_of_port_80_alone() {
        for host in ["127.0.0.1", "localhost", "LOCALHOST", "127.0.0.1:80", "localhost:80"] {
            assert!(names(host, 80), "{host}");
        }
        assert!(!names("127.0.0.1", 8000) && !names("localhost", 8000));
        for host in ["evil.example", "evil.example:80", "127.0.0.1:8000", "127.0.0.1:", ""] {
            assert!(!names(host, 80), "{host}");
        }
    }
}
