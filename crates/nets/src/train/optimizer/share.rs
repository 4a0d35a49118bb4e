//! All variables' memory, parted among threads.

use tch::Kind;

use super::kernel::{Bfloat16, Number, Step, Stretch, squares};
use super::variable::Variable;

/// Numbers that one thread takes at a time. Sums are made of these parts, in their order, so that they do not
/// depend on the number of threads.
const PART: usize = 1 << 16;

/// Fewer parts than this are not worth a thread of their own.
const PARTS_A_THREAD: usize = 4;

/// The memory of a variable, as addresses. All have `length` numbers.
#[derive(Debug, Clone, Copy)]
struct Memory {
    weights: *mut f32,
    leaf: *mut u8,
    gradients: *const u8,
    first: *mut f32,
    second: *mut f32,
    length: usize,
    kind: Kind,
    copied: bool,
    decay: f64,
}

/// A part of a variable.
#[derive(Debug, Clone, Copy)]
struct Part {
    memory: Memory,
    start: usize,
    length: usize,
}

// SAFETY: a part is the only one that covers its numbers, and the tensors behind the addresses are borrowed mutably
// by whoever parts them, for as long as the threads run.
unsafe impl Send for Part {}
// SAFETY: as above; a part is used by one thread.
unsafe impl Sync for Part {}

/// Whether there is so much to sum that it is worth another order of summation, which changes last bits: those of small
/// networks stay what they always were.
pub(super) fn worthwhile(variables: &[Variable]) -> bool {
    let numbers = variables.iter().map(|variable| variable.tensor.numel());
    numbers.sum::<usize>() > PARTS_A_THREAD * PART
}

/// The square of the norm of all gradients. Every variable must be [`flat`](Variable::flat).
pub(super) fn sum_of_squares(variables: &mut [Variable]) -> f64 {
    let parts = parts(variables);
    let mut sums = vec![0.0; parts.len()];
    let share = share(parts.len());
    std::thread::scope(|scope| {
        let shares = parts.chunks(share).zip(sums.chunks_mut(share));
        each(scope, shares, |(parts, sums)| {
            for (part, sum) in parts.iter().zip(sums) {
                *sum = match part.memory.kind {
                    Kind::BFloat16 => part.squares::<Bfloat16>(),
                    _ => part.squares::<f32>(),
                };
            }
        });
    });
    sums.iter().sum()
}

/// A step of every variable that has a gradient. Every variable must be [`flat`](Variable::flat).
pub(super) fn advance(variables: &mut [Variable], scale: f64, step: Step) {
    let parts = parts(variables);
    let share = share(parts.len());
    std::thread::scope(|scope| {
        each(scope, parts.chunks(share), |parts| {
            for part in parts {
                match part.memory.kind {
                    Kind::BFloat16 => part.advance::<Bfloat16>(scale as f32, step),
                    _ => part.advance::<f32>(scale as f32, step),
                }
            }
        });
    });
}

/// Works on each share, the last one on this thread.
fn each<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    shares: impl Iterator<Item = T>,
    work: impl Fn(T) + Copy + Send + 'scope,
) {
    let mut shares = shares.peekable();
    while let Some(share) = shares.next() {
        if shares.peek().is_none() {
            work(share);
        } else {
            scope.spawn(move || work(share));
        }
    }
}

/// Parts that one thread takes, for as many threads as libtorch computes with.
fn share(parts: usize) -> usize {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    parts.div_ceil(threads.max(1)).max(PARTS_A_THREAD)
}

fn parts(variables: &mut [Variable]) -> Vec<Part> {
    let mut parts = Vec::new();
    for variable in variables {
        let Some(gradient) = &variable.gradient else {
            continue;
        };
        let address = |tensor: &Option<tch::Tensor>| {
            let address = tensor.as_ref().map(|tensor| tensor.data_ptr().cast());
            address.unwrap_or(std::ptr::null_mut())
        };
        let memory = Memory {
            weights: variable.tensor.data_ptr().cast(),
            leaf: variable.leaf.data_ptr().cast(),
            gradients: gradient.data_ptr().cast_const().cast(),
            first: address(&variable.first),
            second: address(&variable.second),
            length: variable.tensor.numel(),
            kind: gradient.kind(),
            copied: variable.copied(),
            decay: variable.decay,
        };
        parts.extend((0..memory.length).step_by(PART).map(|start| Part {
            memory,
            start,
            length: PART.min(memory.length - start),
        }));
    }
    parts
}

impl Part {
    fn squares<G: Number>(&self) -> f64 {
        squares(self.gradients::<G>())
    }

    fn gradients<G: Number>(&self) -> &[G] {
        // SAFETY: the tensor has as many numbers of this kind there, and nothing writes to them meanwhile.
        unsafe {
            let first = self.memory.gradients.cast::<G>().add(self.start);
            std::slice::from_raw_parts(first, self.length)
        }
    }

    fn advance<G: Number>(&self, scale: f32, step: Step) {
        let memory = &self.memory;
        // SAFETY: the tensors have as many numbers of these kinds there, each tensor its own memory (a copy is one that
        // does not share it), and no other part covers them.
        let stretch = unsafe {
            Stretch {
                weights: self.slice(memory.weights),
                gradients: self.gradients::<G>(),
                first: self.slice(memory.first),
                second: self.slice(memory.second),
                copy: memory.copied.then(|| self.slice(memory.leaf.cast::<G>())),
                decay: memory.decay,
                scale,
            }
        };
        stretch.advance(step);
    }

    /// This part of a variable's numbers, none where there is no such tensor.
    ///
    /// # Safety
    /// Nothing else reads or writes them while the slice lives.
    #[allow(clippy::mut_from_ref)] // The memory is the tensor's, not the part's.
    unsafe fn slice<T>(&self, address: *mut T) -> &mut [T] {
        if address.is_null() {
            return &mut [];
        }
        // SAFETY: the caller answers for it; the tensor is at least as long.
        unsafe { std::slice::from_raw_parts_mut(address.add(self.start), self.length) }
    }
}
