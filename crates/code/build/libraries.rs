//! The versions of the libraries that are no crates.

use std::path::PathBuf;
use std::process::Command;

/// From the headers that the bindings are compiled against.
pub fn libtorch() -> String {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let folder = std::env::var_os("LIBTORCH_INCLUDE")
        .or_else(|| std::env::var_os("LIBTORCH"))
        .map(PathBuf::from)
        .expect("LIBTORCH is not set; run scripts/setup.sh, which sets it for cargo");
    let header = [
        "headeronly/version.h",
        "version.h",
        "csrc/api/include/torch/version.h",
    ]
    .into_iter()
    .map(|file| folder.join("include/torch").join(file))
    .find(|file| file.is_file())
    .unwrap_or_else(|| panic!("{} has no include/torch/version.h", folder.display()));
    println!("cargo::rerun-if-changed={}", header.display());
    let text = std::fs::read_to_string(&header).expect("the header can be read");
    let number = |part: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix("#define TORCH_VERSION_")?
                    .strip_prefix(part)
            })
            .map(str::trim)
            .unwrap_or_else(|| panic!("{} has no TORCH_VERSION_{part}", header.display()))
            .to_owned()
    };
    format!(
        "{}.{}.{}",
        number("MAJOR"),
        number("MINOR"),
        number("PATCH")
    )
}

/// From pkg-config, as the bindings find FFmpeg.
pub fn ffmpeg() -> String {
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    let ask = |arguments: &[&str]| {
        let output = Command::new("pkg-config").args(arguments).output();
        let output = output.expect("pkg-config is missing; run scripts/setup.sh");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let versions = [
        "libavcodec",
        "libavformat",
        "libavfilter",
        "libavutil",
        "libswscale",
    ]
    .map(|library| {
        let folder = ask(&["--variable=pcfiledir", library]);
        println!("cargo::rerun-if-changed={folder}/{library}.pc");
        format!("{library} {}", ask(&["--modversion", library]))
    });
    versions.join(", ")
}
