//! Where to compute.

use std::path::{Path, PathBuf};

use fedact_recipe::ComputeDevice;
use tch::{Cuda, Device, Tensor};

use crate::NetsError;

/// The file of libtorch that has the part for CUDA.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// The device that a recipe names.
///
/// # Errors
/// As [`gpu`].
pub fn device(named: ComputeDevice) -> Result<Device, NetsError> {
    match named {
        ComputeDevice::Cpu => Ok(Device::Cpu),
        ComputeDevice::Cuda => gpu(),
    }
}

/// The first GPU of this machine. libtorch's part for CUDA is loaded where it lies beside the part that this program is
/// linked to; the program itself is the same with and without.
///
/// Call it before anything that asks libtorch for a GPU: what it answers once, it answers for ever.
///
/// # Errors
/// [`NetsError::Device`] where libtorch has no such part, or finds no GPU.
pub fn gpu() -> Result<Device, NetsError> {
    if loaded_from(CUDA_LIBRARY).is_none() {
        load(&beside_libtorch()?)?;
    }
    if Cuda::is_available() {
        return Ok(Device::Cuda(0));
    }
    Err(NetsError::Device(
        "libtorch finds no GPU that it can use; see `nvidia-smi`, or set `device: cpu`".to_owned(),
    ))
}

/// Where the part for CUDA would be.
fn beside_libtorch() -> Result<PathBuf, NetsError> {
    let libtorch = loaded_from("libtorch_cpu.so").ok_or_else(|| {
        NetsError::Device(
            "it is not known from where libtorch was loaded, so that its part for CUDA cannot be found; set \
             `device: cpu`"
                .to_owned(),
        )
    })?;
    Ok(libtorch.with_file_name(CUDA_LIBRARY))
}

/// The path of a library of this process.
fn loaded_from(library: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    // The sixth field is the path, which may have spaces in it.
    let mut paths = maps
        .lines()
        .filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    let path = paths.find(|path| path.file_name().is_some_and(|name| name == library));
    path.map(Path::to_owned)
}

/// Loads it for the rest of the process: what it registers with libtorch must not go away.
fn load(library: &Path) -> Result<(), NetsError> {
    if !library.is_file() {
        return Err(NetsError::Device(format!(
            "this libtorch computes on the CPU alone: {} is not there. Set `device: cpu`, or LIBTORCH to a libtorch of \
             the same version with CUDA and build again",
            library.display()
        )));
    }
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: its initialisers register kernels with the libtorch beside it, which is loaded.
    let loaded = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) };
    let loaded = loaded.map_err(|error| {
        NetsError::Device(format!(
            "{} cannot be loaded: {error}. Set `device: cpu`, or mend the installation of CUDA",
            library.display()
        ))
    })?;
    std::mem::forget(loaded);
    Ok(())
}

/// The same tensor on another device. To a GPU it goes from memory that the system keeps in place, and the call does not
/// wait for it.
pub(crate) fn send(tensor: &Tensor, device: Device) -> Tensor {
    if device == Device::Cpu {
        return tensor.shallow_clone();
    }
    let pinned = tensor.pin_memory(device);
    pinned.to_device_(device, pinned.kind(), true, false)
}

/// Whether the processor multiplies numbers of bfloat16 itself. Without, the same results take longer than in 32 bits.
pub fn multiplies_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("bf16")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

/// Whether the processor adds products of bytes in 32 bits. oneDNN's kernels for x86 without VNNI add pairs of them in
/// 16, where the largest sums are cut off: up to half of a convolution's result is lost where all bytes are at their ends.
pub fn sums_bytes_in_32_bits() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vnni")
            || std::arch::is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libtorch_without_cuda_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join(CUDA_LIBRARY);
        let text = load(&library).unwrap_err().to_string();
        assert!(text.contains(&library.display().to_string()), "{text}");
        assert!(
            text.contains("device: cpu") && text.contains("LIBTORCH"),
            "{text}"
        );
        std::fs::write(&library, "no library").unwrap();
        let text = load(&library).unwrap_err().to_string();
        assert!(text.contains("cannot be loaded"), "{text}");
    }

    #[test]
    fn the_library_is_looked_for_where_libtorch_was_loaded_from() {
        let _ = tch::get_num_threads();
        let path = beside_libtorch().unwrap();
        assert!(
            path.with_file_name("libtorch_cpu.so").is_file(),
            "{}",
            path.display()
        );
    }
}
