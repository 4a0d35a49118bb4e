//! What the student is graded by: the labels, and its teachers in all the ways that the params weigh.

use fedact_nets::data::Batch;
use fedact_nets::{FloatModel, NetsError, Outputs, loss};
use tch::Tensor;

use crate::{DistillParams, Distillation};

/// The objective of a training.
pub(crate) struct Objective<'a> {
    teachers: &'a [FloatModel],
    distillation: Distillation,
    smoothing: f64,
}

impl<'a> Objective<'a> {
    /// # Errors
    /// Decoupled distillation where there are no other classes.
    pub fn new(
        params: &DistillParams,
        teachers: &'a [FloatModel],
        classes: usize,
    ) -> Result<Self, NetsError> {
        let distillation = params.distillation;
        if !teachers.is_empty() && distillation.decoupled.weight > 0.0 && classes < 2 {
            return Err(NetsError::Data(
                "`distillation.decoupled` is about the classes that a clip is not of, and the clips have one class \
                 alone; set `distillation.decoupled.weight` to 0 or give clips of more classes"
                    .to_owned(),
            ));
        }
        Ok(Self {
            teachers,
            distillation,
            smoothing: params.label_smoothing,
        })
    }

    /// The number to minimise, the mean over the batch.
    pub fn loss(&self, batch: &Batch, student: &Outputs) -> Tensor {
        let Distillation {
            lambda,
            temperature,
            decoupled,
            attention,
            similarity,
        } = self.distillation;
        let (labels, smoothing) = (&batch.labels, self.smoothing);
        // Teachers look at what the student looks at.
        let teachers: Vec<Outputs> = self
            .teachers
            .iter()
            .map(|teacher| teacher.outputs(&batch.clips))
            .collect();
        let answers: Vec<&Tensor> = teachers.iter().map(|teacher| &teacher.logits).collect();
        let Some(softened) = loss::soften(&answers, temperature) else {
            return loss::cross_entropy(&student.logits, labels, smoothing);
        };
        let logits = &student.logits;
        let mut sum = loss::distillation(logits, &softened, labels, lambda, temperature, smoothing);
        if decoupled.weight > 0.0 {
            let (target, others) = (decoupled.target, decoupled.others);
            let told = loss::decoupled(logits, &softened, labels, temperature, target, others);
            sum += told * decoupled.weight;
        }
        let share = 1.0 / teachers.len() as f64;
        for teacher in &teachers {
            if attention > 0.0 {
                sum += loss::attention(&student.stages, &teacher.stages) * (attention * share);
            }
            if similarity > 0.0 {
                sum +=
                    loss::similarity(&student.features, &teacher.features) * (similarity * share);
            }
        }
        sum
    }
}
