//! Batches in a reproducible order, prepared on threads of their own while the network computes.

use std::sync::mpsc::sync_channel;

use fedact_clips::{ClipSet, Encoding};
use fedact_recipe::Augmentation;
use rand::seq::SliceRandom;
use tch::{Device, Tensor};

use super::augment::{View, mirrored_labels};
use super::normalise::Normalisation;
use crate::device::send;
use crate::random::{Purpose, key, stream};
use crate::{InputGeometry, ModelInfo, NetsError};

/// How many finished batches wait for the network.
const PREFETCHED: usize = 2;

/// Clips as a network takes them.
#[derive(Debug)]
pub struct Batch {
    /// Normalised, \[clips, 3, frames, height, width\].
    pub clips: Tensor,
    /// \[clips\], i64.
    pub labels: Tensor,
    /// Index in the clip set of each row.
    pub indices: Vec<usize>,
}

/// What becomes of the clips that do not fill a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remainder {
    /// They make a smaller batch; a single one joins the batch before, because a batch of one takes a
    /// slow path of libtorch's 3-D convolution.
    Keep,
    /// They are left out of the epoch.
    Drop,
}

/// How batches are made.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderSettings {
    /// Clips in a batch.
    pub batch_size: usize,
    /// Clips come in another order each epoch, by the seed; else in the order given.
    pub shuffle: bool,
    /// What becomes of the clips that do not fill a batch.
    pub remainder: Remainder,
    /// Random views; `None` shows the clips as they are stored.
    pub augmentation: Option<Augmentation>,
    /// Order and views depend on it, on the epoch and (views) on the clip's id, and on nothing else.
    pub seed: u64,
    /// See [`ModelInfo::mean`].
    pub mean: [f64; 3],
    /// See [`ModelInfo::std`].
    pub std: [f64; 3],
    /// Where the tensors are to be.
    pub device: Device,
}

impl LoaderSettings {
    /// Every clip once, as it is stored, in the order given, on the CPU.
    pub fn in_order(batch_size: usize, info: &ModelInfo) -> Self {
        Self {
            batch_size,
            shuffle: false,
            remainder: Remainder::Keep,
            augmentation: None,
            seed: 0,
            mean: info.mean,
            std: info.std,
            device: Device::Cpu,
        }
    }

    /// For training: shuffled, augmented, full batches only, on the CPU.
    pub fn training(
        batch_size: usize,
        seed: u64,
        augmentation: Augmentation,
        info: &ModelInfo,
    ) -> Self {
        Self {
            shuffle: true,
            remainder: Remainder::Drop,
            augmentation: Some(augmentation),
            seed,
            ..Self::in_order(batch_size, info)
        }
    }
}

/// Batches of some of a clip set's clips.
#[derive(Debug)]
pub struct Loader<'a> {
    clips: &'a ClipSet,
    indices: &'a [usize],
    settings: LoaderSettings,
    input: InputGeometry,
    normalisation: Normalisation,
    mirrored: Vec<usize>,
    /// How many prepare a batch, each some of its clips.
    threads: usize,
}

/// A batch before it becomes tensors: those are made on the network's thread, so that libtorch does
/// not start a second team of threads for this one.
struct Prepared {
    values: Vec<f32>,
    labels: Vec<i64>,
    indices: Vec<usize>,
}

impl<'a> Loader<'a> {
    /// Batches of the clips at `indices`.
    ///
    /// # Errors
    /// Too few clips for a single batch, a batch size of 0, settings out of range.
    pub fn new(
        clips: &'a ClipSet,
        indices: &'a [usize],
        settings: LoaderSettings,
    ) -> Result<Self, NetsError> {
        let classes = &clips.dataset().classes;
        let mirrored = match &settings.augmentation {
            Some(augmentation) => {
                augmentation.check()?;
                mirrored_labels(augmentation, classes)?
            }
            None => Vec::new(),
        };
        let needed = match settings.remainder {
            Remainder::Keep => 1,
            Remainder::Drop => settings.batch_size,
        };
        if settings.batch_size == 0 || indices.len() < needed {
            return Err(NetsError::Data(format!(
                "{} clips of {} do not make one batch of {}; lower `batch_size` or give more clips",
                indices.len(),
                clips.folder().display(),
                settings.batch_size,
            )));
        }
        Ok(Self {
            // Raw clips are ready sooner than the network, on one thread. What is in a batch does not
            // depend on the number.
            threads: match clips.dataset().encoding {
                Encoding::Raw => 1,
                Encoding::Jpeg { .. } => {
                    usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
                }
            },
            input: InputGeometry::from(clips.dataset()),
            normalisation: Normalisation::new(settings.mean, settings.std),
            clips,
            indices,
            settings,
            mirrored,
        })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        let (full, rest) = (
            self.indices.len() / self.settings.batch_size,
            self.indices.len() % self.settings.batch_size,
        );
        match self.settings.remainder {
            Remainder::Drop => full,
            Remainder::Keep if rest == 0 || (rest == 1 && full > 0) => full,
            Remainder::Keep => full + 1,
        }
    }

    /// Clips in an epoch.
    pub fn samples(&self) -> usize {
        match self.settings.remainder {
            Remainder::Drop => self.batches() * self.settings.batch_size,
            Remainder::Keep => self.indices.len(),
        }
    }

    /// Indices in the clip set of an epoch's clips, batch by batch.
    pub fn order(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut indices = self.indices.to_vec();
        if self.settings.shuffle {
            indices.shuffle(&mut stream(Purpose::Order, self.settings.seed, epoch, 0));
        }
        indices.truncate(self.samples());
        let size = self.settings.batch_size;
        let batches = self.batches();
        (0..batches)
            .map(|batch| {
                let end = if batch + 1 == batches {
                    indices.len()
                } else {
                    (batch + 1) * size
                };
                indices[batch * size..end].to_vec()
            })
            .collect()
    }

    /// Hands an epoch's batches to `each`, one after the other, and prepares those to come on other
    /// threads meanwhile. Stops at the first error.
    ///
    /// # Errors
    /// Those of `each`; clips that are damaged.
    pub fn run<E: From<NetsError>>(
        &self,
        epoch: u64,
        each: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.run_from(epoch, 0, each)
    }

    /// The same without the first `done` batches, which need not be prepared: each is the same
    /// whatever came before it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_from<E: From<NetsError>>(
        &self,
        epoch: u64,
        done: usize,
        mut each: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(PREFETCHED);
            scope.spawn(move || {
                for indices in self.order(epoch).into_iter().skip(done) {
                    let prepared = self.prepare(epoch, indices);
                    let last = prepared.is_err();
                    // The receiver is gone when `each` failed: nobody waits for more.
                    if sender.send(prepared).is_err() || last {
                        return;
                    }
                }
            });
            for prepared in receiver {
                each(self.tensors(prepared?))?;
            }
            Ok(())
        })
    }

    fn prepare(&self, epoch: u64, indices: Vec<usize>) -> Result<Prepared, NetsError> {
        let size = self.input.clip_values();
        let mut values = vec![0.0f32; indices.len() * size];
        let mut labels = vec![0i64; indices.len()];
        let share = indices.len().div_ceil(self.threads).max(1);
        let mut shares = indices
            .chunks(share)
            .zip(values.chunks_mut(share * size))
            .zip(labels.chunks_mut(share));
        std::thread::scope(|scope| {
            // This thread has a share as well.
            let own = shares.next();
            let others: Vec<_> = shares
                .map(|((indices, values), labels)| {
                    scope.spawn(move || self.fill(epoch, indices, values, labels))
                })
                .collect();
            if let Some(((indices, values), labels)) = own {
                self.fill(epoch, indices, values, labels)?;
            }
            others.into_iter().try_for_each(|other| {
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        Ok(Prepared {
            values,
            labels,
            indices,
        })
    }

    /// Writes the clips at `indices` as numbers, one after the other, and their labels.
    fn fill(
        &self,
        epoch: u64,
        indices: &[usize],
        values: &mut [f32],
        labels: &mut [i64],
    ) -> Result<(), NetsError> {
        let mut room = Vec::new();
        let clips = values.chunks_exact_mut(self.input.clip_values());
        for ((index, planes), label) in indices.iter().zip(clips).zip(labels) {
            let pixels = self.clips.pixels(*index, &mut room)?;
            let mut class = self.clips.label(*index);
            if let Some(augmentation) = &self.settings.augmentation {
                let (seed, id) = (self.settings.seed, self.clips.clip(*index)?.id);
                let mut random = stream(Purpose::Augmentation, seed, epoch, key(&id));
                let view = View::draw(augmentation, self.input, &mut random);
                if view.mirrored {
                    class = self.mirrored[class];
                }
                view.write(pixels, self.input, &self.normalisation, planes);
            } else {
                self.normalisation.write(pixels, planes);
            }
            *label = class as i64;
        }
        Ok(())
    }

    fn tensors(&self, prepared: Prepared) -> Batch {
        let shape = self.input.batch_shape(prepared.indices.len());
        let device = self.settings.device;
        Batch {
            clips: send(&Tensor::from_slice(&prepared.values).reshape(shape), device),
            labels: send(&Tensor::from_slice(&prepared.labels), device),
            indices: prepared.indices,
        }
    }
}
