//! Batches in a reproducible order, prepared on threads of their own while the network computes.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use fedact_clips::{ClipSet, Encoding};
use fedact_recipe::{Augmentation, Balance, Normalisation, Views};
use rand::seq::SliceRandom;
use tch::{Device, Tensor};

use super::augment::{View, mirrored_labels, mirrored_shares};
use super::order::{Turn, drawn_equally, inverse_frequencies};
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
    /// The epoch that it belongs to.
    pub epoch: u64,
    /// What a clip of each class counts for in the labels' loss, \[classes\]; `None` where all count alike.
    pub class_weights: Option<Tensor>,
    /// What has been mixed into the clips.
    pub mixed: Option<Mixed>,
    /// How long the network waited for it.
    pub waited: Duration,
}

/// Other clips in a batch's clips: mixup (Zhang et al. 2018, arXiv 1710.09412).
#[derive(Debug)]
pub struct Mixed {
    /// The labels of what was mixed in, \[clips\], i64.
    pub labels: Tensor,
    /// Its share of each clip, in 0..=0.5.
    pub share: f64,
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
    /// What is done about rare classes.
    pub balance: Balance,
    /// Random views; `None` shows the clips as they are stored.
    pub augmentation: Option<Augmentation>,
    /// The view of every clip where `augmentation` is `None`; `None` is the whole picture.
    pub view: Option<View>,
    /// Frames of a clip that the network takes: a window of those that are stored, in their middle but for random views.
    pub frames: usize,
    /// Order and views depend on it, on the epoch and (views) on the clip's id, and on nothing else.
    pub seed: u64,
    /// Views that repeat; `None` shows others in every epoch.
    pub views: Option<Views>,
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
            balance: Balance::None,
            augmentation: None,
            view: None,
            frames: info.input.frames,
            seed: 0,
            views: None,
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
    /// What the network takes.
    input: InputGeometry,
    /// Frames that a clip has.
    stored: usize,
    normalisation: Normalisation,
    /// By class, the class that it becomes in the mirror.
    mirrored: Vec<usize>,
    /// By class, the share of its clips that is mirrored.
    shares: Vec<f64>,
    /// By class, what a clip counts for.
    weights: Option<Vec<f32>>,
    /// How many prepare a batch, each some of its clips.
    threads: usize,
}

/// How many threads prepare a batch; what is in it does not depend on the number.
///
/// A network on the CPU takes longer for a raw clip than one thread does; one on a GPU is much quicker, and leaves the
/// processor's cores idle.
fn preparing_threads(encoding: Encoding, network: Device) -> usize {
    if encoding == Encoding::Raw && network == Device::Cpu {
        return 1;
    }
    usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
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
        let (mirrored, shares) = match &settings.augmentation {
            Some(augmentation) => {
                augmentation.check()?;
                (
                    mirrored_labels(augmentation, classes)?,
                    mirrored_shares(augmentation, classes)?,
                )
            }
            None => (Vec::new(), Vec::new()),
        };
        let stored = InputGeometry::from(clips.dataset());
        if settings.frames == 0 || settings.frames > stored.frames {
            return Err(NetsError::Mismatch(format!(
                "{} frames of each clip are asked for, and those of {} have {}",
                settings.frames,
                clips.folder().display(),
                stored.frames,
            )));
        }
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
            threads: preparing_threads(clips.dataset().encoding, settings.device),
            input: InputGeometry {
                frames: settings.frames,
                ..stored
            },
            stored: stored.frames,
            weights: (settings.balance == Balance::Weights)
                .then(|| inverse_frequencies(indices, |index| clips.label(index), classes.len())),
            normalisation: Normalisation::new(settings.mean, settings.std),
            clips,
            indices,
            settings,
            mirrored,
            shares,
        })
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        self.batches_of(self.indices.len())
    }

    /// Batches that so many clips make.
    fn batches_of(&self, clips: usize) -> usize {
        let (full, rest) = (
            clips / self.settings.batch_size,
            clips % self.settings.batch_size,
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
        let indices = |turns: &[Turn]| turns.iter().map(|turn| turn.index).collect();
        self.batched(&self.turns(epoch)).map(indices).collect()
    }

    /// An epoch's clips in their order, with how often each came before.
    fn turns(&self, epoch: u64) -> Vec<Turn> {
        let random = || stream(Purpose::Order, self.settings.seed, epoch, 0);
        let mut turns: Vec<Turn> = if self.settings.balance == Balance::Sampling {
            drawn_equally(self.indices, |index| self.clips.label(index), &mut random())
        } else {
            self.indices.iter().copied().map(Turn::only).collect()
        };
        if self.settings.shuffle && self.settings.balance != Balance::Sampling {
            turns.shuffle(&mut random());
        }
        turns.truncate(self.samples());
        turns
    }

    /// These clips batch by batch.
    fn batched<'t>(&self, turns: &'t [Turn]) -> impl Iterator<Item = &'t [Turn]> {
        let size = self.settings.batch_size;
        let batches = self.batches_of(turns.len());
        let end = move |batch: usize| match batch + 1 == batches {
            true if self.settings.remainder == Remainder::Keep => turns.len(),
            _ => (batch + 1) * size,
        };
        (0..batches).map(move |batch| &turns[batch * size..end(batch)])
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
        each: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        let samples = self.samples();
        // The last batch may be larger than the others.
        let first = match done < self.batches() {
            true => done * self.settings.batch_size,
            false => samples,
        };
        self.run_within(epoch, first..samples, each)
    }

    /// The same with the clips at these places of the epoch's order, batched from the first of them on. What does not fill a batch
    /// makes one as at the end of an epoch, or is left out ([`Remainder`]).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_within<E: From<NetsError>>(
        &self,
        epoch: u64,
        places: Range<usize>,
        mut each: impl FnMut(Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(PREFETCHED);
            scope.spawn(move || {
                let turns = self.turns(epoch);
                let turns = turns.get(places).unwrap_or_default();
                for turns in self.batched(turns) {
                    let prepared = self.prepare(epoch, turns);
                    let last = prepared.is_err();
                    // The receiver is gone when `each` failed: nobody waits for more.
                    if sender.send(prepared).is_err() || last {
                        return;
                    }
                }
            });
            loop {
                let asked = Instant::now();
                // The sender is gone behind the last batch.
                let Ok(prepared) = receiver.recv() else {
                    return Ok(());
                };
                let waited = asked.elapsed();
                each(self.tensors(epoch, prepared?, waited))?;
            }
        })
    }

    fn prepare(&self, epoch: u64, turns: &[Turn]) -> Result<Prepared, NetsError> {
        let size = self.input.clip_values();
        let mut values = vec![0.0f32; turns.len() * size];
        let mut labels = vec![0i64; turns.len()];
        let share = turns.len().div_ceil(self.threads).max(1);
        let mut shares = turns
            .chunks(share)
            .zip(values.chunks_mut(share * size))
            .zip(labels.chunks_mut(share));
        std::thread::scope(|scope| {
            // This thread has a share as well.
            let own = shares.next();
            let others: Vec<_> = shares
                .map(|((turns, values), labels)| {
                    scope.spawn(move || self.fill(epoch, turns, values, labels))
                })
                .collect();
            if let Some(((turns, values), labels)) = own {
                self.fill(epoch, turns, values, labels)?;
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
            indices: turns.iter().map(|turn| turn.index).collect(),
        })
    }

    /// Writes the clips whose turn it is as numbers, one after the other, and their labels.
    fn fill(
        &self,
        epoch: u64,
        turns: &[Turn],
        values: &mut [f32],
        labels: &mut [i64],
    ) -> Result<(), NetsError> {
        let mut room = Vec::new();
        let clips = values.chunks_exact_mut(self.input.clip_values());
        for ((turn, planes), label) in turns.iter().zip(clips).zip(labels) {
            let pixels = self.clips.pixels(turn.index, &mut room)?;
            let mut class = self.clips.label(turn.index);
            if let Some(augmentation) = &self.settings.augmentation {
                let id = self.clips.clip(turn.index)?.id;
                let (seed, when) = match &self.settings.views {
                    Some(views) => (views.seed, views.of(epoch)),
                    // The first view of an epoch does not depend on whether there are more.
                    None => (self.settings.seed, epoch | turn.before << 32),
                };
                let mut random = stream(Purpose::Augmentation, seed, when, key(&id));
                let (flip, frames) = (self.shares[class], self.input.frames);
                let view = View::draw(augmentation, flip, frames, self.stored, &mut random);
                if view.mirrored {
                    class = self.mirrored[class];
                }
                view.write(pixels, self.input, &self.normalisation, planes);
            } else if let Some(view) = &self.settings.view {
                view.write(pixels, self.input, &self.normalisation, planes);
            } else {
                let frame = pixels.len() / self.stored;
                let first = (self.stored - self.input.frames) / 2;
                let middle = &pixels[first * frame..][..self.input.frames * frame];
                self.normalisation.write(middle, planes);
            }
            *label = class as i64;
        }
        Ok(())
    }

    fn tensors(&self, epoch: u64, prepared: Prepared, waited: Duration) -> Batch {
        let shape = self.input.batch_shape(prepared.indices.len());
        let device = self.settings.device;
        Batch {
            clips: send(&Tensor::from_slice(&prepared.values).reshape(shape), device),
            labels: send(&Tensor::from_slice(&prepared.labels), device),
            indices: prepared.indices,
            epoch,
            class_weights: self
                .weights
                .as_ref()
                .map(|weights| Tensor::from_slice(weights).to_device(device)),
            mixed: None,
            waited,
        }
    }
}
