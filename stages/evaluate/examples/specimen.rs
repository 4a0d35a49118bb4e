//! Writes a report made by hand, to look at: `cargo run -p fedact-evaluate --example specimen -- OUT.html`.

#[path = "../tests/specimen/mod.rs"]
mod specimen;

fn main() -> std::io::Result<()> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "specimen.html".into());
    std::fs::write(path, specimen::report().html())
}
