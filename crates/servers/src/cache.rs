//! A cache as bazel-remote is one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};

use crate::Server;

/// How a cache misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// A byte of every content is another.
    WrongBytes,
    /// Half of every content, as if it were all.
    Short,
    /// Half of every content, and then the connection breaks off.
    Broken,
    /// More than was asked for.
    Long,
    /// A byte now and then.
    Drip,
    /// It takes the request and says nothing.
    Mute,
    /// 403.
    Forbidden,
    /// 500.
    Failing,
    /// It answers, but a PUT never ends.
    Hoarding,
    /// It gives everything and takes nothing.
    ReadOnly,
    /// It drops what it was given.
    Forgetful,
}

/// What a cache keeps, and how it behaves.
pub struct Cache {
    /// The server.
    pub server: Server,
    /// What it keeps, by path.
    pub blobs: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// How it behaves.
    pub fault: Arc<Mutex<Fault>>,
    /// `GET /ac/...` and so on.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// Bytes of all contents that it gave.
    pub given: Arc<AtomicU64>,
    /// What every request must have for `Authorization`, if anything.
    pub authorization: Arc<Mutex<Option<String>>>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Cache {
    /// A cache that answers GET, HEAD and PUT under `/ac/` and `/cas/`, and refuses content whose
    /// digest is not its name.
    pub fn start() -> Self {
        let blobs = Arc::<Mutex<BTreeMap<String, Bytes>>>::default();
        let fault = Arc::new(Mutex::new(Fault::None));
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let given = Arc::<AtomicU64>::default();
        let authorization = Arc::<Mutex<Option<String>>>::default();
        let (kept, behaviour, log, sum, wanted) = (
            Arc::clone(&blobs),
            Arc::clone(&fault),
            Arc::clone(&requests),
            Arc::clone(&given),
            Arc::clone(&authorization),
        );
        let server = Server::start(move |socket| {
            let (kept, behaviour, log, sum, wanted) = (
                Arc::clone(&kept),
                Arc::clone(&behaviour),
                Arc::clone(&log),
                Arc::clone(&sum),
                Arc::clone(&wanted),
            );
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (kept, log, sum) = (Arc::clone(&kept), Arc::clone(&log), Arc::clone(&sum));
                let fault = *behaviour.lock().unwrap();
                let wanted = wanted.lock().unwrap().clone();
                async move {
                    log.lock().unwrap().push(format!(
                        "{} {}",
                        request.method(),
                        request.uri().path()
                    ));
                    let shown = request.headers().get("authorization");
                    if wanted.is_some() && shown.and_then(|v| v.to_str().ok()) != wanted.as_deref()
                    {
                        return Ok::<_, Infallible>(status(StatusCode::UNAUTHORIZED));
                    }
                    let answer = answer(request, &kept, fault).await;
                    let length = answer.body().size_hint().exact().unwrap_or(0);
                    sum.fetch_add(length, Ordering::SeqCst);
                    Ok(answer)
                }
            });
            async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            }
        });
        Self {
            server,
            blobs,
            fault,
            requests,
            given,
            authorization,
        }
    }

    /// Changes how it behaves.
    pub fn behave(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// How many requests began so.
    pub fn count(&self, start: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|line| line.starts_with(start))
            .count()
    }

    /// Forgets which requests there were, and how much was given.
    pub fn clear_log(&self) {
        self.requests.lock().unwrap().clear();
        self.given.store(0, Ordering::SeqCst);
    }
}

async fn answer(
    request: Request<Incoming>,
    kept: &Mutex<BTreeMap<String, Bytes>>,
    fault: Fault,
) -> Response<Body> {
    match fault {
        Fault::Forbidden => return status(StatusCode::FORBIDDEN),
        Fault::Failing => return status(StatusCode::INTERNAL_SERVER_ERROR),
        Fault::Mute => tokio::time::sleep(Duration::from_secs(600)).await,
        _ => {}
    }
    let path = request.uri().path().to_owned();
    let name = path.strip_prefix("/ac/").or(path.strip_prefix("/cas/"));
    let Some(name) = name.filter(|name| name.len() == 64) else {
        return status(StatusCode::BAD_REQUEST);
    };
    if request.method() == Method::PUT {
        if !request.headers().contains_key("content-length") {
            return status(StatusCode::LENGTH_REQUIRED);
        }
        let name = name.to_owned();
        let Ok(body) = request.into_body().collect().await else {
            return status(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        if path.starts_with("/cas/") && hex::encode(Sha256::digest(&body)) != name {
            return status(StatusCode::BAD_REQUEST);
        }
        match fault {
            Fault::Hoarding => tokio::time::sleep(Duration::from_secs(600)).await,
            Fault::ReadOnly => return status(StatusCode::FORBIDDEN),
            Fault::Forgetful => {}
            _ => drop(kept.lock().unwrap().insert(path, body)),
        }
        return status(StatusCode::OK);
    }
    let Some(content) = kept.lock().unwrap().get(&path).cloned() else {
        return status(StatusCode::NOT_FOUND);
    };
    if request.method() == Method::HEAD {
        let mut response = status(StatusCode::OK);
        response
            .headers_mut()
            .insert("content-length", content.len().into());
        return response;
    }
    if path.starts_with("/ac/") && fault != Fault::Drip {
        return whole(content);
    }
    match fault {
        Fault::WrongBytes => {
            let mut wrong = content.to_vec();
            let middle = wrong.len() / 2;
            if let Some(byte) = wrong.get_mut(middle) {
                *byte ^= 1;
            }
            whole(wrong.into())
        }
        Fault::Short => whole(content.slice(..content.len() / 2)),
        Fault::Long => whole([content, Bytes::from_static(b"more")].concat().into()),
        Fault::Broken => {
            let half = content.slice(..content.len() / 2);
            let pieces = [
                Ok(Frame::data(half)),
                Err(std::io::Error::other("broken off")),
            ];
            with_length(content.len(), StreamBody::new(stream::iter(pieces)).boxed())
        }
        Fault::Drip => {
            let length = content.len();
            let drops = stream::unfold(content, |mut left| async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                (!left.is_empty()).then(|| {
                    let drop = left.split_to(1);
                    (Ok(Frame::data(drop)), left)
                })
            });
            with_length(
                length,
                BodyExt::boxed(StreamBody::new(Box::pin(drops) as Drops)),
            )
        }
        _ => whole(content),
    }
}

type Drops = std::pin::Pin<
    Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + Sync>,
>;

fn whole(content: Bytes) -> Response<Body> {
    Response::new(full(content))
}

fn with_length(length: usize, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-length", length.into());
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = whole(Bytes::new());
    *response.status_mut() = code;
    response
}

fn full(content: Bytes) -> Body {
    http_body_util::Full::new(content)
        .map_err(|never| match never {})
        .boxed()
}
