//! The bytes at every place of a network, on the way to its logits.

use tch::{Kind, Tensor, no_grad};

use super::network::{Rounding, Visitor};
use super::{Execution, QuantizedModel};

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
    /// What the simulation makes of normalised clips \[clips, 3, frames, height, width\], and the bytes that stand
    /// for its values on the way.
    ///
    /// # Panics
    /// With clips of another shape than the model takes.
    pub fn trace(&self, clips: &Tensor) -> Traced {
        self.record(clips, None)
    }

    /// What the simulation makes of each place where all places before it hold these bytes, and of the logits: so each layer is
    /// compared by itself with that of another program, whatever came before.
    ///
    /// # Panics
    /// With clips of another shape than the model takes, or bytes of another model's places.
    pub fn trace_along(&self, clips: &Tensor, places: &[Tensor]) -> Traced {
        self.record(clips, Some(places))
    }

    fn record(&self, clips: &Tensor, given: Option<&[Tensor]>) -> Traced {
        let affines = self.affines();
        let mut bytes = Bytes {
            rounding: Rounding(&affines),
            given,
            places: Vec::new(),
        };
        let logits = no_grad(|| self.forward(clips, Execution::Simulated, &mut bytes));
        Traced {
            logits,
            places: bytes.places,
        }
    }
}

struct Bytes<'a> {
    rounding: Rounding<'a>,
    given: Option<&'a [Tensor]>,
    places: Vec<Tensor>,
}

impl Visitor for Bytes<'_> {
    fn visit(&mut self, point: usize, value: Tensor, relu: bool) -> Tensor {
        let affine = self.rounding.0[point];
        let (scale, zero_point) = (f64::from(affine.scale), i64::from(affine.zero_point));
        let value = self.rounding.visit(point, value, relu);
        let levels = (&value / scale).round() + zero_point;
        let mut bytes = levels.to_kind(Kind::Uint8);
        while bytes.dim() < 5 {
            bytes = bytes.unsqueeze(-1);
        }
        self.places.push(bytes);
        match self.given {
            Some(given) => {
                let levels = given[point].to_kind(Kind::Float) - zero_point;
                (levels * scale).reshape(value.size())
            }
            None => value,
        }
    }
}
