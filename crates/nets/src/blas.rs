//! Matrix products on processors of Arm's first 64-bit generation.
//!
//! libtorch's wheel for aarch64 multiplies matrices with NVPL BLAS, which wants Armv8.1: with more than one thread it counts
//! by an atomic addition (`ldaddal`) that a Raspberry Pi 4 and a Jetson Nano (Armv8.0) do not have, and the process dies of an illegal
//! instruction. With one thread it computes without. All else of libtorch, its convolutions above all, asks the processor
//! first, and keeps its threads.

/// The library, where libtorch was linked to it.
#[cfg(target_arch = "aarch64")]
const NVPL_BLAS: &str = "libnvpl_blas_lp64_gomp.so.0";

/// Leaves the matrix products one thread where the processor has no atomic additions and libtorch is linked to NVPL BLAS.
pub(crate) fn keep_to_what_the_processor_has() {
    #[cfg(target_arch = "aarch64")]
    if !std::arch::is_aarch64_feature_detected!("lse") {
        multiply_in_one_thread();
    }
}

/// Does nothing where NVPL BLAS is not in the process: another libtorch has another library.
#[cfg(target_arch = "aarch64")]
fn multiply_in_one_thread() {
    use libloading::os::unix::{Library, RTLD_NOW};
    // SAFETY: nothing is loaded that is not there, so no initialiser runs.
    let Ok(library) = (unsafe { Library::open(Some(NVPL_BLAS), RTLD_NOW | libc::RTLD_NOLOAD) })
    else {
        return;
    };
    // SAFETY: this is its type in NVPL's reference; it holds for all threads of the process, and libtorch, which sets the
    // number of OpenMP's threads, does not call it.
    if let Ok(set) =
        unsafe { library.get::<extern "C" fn(libc::c_int)>(b"nvpl_blas_set_num_threads\0") }
    {
        set(1);
    }
}

#[cfg(all(test, target_arch = "aarch64"))]
mod tests {
    use libloading::os::unix::{Library, RTLD_NOW};
    use tch::{Device, Kind, Tensor};

    /// On a processor with atomic additions as well, so that it is not only seen by its absence.
    #[test]
    fn matrix_products_keep_to_one_thread_where_they_are_told_to() {
        crate::set_threads(4);
        super::multiply_in_one_thread();
        // SAFETY: nothing is loaded that is not there.
        let blas = unsafe { Library::open(Some(super::NVPL_BLAS), RTLD_NOW | libc::RTLD_NOLOAD) };
        if let Ok(blas) = blas {
            // SAFETY: this is its type in NVPL's reference.
            let threads = unsafe {
                blas.get::<extern "C" fn() -> libc::c_int>(b"nvpl_blas_get_max_threads\0")
            };
            assert_eq!(threads.unwrap()(), 1);
        }
        assert_eq!(tch::get_num_threads(), 4);
        // Large enough that it would be split among threads: on an Armv8.0 processor the process would end here.
        let ones = Tensor::ones([300, 600], (Kind::Float, Device::Cpu));
        let product = ones.matmul(&ones.tr());
        assert_eq!(product.min().double_value(&[]), 600.0);
        assert_eq!(product.max().double_value(&[]), 600.0);
    }
}
