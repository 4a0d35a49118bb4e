//! Real servers for tests: an S3-compatible one, and a cache as Bazel's are.
//!
//! For tests only: what cannot go on panics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache;
mod s3;
mod server;

pub use cache::{Cache, Fault};
pub use s3::{ACCESS_KEY, SECRET_KEY, s3};
pub use server::Server;
