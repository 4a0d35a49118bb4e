//! `remote:` of a pipeline file.

use serde_json::Value;

use super::{At, Reader};
use crate::file::RemoteEntry;
use crate::yaml::Content;

impl Reader<'_> {
    pub(super) fn remote(&mut self, at: At<'_>) -> Option<RemoteEntry> {
        if at.is_null() {
            return None;
        }
        let keys = self.mapping(at, "a mapping with `url`, `mode` and `trust`")?;
        self.known_keys(keys, at.path, &["url", "mode", "trust"]);
        let address = "an address: `s3://BUCKET/PREFIX`, `https://HOST/PATH` or a folder";
        let Some(url) = at.node.get("url") else {
            self.missing(at.spot, "remote.url", address);
            return None;
        };
        let text = match At::below(url, "remote.url").text() {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => {
                self.shape(At::below(url, "remote.url"), address);
                return None;
            }
        };
        let mut entry = RemoteEntry {
            url: (text, self.pipeline.place(url.spot)),
            read_only: None,
            trust: Vec::new(),
        };
        if let Some(mode) = at.node.get("mode") {
            let at = At::below(mode, "remote.mode");
            match at.text() {
                Some("read") => entry.read_only = Some(true),
                Some("read-write") => entry.read_only = Some(false),
                _ => self.shape(at, "`read` or `read-write`"),
            }
        }
        if let Some(trust) = at.node.get("trust") {
            let at = At::below(trust, "remote.trust");
            let expected = "a list of public keys, as `fedact remote keygen` prints them";
            match &trust.value.content {
                Content::List(keys) if !keys.is_empty() => {
                    for key in keys {
                        match &key.content {
                            Content::Scalar(Value::String(text)) => entry
                                .trust
                                .push((text.clone(), self.pipeline.place(key.spot))),
                            _ => self.shape(
                                At {
                                    node: key,
                                    spot: key.spot,
                                    ..at
                                },
                                "a public key",
                            ),
                        }
                    }
                }
                // Nobody would be believed, or everybody: whoever means either writes it otherwise.
                _ => self.shape(at, expected),
            }
        }
        Some(entry)
    }
}
