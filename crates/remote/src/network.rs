//! Remotes on the network, through `object_store`: S3 and compatible servers, and HTTP caches.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    RetryConfig,
};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::runtime::Runtime;

use crate::blobs::{BlobName, Blobs};
use crate::{Limits, RemoteError, transfer};

/// Blobs up to this size go in one request, others in parts of it where the server can. 5 MiB is the least
/// that S3 allows for a part, 10,000 the most parts.
const PART: u64 = 16 << 20;
/// A request that failed is tried so many times more, if the limits leave time for it.
const RETRIES: usize = 3;

/// Who asks, and where an S3 server is. Read from the environment by whoever may.
#[derive(Clone, Default)]
pub struct Access {
    /// The `AWS_*` variables that the AWS tools read: keys, region, endpoint, web identity.
    pub aws: BTreeMap<String, String>,
    /// A token for an HTTP cache, sent as `Authorization: Bearer`.
    pub bearer: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.aws.keys().collect();
        write!(f, "Access {{ aws: {names:?} }}")
    }
}

/// A server, and the runtime that speaks with it.
pub(crate) struct Network {
    server: Arc<dyn ObjectStore>,
    runtime: Runtime,
    place: String,
    prefix: Path,
    limits: Limits,
    spool: PathBuf,
    /// Whether a blob may come in parts.
    parts: bool,
}

impl Network {
    /// A bucket. Makes no request.
    pub(crate) fn s3(
        place: String,
        bucket: &str,
        prefix: &str,
        access: &Access,
        limits: Limits,
        spool: &std::path::Path,
    ) -> Result<Self, RemoteError> {
        use_ring();
        let mut builder = AmazonS3Builder::new()
            .with_client_options(client_options(&limits))
            .with_retry(retries(&limits));
        let mut plain = false;
        for (name, value) in &access.aws {
            let name = name.to_ascii_lowercase();
            plain |= name.starts_with("aws_endpoint") && value.starts_with("http://");
            // As the AWS tools do: a variable for something else is left alone.
            if let Ok(key) = AmazonS3ConfigKey::from_str(&name) {
                builder = builder.with_config(key, value);
            }
        }
        if plain {
            // Whoever writes `http://` means it.
            builder = builder.with_allow_http(true);
        }
        let server = builder
            .with_bucket_name(bucket)
            .build()
            .map_err(|error| setup(&place, &error))?;
        Self::new(Arc::new(server), place, prefix, limits, spool, true)
    }

    /// A cache that answers GET, PUT and HEAD. Makes no request.
    pub(crate) fn http(
        place: String,
        url: &str,
        access: &Access,
        limits: Limits,
        spool: &std::path::Path,
    ) -> Result<Self, RemoteError> {
        use_ring();
        let mut url: Url = url.parse().map_err(|error| setup(&place, &error))?;
        let mut options = client_options(&limits).with_allow_http(true);
        if let Some(value) = authorization(&url, access) {
            let mut value = HeaderValue::from_str(&value).map_err(|error| setup(&place, &error))?;
            value.set_sensitive(true);
            options = options.with_default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        // They travel in the header; a URL with them would stand in messages.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let server = HttpBuilder::new()
            .with_url(url.as_str().trim_end_matches('/'))
            .with_client_options(options)
            .with_retry(retries(&limits))
            .build()
            .map_err(|error| setup(&place, &error))?;
        Self::new(Arc::new(server), place, "", limits, spool, false)
    }

    fn new(
        server: Arc<dyn ObjectStore>,
        place: String,
        prefix: &str,
        limits: Limits,
        spool: &std::path::Path,
        parts: bool,
    ) -> Result<Self, RemoteError> {
        let prefix = Path::parse(prefix).map_err(|error| setup(&place, &error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("remote")
            .enable_all()
            .build()
            .map_err(|error| setup(&place, &error))?;
        Ok(Self {
            server,
            runtime,
            place,
            prefix,
            limits,
            spool: spool.to_owned(),
            parts,
        })
    }

    fn path(&self, name: &BlobName) -> Path {
        self.prefix
            .clone()
            .join(name.kind())
            .join(name.digest().to_string())
    }

    /// Waits for an answer that moves so many bytes, but not for ever.
    fn wait<T>(
        &self,
        bytes: u64,
        work: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let limit = self.limits.for_bytes(bytes);
        self.runtime.block_on(async {
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(RemoteError::TooSlow {
                    remote: self.place.clone(),
                    bytes,
                    limit,
                })
            })
        })
    }

    fn failed(&self, act: &'static str) -> impl Fn(object_store::Error) -> RemoteError {
        let remote = self.place.clone();
        move |error| {
            let remote = remote.clone();
            match error {
                object_store::Error::PermissionDenied { .. } => RemoteError::Denied {
                    remote,
                    act,
                    reason: "403 Forbidden".to_owned(),
                },
                object_store::Error::Unauthenticated { .. } => RemoteError::Denied {
                    remote,
                    act,
                    reason: "401 Unauthorized".to_owned(),
                },
                other => RemoteError::Unreachable {
                    remote,
                    reason: innermost(&other),
                },
            }
        }
    }

    fn payload(&self, size: u64, source: &mut dyn Read) -> Result<PutPayload, RemoteError> {
        let reading = |error: io::Error| RemoteError::Setup {
            remote: self.place.clone(),
            reason: format!("what is to be sent cannot be read: {error}"),
        };
        if size <= PART {
            let mut bytes = Vec::with_capacity(size as usize);
            source.take(size).read_to_end(&mut bytes).map_err(reading)?;
            return Ok(Bytes::from(bytes).into());
        }
        // The request needs all of it at once, the memory does not: it is mapped from a file.
        let mut spool = tempfile::tempfile_in(&self.spool).map_err(reading)?;
        io::copy(&mut source.take(size), &mut spool)
            .and_then(|_| spool.rewind())
            .map_err(reading)?;
        // SAFETY: the file has no name, so nobody else can write to it or cut it off.
        let mapped = unsafe { memmap2::Mmap::map(&spool) }.map_err(reading)?;
        Ok(Bytes::from_owner(mapped).into())
    }

    /// Sends the parts of a blob as they are read.
    fn put_parts(&self, path: &Path, size: u64, source: &mut dyn Read) -> Result<(), RemoteError> {
        let failed = self.failed("be written to");
        let mut upload = self.wait(0, async {
            self.server.put_multipart(path).await.map_err(&failed)
        })?;
        let mut send = |upload: &mut Box<dyn MultipartUpload>| -> Result<(), RemoteError> {
            let mut left = size;
            while left > 0 {
                let part = left.min(PART.max(size.div_ceil(10_000)));
                let payload = self.payload(part, source)?;
                self.wait(part, async {
                    upload.put_part(payload).await.map_err(&failed)
                })?;
                left -= part;
            }
            self.wait(0, async { upload.complete().await.map_err(&failed) })?;
            Ok(())
        };
        let sent = send(&mut upload);
        if sent.is_err() {
            // So that the bucket does not keep, and bill, what nobody can see.
            let _ = self.wait(0, async { upload.abort().await.map_err(&failed) });
        }
        sent
    }
}

impl Blobs for Network {
    fn place(&self) -> &str {
        &self.place
    }

    fn has(&self, name: &BlobName) -> Result<bool, RemoteError> {
        let path = self.path(name);
        self.wait(0, async {
            match self.server.head(&path).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(self.failed("be read")(error)),
            }
        })
    }

    fn get(
        &self,
        name: &BlobName,
        most: u64,
        sink: &mut dyn Write,
    ) -> Result<Option<u64>, RemoteError> {
        let path = self.path(name);
        self.wait(most, async {
            let answer = match self.server.get(&path).await {
                Ok(answer) => answer,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(self.failed("be read")(error)),
            };
            let mut pieces = answer.into_stream();
            let mut length = 0;
            while let Some(piece) = pieces.try_next().await.map_err(self.failed("be read"))? {
                length += piece.len() as u64;
                if length > most {
                    return Err(transfer::too_long(&self.place, name, most));
                }
                sink.write_all(&piece).map_err(|error| RemoteError::Setup {
                    remote: self.place.clone(),
                    reason: format!("what it sent cannot be kept: {error}"),
                })?;
            }
            Ok(Some(length))
        })
    }

    fn put(&self, name: &BlobName, size: u64, source: &mut dyn Read) -> Result<(), RemoteError> {
        let path = self.path(name);
        if self.parts && size > PART {
            return self.put_parts(&path, size, source);
        }
        let payload = self.payload(size, source)?;
        self.wait(size, async {
            self.server
                .put(&path, payload)
                .await
                .map(drop)
                .map_err(self.failed("be written to"))
        })
    }
}

/// reqwest is built without a provider of cryptography of its own, so that it is ring and not a second
/// one that needs a C++ compiler. The provider is the process's; one that is set already stays.
fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn client_options(limits: &Limits) -> ClientOptions {
    // The time of a whole request depends on its size, and is limited around it.
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(limits.connect)
        .with_read_timeout(limits.answer)
        .with_user_agent(HeaderValue::from_static("fedact"))
}

fn retries(limits: &Limits) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: limits.answer / 4,
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: limits.answer,
    }
}

fn authorization(url: &Url, access: &Access) -> Option<String> {
    if let Some(token) = &access.bearer {
        return Some(format!("Bearer {token}"));
    }
    let password = url.password()?;
    let pair = format!("{}:{password}", url.username());
    Some(format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    ))
}

fn setup(place: &str, error: &dyn std::error::Error) -> RemoteError {
    RemoteError::Setup {
        remote: place.to_owned(),
        reason: innermost(error),
    }
}

/// What lies at the bottom of an error: "connection refused", and not the ten layers above it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
