//! An S3-compatible server.

use std::path::Path;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use crate::Server;

/// The access key that it knows.
pub const ACCESS_KEY: &str = "AKIAEXAMPLE";
/// The secret that belongs to it.
pub const SECRET_KEY: &str = "example/secret";

/// An S3-compatible server over a folder, which checks signatures of requests (SigV4); each folder in it is a
/// bucket.
pub fn s3(folder: &Path) -> Server {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build().into_shared();
    Server::start(move |socket| {
        let service = service.clone();
        async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service);
            let _ = connection.await;
        }
    })
}
