//! `--metrics ADDRESS`: an HTTP endpoint from which Prometheus takes how a fleet stands.
//!
//! It reads what the coordinator wrote last, each time it is asked: nothing is counted here, so that nothing can differ from what
//! `fedact fleet status` says.

mod figures;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use fedact_fleet::setup::Fleet;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::standing::Standing;
use crate::exit::{Code, Refusal};

/// OpenMetrics 1.0, which Prometheus reads since its version 2.5.
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections at a time; others wait.
const CONNECTIONS: usize = 16;

/// How long one may take, so that those that say nothing are in nobody's way.
const PATIENCE: Duration = Duration::from_secs(10);

/// For answers that are under way when it ends.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// An endpoint that serves until it is dropped.
pub struct Metrics {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Metrics {
    /// Serves `/metrics` of a fleet at an address; port 0 takes any that is free.
    ///
    /// # Errors
    /// Nothing can listen there.
    pub fn serve(fleet: Fleet, address: SocketAddr) -> Result<Self, Refusal> {
        let refused = |error: std::io::Error| {
            Refusal::new(
                Code::Failed,
                format!("metrics cannot be served at {address}: {error}"),
                "give another address or port, as in --metrics 127.0.0.1:9465",
            )
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("metrics")
            .enable_all()
            .build()
            .map_err(refused)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(refused)?
        };
        runtime.spawn(listen(listener, Arc::new(fleet)));
        Ok(Self {
            address,
            runtime: Some(runtime),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LAST_GRACE);
        }
    }
}

async fn listen(listener: tokio::net::TcpListener, fleet: Arc<Fleet>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of file descriptors, say: it may pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&fleet, request.method(), request.uri().path());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(socket), service);
            // Whoever breaks off has what it wanted.
            let _ = tokio::time::timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

fn answer(fleet: &Fleet, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if path != "/metrics" {
        return response(
            StatusCode::NOT_FOUND,
            "the metrics are at /metrics\n".into(),
        );
    }
    if ![Method::GET, Method::HEAD].contains(method) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, String::new());
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let text = Standing::read(fleet)
        .map_err(|error| error.to_string())
        .and_then(|standing| figures::text(standing).map_err(|error| error.to_string()));
    match text {
        Ok(text) => {
            let mut response = response(StatusCode::OK, text);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
            response
        }
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, error + "\n"),
    }
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use fedact_fleet::Name;
    use fedact_fleet::setup::Setup;

    use super::*;
    use crate::fleet::standing::Coordinator;
    use crate::fleet::standing::tests::standing;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut socket = TcpStream::connect(address).unwrap();
        write!(socket, "{request} HTTP/1.1\r\nHost: fleet\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_endpoint_says_what_the_coordinator_wrote_last_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let device = Name::new("nano-1").unwrap();
        let setup = Setup::on_loopback(Name::new("lab").unwrap(), 4222, vec![device]);
        let fleet = Fleet::init(folder.path(), &setup).unwrap();
        let metrics = Metrics::serve(fleet.clone(), ([127, 0, 0, 1], 0).into()).unwrap();
        let before = ask(metrics.address(), "GET /metrics");
        assert!(before.starts_with("HTTP/1.1 200 OK"), "{before}");
        assert!(before.contains(TYPE), "{before}");
        assert!(
            before.contains("fedact_fleet_coordinator_running 0.0\n"),
            "{before}"
        );
        assert!(!before.contains("fedact_fleet_model_version"), "{before}");

        let _run = fleet.begin_run("one").unwrap();
        let mut status = standing(Coordinator::Running).status;
        for version in [20, 21] {
            status.version = version;
            let text = serde_json::to_vec(&status).unwrap();
            std::fs::write(fleet.run_folder().join("status.json"), text).unwrap();
            let answer = ask(metrics.address(), "GET /metrics");
            let line = format!("fedact_fleet_model_version {version}.0\n");
            assert!(answer.contains(&line), "{answer}");
        }
        assert!(ask(metrics.address(), "GET /").starts_with("HTTP/1.1 404"));
        assert!(ask(metrics.address(), "POST /metrics").starts_with("HTTP/1.1 405"));

        // Those that say nothing are in nobody's way.
        let silent: Vec<_> = (1..CONNECTIONS)
            .map(|_| TcpStream::connect(metrics.address()).unwrap())
            .collect();
        assert!(ask(metrics.address(), "HEAD /metrics").starts_with("HTTP/1.1 200"));
        drop(silent);

        let taken = Metrics::serve(fleet, metrics.address());
        let refusal = taken.err().unwrap();
        assert!(
            refusal.message.contains("cannot be served at 127.0.0.1"),
            "{refusal:?}"
        );
        let address = metrics.address();
        drop(metrics);
        assert!(TcpStream::connect(address).is_err());
    }
}
