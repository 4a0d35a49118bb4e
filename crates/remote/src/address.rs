//! Where a remote is: `s3://BUCKET/PREFIX`, `http(s)://HOST/PATH`, or a folder.

use std::path::PathBuf;
use std::str::FromStr;

use crate::RemoteError;

/// The address of a remote.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A bucket of an S3 or compatible server; which server, and who asks, stand in [`crate::Access`].
    S3 {
        /// The bucket.
        bucket: String,
        /// What all names begin with; may be empty.
        prefix: String,
    },
    /// A server that keeps what is PUT and gives it back on GET.
    Http {
        /// The URL, with user and password where it has them.
        url: String,
    },
    /// A folder.
    Folder {
        /// Its path.
        path: PathBuf,
    },
}

impl FromStr for Address {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let refuse = |reason: &str| {
            Err(RemoteError::Address {
                address: without_password(text),
                reason: reason.to_owned(),
            })
        };
        if text.trim().is_empty() {
            return refuse("it is empty");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder { path: text.into() });
        };
        match scheme {
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return refuse("it names no bucket");
                }
                Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    prefix: prefix.trim_matches('/').to_owned(),
                })
            }
            "http" | "https" if rest.trim_matches('/').is_empty() => refuse("it names no host"),
            "http" | "https" => Ok(Self::Http {
                url: text.to_owned(),
            }),
            "file" if rest.starts_with('/') => Ok(Self::Folder { path: rest.into() }),
            "file" => refuse("the path of a `file:` address is absolute: `file:///PATH`"),
            _ => refuse(&format!("`{scheme}` is not known")),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Http { url } => f.write_str(&without_password(url)),
            Self::Folder { path } => write!(f, "{}", path.display()),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The address with `***` for the password, for messages.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}{path}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_kind_of_place_it_is() {
        let parse = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(
            parse("s3://models/fedact/cache/"),
            Address::S3 {
                bucket: "models".into(),
                prefix: "fedact/cache".into()
            }
        );
        assert_eq!(parse("s3://models").to_string(), "s3://models");
        assert!(matches!(
            parse("https://cache.example/x"),
            Address::Http { .. }
        ));
        for folder in ["/mnt/cache", "file:///mnt/cache"] {
            assert_eq!(
                parse(folder),
                Address::Folder {
                    path: "/mnt/cache".into()
                }
            );
        }
        assert_eq!(
            parse("shared/cache"),
            Address::Folder {
                path: "shared/cache".into()
            }
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_would_be_one() {
        for text in [
            "",
            "s3://",
            "s3:///prefix",
            "https://",
            "ftp://host/x",
            "file://x",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("s3://BUCKET/PREFIX"), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let address: Address = "https://ci:hunter2@cache.example/x@y".parse().unwrap();
        for shown in [address.to_string(), format!("{address:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("ci:***@cache.example/x@y"), "{shown}");
        }
        let error = "ftp://ci:hunter2@host/".parse::<Address>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
