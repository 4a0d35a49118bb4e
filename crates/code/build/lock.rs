//! `Cargo.lock`: exactly which packages of others a crate is built with.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// The packages that cargo settled on.
pub struct Lock {
    packages: Vec<Locked>,
}

struct Locked {
    name: String,
    version: String,
    /// SHA-256 of the package as it was published; of a repository, where it came from.
    content: String,
    /// As the file has them: `name`, or `name version` where there are several.
    dependencies: Vec<String>,
}

impl Lock {
    /// Reads the packages of a parsed `Cargo.lock`.
    pub fn read(file: &Table) -> Self {
        let packages = file.get("package").and_then(Value::as_array);
        let packages = packages
            .into_iter()
            .flatten()
            .map(|package| {
                let text = |key| package.get(key).and_then(Value::as_str);
                let dependencies = package.get("dependencies").and_then(Value::as_array);
                Locked {
                    name: text("name")
                        .expect("a locked package has a name")
                        .to_owned(),
                    version: text("version").unwrap_or_default().to_owned(),
                    content: text("checksum")
                        .or(text("source"))
                        .unwrap_or_default()
                        .to_owned(),
                    dependencies: dependencies
                        .into_iter()
                        .flatten()
                        .filter_map(|name| name.as_str().map(str::to_owned))
                        .collect(),
                }
            })
            .collect();
        Self { packages }
    }

    /// All packages that `dependencies` of the package `of` bring with them, themselves included, as `name version
    /// content`, sorted. Cargo.lock does not tell which of them this platform needs: all count.
    pub fn closure(&self, of: &str, dependencies: &[String]) -> BTreeSet<String> {
        let mut covered = BTreeSet::new();
        let user = self.packages.iter().find(|package| package.name == of);
        let mut open: Vec<&Locked> = dependencies
            .iter()
            .filter_map(|name| {
                let exact = user
                    .into_iter()
                    .flat_map(|user| &user.dependencies)
                    .find(|entry| entry.split(' ').next() == Some(name));
                self.find(exact.unwrap_or(name))
            })
            .collect();
        while let Some(package) = open.pop() {
            let Locked {
                name,
                version,
                content,
                ..
            } = package;
            if covered.insert(format!("{name} {version} {content}")) {
                open.extend(
                    package
                        .dependencies
                        .iter()
                        .filter_map(|entry| self.find(entry)),
                );
            }
        }
        covered
    }

    /// The package that an entry among dependencies means.
    fn find(&self, entry: &str) -> Option<&Locked> {
        let mut words = entry.split(' ');
        let (name, version) = (words.next()?, words.next());
        self.packages.iter().find(|package| {
            package.name == name && version.is_none_or(|version| package.version == version)
        })
    }
}
