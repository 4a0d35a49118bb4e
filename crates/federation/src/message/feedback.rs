//! Error feedback: what a lossy codec leaves out of one message goes into the next.
//!
//! Seide, Fu, Droppo, Li, Yu, "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy, Rebjock, Stich, Jaggi, "Error
//! Feedback Fixes SignSGD and other Gradient Compression Schemes", arXiv 1901.09847, 2019, algorithm 2:
//!
//! ```text
//! p = delta + e,    sent = decode(encode(p)),    e = p - sent
//! ```
//!
//! so that what was sent in all is what should have been, but for the last `e`.

use super::decode::Decoder;
use super::encode::Encoder;
use super::error::MessageError;
use super::header::Header;

/// What a client has not told the server yet. One model of memory; kept with the client's other state, because a client
/// that forgets it tells less than it learned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feedback {
    residual: Vec<f32>,
}

impl Feedback {
    /// Carries on with what [`Self::residual`] gave.
    pub fn resume(residual: Vec<f32>) -> Self {
        Self { residual }
    }

    /// What is still untold, flat; empty before the first message.
    pub fn residual(&self) -> &[f32] {
        &self.residual
    }

    /// The message of a delta and what was left out before. What this message leaves out is kept for the next.
    ///
    /// A message that never arrives, or is refused, is lost with what it carried, as it is without feedback. An exact codec
    /// leaves nothing out and takes no memory.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; then nothing has changed.
    pub fn encode(
        &mut self,
        encoder: &Encoder,
        decoder: &Decoder,
        header: &Header,
        mut delta: Vec<f32>,
        seed: u64,
    ) -> Result<Vec<u8>, MessageError> {
        for (number, left) in delta.iter_mut().zip(&self.residual) {
            *number += left;
        }
        let bytes = encoder.encode(header, &delta, seed)?;
        if encoder.codec().is_exact() {
            self.residual.clear();
            return Ok(bytes);
        }
        let sent = decoder.decode(&bytes)?.delta;
        for (number, sent) in delta.iter_mut().zip(&sent) {
            let left = *number - sent;
            // A delta that is not finite is refused by the server; it shall not spoil all that come after.
            *number = if left.is_finite() { left } else { 0.0 };
        }
        self.residual = delta;
        Ok(bytes)
    }
}
