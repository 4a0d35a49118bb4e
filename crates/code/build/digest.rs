//! The digest of a package's code.
//!
//! | enters | because |
//! | --- | --- |
//! | every file of the package and of the workspace packages that it depends on, with its path | it is what runs |
//! | name, version and checksum of every package of others that these bring with them, as locked | they run too |
//! | how the workspace asks for those packages | features choose what is compiled of them |
//! | `[profile]` and `[patch]` of the root | they change what is made of all of it |
//! | the compiler, the target and its features, the level of optimisation | the last bits of floating point may hang on them |
//!
//! | does not | because |
//! | --- | --- |
//! | tests, benches, examples, READMEs, hidden files | they never reach the compiled crate |
//! | what only tests depend on | the same |
//! | paths outside the workspace, flags of the linker | they are the machine's, and say where, not what |
//! | the versions of libtorch and FFmpeg | they enter the key by themselves, so that a change names them |

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::workspace::Workspace;

/// What compiles the code.
pub struct Toolchain {
    /// What the compiler says of itself.
    pub compiler: String,
    /// As in `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// The instructions that it may use, as in `fxsr,sse,sse2`.
    pub features: String,
    /// As in `2`.
    pub optimisation: String,
}

/// The digest of a package's code in hexadecimal.
pub fn code_digest(workspace: &Workspace, package: &str, toolchain: &Toolchain) -> String {
    let mut covered: BTreeSet<String> = BTreeSet::new();
    let mut external: BTreeSet<String> = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(name) = open.pop() {
        if covered.contains(&name) {
            continue;
        }
        let (own, others): (Vec<String>, Vec<String>) = workspace
            .dependencies(&name)
            .into_iter()
            .partition(|dependency| workspace.has(dependency));
        external.extend(workspace.lock.closure(&name, &others));
        open.extend(own);
        covered.insert(name);
    }

    let mut hasher = Sha256::new();
    let mut feed = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    for name in &covered {
        for (name, path) in workspace.files(name) {
            feed(name.as_bytes());
            feed(&std::fs::read(&path).expect("a source can be read"));
        }
    }
    for locked in &external {
        feed(locked.as_bytes());
        let name = locked.split(' ').next().unwrap_or_default();
        for request in workspace.requests(name) {
            feed(request.as_bytes());
        }
    }
    for table in ["profile", "patch"] {
        feed(
            workspace
                .manifest
                .get(table)
                .map_or(String::new(), toml::Value::to_string)
                .as_bytes(),
        );
    }
    let Toolchain {
        compiler,
        target,
        features,
        optimisation,
    } = toolchain;
    for part in [compiler, target, features, optimisation] {
        feed(part.as_bytes());
    }
    hex::encode(hasher.finalize())
}
