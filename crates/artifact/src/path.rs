//! Paths within an artifact, and the targets of links there.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ArtifactError;

/// A path relative to the root of an artifact, in its only spelling: no `.`, no `..`, no doubled or
/// trailing slash. Any bytes that a file name may have are kept, UTF-8 or not.
///
/// In JSON it is a string where it is UTF-8, and `{"hex": "..."}` where it is not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Checks a relative path.
    ///
    /// # Errors
    /// Says why an artifact cannot contain it.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, ArtifactError> {
        let path = path.as_ref();
        match fault(path) {
            None => Ok(Self(path.as_os_str().as_bytes().to_vec())),
            Some(reason) => Err(ArtifactError::InvalidPath {
                path: path.to_string_lossy().into_owned(),
                reason,
            }),
        }
    }

    /// A path made of names that the system listed.
    pub(crate) fn of_listed(path: Vec<u8>) -> Self {
        debug_assert!(fault(Path::new(OsStr::from_bytes(&path))).is_none());
        Self(path)
    }

    /// The same as [`EntryPath::new`] from bytes.
    pub(crate) fn from_bytes(path: &[u8]) -> Result<Self, ArtifactError> {
        Self::new(Path::new(OsStr::from_bytes(path)))
    }

    /// As a path to join to a folder.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its bytes; manifests are sorted by them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The folders that it lies in, from the root down, without itself.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(index, _)| &self.0[..index])
    }
}

fn fault(path: &Path) -> Option<&'static str> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Some("is empty");
    }
    if bytes.contains(&0) {
        return Some("contains a zero byte");
    }
    for component in path.components() {
        match component {
            Component::Normal(_) => {}
            Component::ParentDir => return Some("leaves the artifact (`..`)"),
            Component::RootDir | Component::Prefix(_) => return Some("is absolute"),
            Component::CurDir => return Some("contains `.`"),
        }
    }
    // `components` forgives doubled and trailing slashes and inner dots: two spellings of one path.
    let spelled: PathBuf = path.components().collect();
    (spelled.as_os_str().as_bytes() != bytes).then_some("is not in its shortest spelling")
}

impl std::fmt::Display for EntryPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_path().display())
    }
}

impl std::fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_path())
    }
}

impl Serialize for EntryPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text::from_bytes(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EntryPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = Text::deserialize(deserializer)?.into_path();
        Self::new(path).map_err(serde::de::Error::custom)
    }
}

/// Where a symbolic link points: any bytes, absolute or relative.
///
/// In JSON like [`EntryPath`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkTarget(Vec<u8>);

impl LinkTarget {
    /// The target as `readlink` gives it.
    pub fn new(target: impl AsRef<Path>) -> Self {
        Self(target.as_ref().as_os_str().as_bytes().to_vec())
    }

    /// The same from bytes.
    pub(crate) fn from_bytes(target: &[u8]) -> Self {
        Self(target.to_vec())
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether, read from the link at `path`, it stays in the artifact. Counts names only: a `..`
    /// that would climb out through another link does so by that link's own target.
    pub(crate) fn stays_inside(&self, path: &EntryPath) -> bool {
        if self.0.is_empty() || self.0.contains(&0) {
            return false;
        }
        let mut depth = path.parents().count();
        for component in self.as_path().components() {
            match component {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return false,
                },
                Component::RootDir | Component::Prefix(_) => return false,
            }
        }
        true
    }
}

impl std::fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_path().display())
    }
}

impl std::fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_path())
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text::from_bytes(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(Text::deserialize(deserializer)?.into_path()))
    }
}

/// Bytes in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes {
        #[serde(with = "hex")]
        hex: Vec<u8>,
    },
}

impl Text {
    fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.to_owned()),
            Err(_) => Self::Bytes {
                hex: bytes.to_vec(),
            },
        }
    }

    fn into_path(self) -> PathBuf {
        match self {
            Self::Plain(text) => PathBuf::from(text),
            Self::Bytes { hex } => PathBuf::from(std::ffi::OsString::from_vec(hex)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_artifact_or_have_two_spellings_are_refused() {
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
        ] {
            assert!(EntryPath::new(path).is_err(), "{path:?}");
        }
        for path in [
            "a",
            "a/b",
            "...",
            "..a",
            "a..",
            " ",
            "a b\n\t\"'\\",
            "ünï/çødé",
            "-rf",
            "*",
        ] {
            assert_eq!(EntryPath::new(path).unwrap().as_path(), Path::new(path));
        }
    }

    #[test]
    fn links_are_followed_by_name_from_where_they_stand() {
        let inside = |path: &str, target: &str| {
            LinkTarget::new(target).stays_inside(&EntryPath::new(path).unwrap())
        };
        assert!(inside("a", "b"));
        assert!(inside("a/b/c", "../../d"));
        assert!(inside("a/b", "./../a/./x"));
        assert!(!inside("a", "../b"));
        assert!(!inside("a/b", "../../c"));
        assert!(!inside("a/b", "x/../../../c/d"));
        assert!(!inside("a", "/etc/passwd"));
        assert!(!inside("a", ""));
    }

    #[test]
    fn names_that_are_no_text_survive_json() {
        let odd = EntryPath::new(OsStr::from_bytes(b"caf\xe9/\xff")).unwrap();
        let json = serde_json::to_string(&odd).unwrap();
        assert_eq!(json, r#"{"hex":"636166e92fff"}"#);
        assert_eq!(serde_json::from_str::<EntryPath>(&json).unwrap(), odd);
        let hostile = r#"{"hex":"2e2e2f78"}"#;
        assert!(serde_json::from_str::<EntryPath>(hostile).is_err());
    }
}
