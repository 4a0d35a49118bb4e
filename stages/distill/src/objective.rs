//! What the student is graded by: the labels, and its teachers in all the ways that the params weigh.

use fedact_nets::data::{Augmentation, Batch};
use fedact_nets::train::TrainingSettings;
use fedact_nets::{
    Classifier, FloatModel, MixedModel, NetsError, Outputs, Precision, Teachers, loss,
};
use tch::{Device, Tensor};

use crate::{DistillParams, Distillation};

/// The objective of a training.
pub(crate) struct Objective<'a> {
    teachers: &'a Teachers,
    distillation: Distillation,
    smoothing: f64,
    device: Device,
    /// The teachers where they answer in bfloat16.
    twins: Option<Vec<MixedModel<'a>>>,
}

impl<'a> Objective<'a> {
    /// # Errors
    /// Teachers who cannot give what the params ask of them: answers where stages or features are to be taken
    /// over, answers to other views than the student would see, decoupled distillation without other classes.
    pub fn new(
        params: &DistillParams,
        teachers: &'a Teachers,
        student: &FloatModel,
    ) -> Result<Self, NetsError> {
        let distillation = params.distillation;
        if !teachers.is_empty()
            && distillation.decoupled.weight > 0.0
            && student.info.classes.len() < 2
        {
            return Err(NetsError::Data(
                "`distillation.decoupled` is about the classes that a clip is not of, and the clips have one class \
                 alone; set `distillation.decoupled.weight` to 0 or give clips of more classes"
                    .to_owned(),
            ));
        }
        if let Some(answers) = teachers.views() {
            for (name, weight) in [
                ("attention", distillation.attention),
                ("similarity", distillation.similarity),
            ] {
                if weight > 0.0 {
                    return Err(NetsError::Mismatch(format!(
                        "`distillation.{name}` is {weight}, but answers do not tell how the teachers came to them; give \
                         the model itself as `teacher`, or set it to 0"
                    )));
                }
            }
            if params.mixup > 0.0 {
                return Err(NetsError::Mismatch(format!(
                    "`mixup` is {}, but the answers are about clips that are not mixed; give the model itself as \
                     `teacher`, or set it to 0",
                    params.mixup
                )));
            }
            same_views(&params.augmentation, &answers.info.augmentation)?;
        }
        Ok(Self {
            teachers,
            distillation,
            smoothing: params.label_smoothing,
            device: student.device(),
            // In the numbers in which the student learns: in others they would be what a step waits for.
            twins: match params.precision {
                Precision::Float32 => None,
                Precision::Bfloat16 => {
                    let twins = teachers.models.iter().map(MixedModel::new);
                    Some(twins.collect::<Result<_, _>>()?)
                }
            },
        })
    }

    /// How the loop trains: with the views that the teachers answered to, where they did before.
    pub fn training(&self, params: &DistillParams) -> TrainingSettings {
        TrainingSettings {
            views: self.teachers.views().map(|answers| answers.info.views),
            ..params.training()
        }
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
        let smoothing = self.smoothing;
        // Teachers look at what the student looks at.
        let clips = &batch.clips;
        let seen: Vec<Outputs> = match &self.twins {
            Some(twins) => twins.iter().map(|twin| twin.outputs(clips)).collect(),
            None => {
                let models = self.teachers.models.iter();
                models.map(|model| model.outputs(clips)).collect()
            }
        };
        let earlier = self.teachers.answers.iter();
        let earlier: Vec<Tensor> = earlier
            .flat_map(|answers| answers.to(batch, self.device))
            .collect();
        let answers: Vec<&Tensor> = seen
            .iter()
            .map(|outputs| &outputs.logits)
            .chain(&earlier)
            .collect();
        let Some(softened) = loss::soften(&answers, temperature) else {
            return loss::of_labels(&student.logits, batch, smoothing);
        };
        let logits = &student.logits;
        let mut sum = loss::distillation(logits, &softened, batch, lambda, temperature, smoothing);
        if decoupled.weight > 0.0 {
            let (target, others) = (decoupled.target, decoupled.others);
            // Of mixed clips, the class of the larger share.
            let labels = &batch.labels;
            let told = loss::decoupled(logits, &softened, labels, temperature, target, others);
            sum += told * decoupled.weight;
        }
        let share = 1.0 / seen.len().max(1) as f64;
        for teacher in &seen {
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

/// Refuses a student that would see other views than its teachers answered to.
fn same_views(own: &Augmentation, answered: &Augmentation) -> Result<(), NetsError> {
    let values =
        |augmentation: &Augmentation| serde_json::to_value(augmentation).unwrap_or_default();
    let (own, answered) = (values(own), values(answered));
    let keys = own.as_object().into_iter().flat_map(|map| map.keys());
    for key in keys {
        if own[key] != answered[key] {
            return Err(NetsError::Mismatch(format!(
                "`augmentation.{key}` is {}, but the answers were given to views with {}; give `distill` and `teach` the \
                 same `augmentation`",
                own[key], answered[key]
            )));
        }
    }
    Ok(())
}
