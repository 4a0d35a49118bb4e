#!/usr/bin/env bash
# Sets up what `cargo build` needs and does nothing where it is already there:
#
#   1. Debian/Ubuntu packages: a C++ compiler, clang, pkg-config, FFmpeg's development packages; and nats-server,
#      with `--tests`, where there is such a package;
#   2. libtorch 2.11 for the CPU, under .deps/libtorch (git-ignored), unless LIBTORCH or a Python
#      that has torch 2.11 offers one;
#   3. on x86-64, oneDNN 3 under .deps/onednn, which runs quantized models without libtorch and in less time; elsewhere, and
#      where it cannot be had, libtorch runs them;
#   4. .cargo/config.toml (git-ignored), which tells plain `cargo build`, `cargo test` and `cargo run`
#      where both are and puts those places into the binaries, so that they start without
#      LD_LIBRARY_PATH.
#
# x86-64 and aarch64, Debian 12 / Ubuntu 22.04 or newer. Where it may not install, it says what to.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
torch_version=2.11.0

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf 'setup: error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'setup: help: %s\n' "$2" >&2
    exit 1
}

# Sets `sudo` to what a command begins with that must be root's; fails where that may not be had.
as_root() {
    sudo=()
    [ "$(id -u)" -ne 0 ] || return 0
    sudo -n true 2>/dev/null && sudo=(sudo -n)
}

# --- 1. packages -------------------------------------------------------------------------------

packages() {
    local missing=() library
    command -v g++ >/dev/null || missing+=(g++)
    command -v clang >/dev/null || missing+=(clang)
    command -v python3 >/dev/null || missing+=(python3)
    if command -v pkg-config >/dev/null; then
        for library in avcodec avformat avutil avfilter swscale; do
            pkg-config --exists "lib$library" || missing+=("lib$library-dev")
        done
    else
        missing+=(pkg-config libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libswscale-dev)
    fi
    # pip is only needed to fetch libtorch; a Python without it is complete otherwise.
    if ! usable_libtorch >/dev/null && command -v python3 >/dev/null && ! python3 -m pip --version >/dev/null 2>&1; then
        missing+=(python3-pip)
    fi
    [ ${#missing[@]} -gt 0 ] || return 0

    local install="apt-get install -y --no-install-recommends ${missing[*]}"
    command -v apt-get >/dev/null || fail "these are missing: ${missing[*]} (names as in Debian)" \
        "install them with your system's package manager, then run this again"
    local sudo
    as_root || fail "may not install packages: neither root nor password-less sudo" \
        "run: sudo apt-get update && sudo $install"
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { "${sudo[@]}" apt-get update -qq && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive $install; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        fail "installing the packages failed (last lines above, all of it in $log)" "run: sudo apt-get update && sudo $install"
    fi
    rm -f "$log"
}

# What only tests need, and say so where it is missing; older systems have no such package.
packages_for_tests() {
    [ -z "$(command -v nats-server)" ] && [ ! -x /usr/sbin/nats-server ] || return 0
    command -v apt-cache >/dev/null && apt-cache show nats-server >/dev/null 2>&1 || return 0
    local sudo
    as_root || return 0
    say "installing nats-server, for tests"
    if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nats-server >/dev/null 2>&1 </dev/null; then
        say "nats-server cannot be installed; tests of the fleet will be skipped"
        return 0
    fi
    # The package starts a server that is open to everybody; tests start their own.
    ! command -v systemctl >/dev/null || "${sudo[@]}" systemctl disable --now nats-server >/dev/null 2>&1 || true
}

# --- 2. libtorch -------------------------------------------------------------------------------

# The version that a libtorch folder says it has.
version_of() {
    local header=$1/include/torch/headeronly/version.h part
    [ -f "$header" ] && [ -f "$1/lib/libtorch_cpu.so" ] || return 1
    for part in MAJOR MINOR PATCH; do
        sed -n "s/^#define TORCH_VERSION_$part \([0-9]*\).*/\1/p" "$header"
    done | paste -sd.
}

# The torch package of the Python on the path, found without importing it (which takes seconds).
python_torch() {
    command -v python3 >/dev/null || return 1
    python3 -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0]) if s else exit(1)' 2>/dev/null
}

# Prints the first libtorch of the right version: LIBTORCH, what an earlier set-up left, Python's.
usable_libtorch() {
    if [ -n "${LIBTORCH:-}" ]; then
        local found
        found=$(version_of "$LIBTORCH") || fail "LIBTORCH=$LIBTORCH holds no libtorch (include/torch/headeronly/version.h, lib/libtorch_cpu.so)" \
            "point it at one of version $torch_version, or unset it"
        [ "$found" = "$torch_version" ] || fail "LIBTORCH=$LIBTORCH is version $found, but tch 0.24 wants $torch_version" \
            "point it at $torch_version, or unset it"
        (cd "$LIBTORCH" && pwd)
        return 0
    fi
    local place
    for place in "$root/.deps/libtorch" "$(python_torch || true)"; do
        if [ -n "$place" ] && [ "$(version_of "$place" || true)" = "$torch_version" ]; then
            echo "$place"
            return 0
        fi
    done
    return 1
}

# SHA-256 of every wheel, by architecture. libtorch_cpu.so of these wheels needs two of CUDA's small
# libraries to be present even on a machine without a GPU.
requirements() {
    case "$1" in
    x86_64) cat <<END
torch==$torch_version --hash=sha256:7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
END
        ;;
    aarch64) cat <<END
torch==$torch_version --hash=sha256:d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6
nvidia-cuda-runtime==13.0.96 --hash=sha256:ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
nvidia-cuda-cupti==13.0.85 --hash=sha256:796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151
END
        ;;
    *) fail "no libtorch is known for the architecture $1" \
        "install libtorch $torch_version yourself and set LIBTORCH to its folder" ;;
    esac
}

# Downloads the wheels that requirements.txt in the folder names.
download() {
    local machine
    machine=$(uname -m)
    python3 -m pip download --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --implementation cp --python-version 3.11 \
        --platform "manylinux_2_28_$machine" --platform "manylinux_2_25_$machine" \
        --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" --platform "manylinux1_$machine" \
        --dest "$1" -r "$1/requirements.txt" >&2
}

fetch_libtorch() {
    local machine work free
    machine=$(uname -m)
    mkdir -p .deps
    free=$(df -Pk .deps | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge 2500 ] || fail "libtorch needs 2.5 GB while it is unpacked; $root/.deps has $free MB free" "make room"
    exec 9>.deps/lock
    flock 9 # a second set-up waits here, and then finds the work done
    if usable_libtorch >/dev/null; then
        return 0
    fi
    rm -rf .deps/unpacking-* # left by a set-up that was killed
    work=$(mktemp -d "$root/.deps/unpacking-XXXXXX")
    trap "rm -rf '$work'" EXIT

    say "downloading libtorch $torch_version ($machine, about 0.5 GB)"
    requirements "$machine" >"$work/requirements.txt"
    download "$work" ||
        fail "libtorch could not be downloaded with pip (message above)" \
            "check the network, or set LIBTORCH to a libtorch $torch_version"

    say "unpacking"
    python3 - "$work" <<'END'
import pathlib, sys, zipfile

work = pathlib.Path(sys.argv[1])
# What only CUDA, Python or multi-process training needs. libtorch.so pulls in CUDA; a stub replaces it.
LEFT_OUT = ("libtorch.so", "libtorch_cuda", "libc10_cuda", "libcaffe2_nvrtc", "libtorch_python",
            "libtorch_nvshmem", "libtorch_global_deps", "libshm")

def unpack(archive, member, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as sink:
        while block := source.read(1 << 20):
            sink.write(block)

for wheel in work.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = pathlib.PurePosixPath(member)
            if member.startswith("torch/include/") and not member.endswith("/"):
                unpack(archive, member, work / "libtorch" / path.relative_to("torch"))
            elif member.startswith("torch/lib/") and ".so" in path.name and not path.name.startswith(LEFT_OUT):
                unpack(archive, member, work / "libtorch/lib" / path.name)
            elif path.name in ("libcudart.so.13", "libcupti.so.13"):
                unpack(archive, member, work / "libtorch/lib" / path.name)
END
    echo '' | g++ -shared -o "$work/libtorch/lib/libtorch.so" -xc - -L"$work/libtorch/lib" \
        -Wl,--no-as-needed -ltorch_cpu -Wl,-soname,libtorch.so -Wl,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined
    rm -rf .deps/libtorch
    mv "$work/libtorch" .deps/libtorch
}

# --- 3. oneDNN ---------------------------------------------------------------------------------

onednn=$root/.deps/onednn/libdnnl.so.3

# Nothing fails without it, and it is tried once. The wheel is that of OpenMP, which libtorch has as well.
fetch_onednn() {
    [ "$(uname -m)" = x86_64 ] && [ ! -d "${onednn%/*}" ] || return 0
    local work
    mkdir -p .deps
    exec 9>.deps/lock
    flock 9
    [ ! -d "${onednn%/*}" ] || return 0
    rm -rf .deps/unpacking-*
    work=$(mktemp -d "$root/.deps/unpacking-XXXXXX")
    echo 'onednn-cpu-gomp==2023.2.0 --hash=sha256:2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb' \
        >"$work/requirements.txt"
    say "downloading oneDNN (39 MB)"
    mkdir "$work/onednn"
    if ! { download "$work" && (cd "$work" && python3 -m zipfile -e ./*.whl .) &&
        mv "$work"/*/data/lib/libdnnl.so.3 "$work/onednn"; }; then
        say "oneDNN could not be had; libtorch will run quantized models, in about half again the time (remove .deps/onednn to try again)"
    fi
    mv "$work/onednn" "${onednn%/*}"
    rm -rf "$work"
    flock -u 9
}

# --- 4. cargo ----------------------------------------------------------------------------------

configure_cargo() {
    local libtorch=$1 wanted named=
    [ ! -f "$onednn" ] || named="
FEDACT_ONEDNN = \"$onednn\""
    [ -z "${RUSTFLAGS:-}" ] || say "RUSTFLAGS overrides .cargo/config.toml: add -C link-arg=-Wl,-rpath,$libtorch/lib to it"
    wanted=$(cat <<END
# Written by scripts/setup.sh; not for editing.
[env]
LIBTORCH = { value = "$libtorch", force = true }$named

[build]
rustflags = ["-C", "link-arg=-Wl,-rpath,$libtorch/lib"]
END
    )
    # Left untouched where it is right: cargo rebuilds everything when the flags change.
    if [ "$(cat .cargo/config.toml 2>/dev/null)" != "$wanted" ]; then
        mkdir -p .cargo
        printf '%s\n' "$wanted" >.cargo/config.toml
        say "libtorch $torch_version: $libtorch"
    fi
}

command -v cargo >/dev/null || fail "cargo is missing" \
    "install Rust 1.89 or newer with rustup (Debian's own package is too old), then run this again"
packages
[ "${1:-}" != --tests ] || packages_for_tests
if ! libtorch=$(usable_libtorch); then
    # A wrong LIBTORCH has been explained already; anything else means that there is none yet.
    [ -z "${LIBTORCH:-}" ] || exit 1
    fetch_libtorch
    libtorch=$root/.deps/libtorch
fi
fetch_onednn
configure_cargo "$libtorch"
