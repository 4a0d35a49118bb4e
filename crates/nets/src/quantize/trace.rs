//! The bytes at every place of a network, on the way to its logits.

use tch::{Kind, Tensor};

use super::QuantizedModel;

/// Logits, and the bytes at every place.
#[derive(Debug)]
pub struct Traced {
    /// \[clips, classes\].
    pub logits: Tensor,
    /// `uint8` \[clips, channels, frames, height, width\] (at `avgpool` the last three are 1), in the order of
    /// [`Quantization::activations`](super::Quantization::activations).
    pub places: Vec<Tensor>,
}

impl QuantizedModel {
    /// What int8 kernels make of normalised clips \[clips, 3, frames, height, width\], computed in whole numbers, and the bytes on the
    /// way.
    ///
    /// # Panics
    /// With clips of another shape than the model takes.
    pub fn trace(&self, clips: &Tensor) -> Traced {
        self.record(clips, None)
    }

    /// What is made of each place where all places before it hold these bytes, and of the logits: so each layer is
    /// compared by itself with that of another program, whatever came before.
    ///
    /// # Panics
    /// With clips of another shape than the model takes, or bytes of another model's places.
    pub fn trace_along(&self, clips: &Tensor, places: &[Tensor]) -> Traced {
        self.record(clips, Some(places))
    }

    fn record(&self, clips: &Tensor, given: Option<&[Tensor]>) -> Traced {
        let affines = self.affines();
        let mut places = Vec::new();
        let logits = self.whole(clips, |nth, levels| {
            let zero_point = i64::from(affines[nth].zero_point);
            let mut bytes = (&levels + zero_point).to_kind(Kind::Uint8);
            while bytes.dim() < 5 {
                bytes = bytes.unsqueeze(-1);
            }
            places.push(bytes);
            match given {
                Some(given) => {
                    let levels_given = given[nth].to_kind(Kind::Float) - zero_point;
                    levels_given.reshape(levels.size())
                }
                None => levels,
            }
        });
        Traced { logits, places }
    }

    /// The network in whole numbers; `place` as for [`Network::in_whole_numbers`](super::network::Network::in_whole_numbers).
    pub(super) fn whole(
        &self,
        clips: &Tensor,
        place: impl FnMut(usize, Tensor) -> Tensor,
    ) -> Tensor {
        self.network.in_whole_numbers(clips, &self.affines(), place)
    }

    /// Logits \[clips, classes\] of normalised clips, as int8 kernels compute them; without gradients.
    ///
    /// # Panics
    /// With clips of another shape than the model takes.
    pub fn rounded_logits(&self, clips: &Tensor) -> Tensor {
        self.whole(clips, |_, levels| levels)
    }
}
