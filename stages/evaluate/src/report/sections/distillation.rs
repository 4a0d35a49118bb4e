//! What a teacher is worth: the student against the same network without one.

use super::Section;
use super::kit::{cell, figures, list, paragraph, range, table, words};
use crate::report::{ModelResult, Report, Tests, mcnemar, wilson};
use fedact_chart::units::{count, percent, points};

/// The comparison, if there is a student and its twin.
pub fn section(report: &Report) -> Option<Section> {
    let (student, scratch) = report.distillation()?;
    let teachers = student.teachers.clone().unwrap_or_default();
    let named: Vec<String> = teachers
        .iter()
        .map(|teacher| format!("`{teacher}`"))
        .collect();
    let row = |model: &ModelResult, taught: String| {
        vec![
            cell(&model.step).with(&model.architecture),
            cell(taught),
            cell(count(model.parameters)),
            cell(percent(model.accuracy.top1))
                .with(range(wilson(model.accuracy.top1, model.correct.len()))),
            cell(percent(model.accuracy.mean_class)),
        ]
    };
    let mut rows: Vec<_> = chain(report, student)
        .into_iter()
        .rev()
        .map(|model| {
            let teachers = model.teachers.clone().unwrap_or_default();
            row(
                model,
                if teachers.is_empty() {
                    "nobody".into()
                } else {
                    list(&teachers)
                },
            )
        })
        .collect();
    rows.push(row(scratch, "nobody".into()));
    Some(Section {
        id: "distillation",
        title: "What the teacher is worth",
        body: vec![
            paragraph(format!(
                "`{}` and `{}` are the same network, trained on the same clips. The first also imitates what {} says about \
                 each clip: not only the right class, but how likely every other one is. {}",
                student.step,
                scratch.step,
                list(&named),
                verdict(student, scratch, report.tests)
            )),
            table(
                "From the teacher to the student, and the student's twin without a teacher",
                &[
                    words("model"),
                    words("taught by"),
                    figures("parameters", "trained numbers"),
                    figures("top-1", "with its 95% confidence interval"),
                    figures("mean class", "mean over the classes of their accuracy"),
                ],
                rows,
            ),
        ],
    })
}

/// The student, its teacher, that one's teacher and so on.
fn chain<'a>(report: &'a Report, student: &'a ModelResult) -> Vec<&'a ModelResult> {
    let mut chain = vec![student];
    let mut next = 0;
    while let Some(model) = chain.get(next).copied() {
        for teacher in model.teachers.iter().flatten() {
            if let Some(model) = report.model(teacher)
                && !chain.iter().any(|known| known.step == model.step)
            {
                chain.push(model);
            }
        }
        next += 1;
    }
    chain
}

fn verdict(student: &ModelResult, scratch: &ModelResult, tests: Tests) -> String {
    let gain = student.accuracy.top1 - scratch.accuracy.top1;
    let Some(pair) = mcnemar(&student.correct, &scratch.correct) else {
        return format!("The difference is {} points.", points(gain));
    };
    let sure = if pair.p < 0.05 {
        "which chance alone would rarely bring about"
    } else {
        "which may well be chance"
    };
    format!(
        "The difference is {} points: {} of the test split are right only with a teacher, {} only without, {sure} (McNemar's \
         exact test, p\u{a0}=\u{a0}{}).",
        points(gain),
        tests.count(pair.first_only),
        pair.second_only,
        if pair.p < 0.001 {
            "under 0.001".to_owned()
        } else {
            format!("{:.3}", pair.p)
        }
    )
}
