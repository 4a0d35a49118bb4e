//! `metrics.json`: the figures of the report for programs.
//!
//! Accuracies are fractions from 0 to 1, times virtual seconds, sizes bytes. What could not be
//! measured is `null`, with a `reason` beside it.

use serde_json::{Map, Value, json};

use super::statistics::wilson;
use super::{FederatedRun, ModelResult, Report};

/// The whole file.
pub fn metrics(report: &Report) -> Value {
    let models: Map<String, Value> = report
        .models
        .iter()
        .map(|result| (result.step.clone(), model(report, result)))
        .collect();
    let federated: Map<String, Value> = report
        .runs
        .iter()
        .map(|run| (run.step.clone(), federated(run)))
        .collect();
    let clip_sets: Map<String, Value> = report
        .clip_sets
        .iter()
        .map(|set| {
            let figures = json!({
                "classes": set.classes,
                "train_clips": set.train_clips,
                "test_clips": set.test_clips,
                "tested": set.tested,
                "chance": set.chance(),
                "majority": set.majority,
                "majority_class": set.class(set.majority_class),
            });
            (set.name.clone(), figures)
        })
        .collect();
    json!({
        "models": models,
        "federated": federated,
        "async_vs_sync": async_vs_sync(report),
        "distillation": distillation(report),
        "clip_sets": clip_sets,
        "tests": {
            "views": report.tests.views,
            "count": report.tests.unit(),
        },
        "timing": {
            "batch_size": report.timing.batch_size,
            "repeats": report.timing.repeats,
            "threads": report.timing.threads,
        },
    })
}

fn model(report: &Report, result: &ModelResult) -> Value {
    let set = report.clip_set(result);
    let clips = result.correct.len();
    let interval = wilson(result.accuracy.top1, clips);
    json!({
        "top1": result.accuracy.top1,
        "top5": result.accuracy.top5,
        "mean_class_accuracy": result.accuracy.mean_class,
        "parameters": result.parameters,
        "bytes": result.bytes,
        "ms_per_clip": result.ms_per_clip,
        "float_bytes": result.float_bytes,
        "float_top1": result.as_float.map(|float| float.top1),
        "float_ms_per_clip": result.as_float.map(|float| float.ms_per_clip),
        "quantized_by": result.quantized_by,
        "executed_top1": result.executed.map(|executed| executed.top1),
        "executed_ms_per_clip": result.executed.map(|executed| executed.ms_per_clip),
        "loss": result.accuracy.loss,
        "ece": result.accuracy.ece,
        "kind": result.kind.name(),
        "architecture": result.architecture,
        "clip_set": set.map(|set| &set.name),
        "clips": clips,
        "top1_low": interval.low,
        "top1_high": interval.high,
        "chance": set.map(|set| set.chance()),
        "majority": set.map(|set| set.majority),
    })
}

fn federated(run: &FederatedRun) -> Value {
    json!({
        "top1": run.ending.top1,
        "virtual_seconds": (!run.real).then_some(run.ending.time),
        "seconds": run.real.then_some(run.ending.time),
        "client_epochs": run.ending.client_epochs,
        "bytes_up": run.ending.bytes_up,
        "bytes_down": run.ending.bytes_down,
        "strategy": run.strategy_name,
        "mixing": run.mixing,
        "final_top1": run.final_accuracy(),
        "samples": run.ending.samples,
        "versions": run.ending.version,
        "clients": run.clients.len(),
        "updates": run.updates.len() - run.refused(),
        "refused": run.refused(),
        "mean_staleness": run.mean_staleness(),
        "max_staleness": run.max_staleness(),
        "mean_busy": run.mean_busy(),
        "joules": (!run.real).then_some(run.joules),
        "end_reason": run.ending.reason,
        "seed": run.seed,
    })
}

fn async_vs_sync(report: &Report) -> Value {
    match report.async_vs_sync() {
        Ok(comparison) => json!({
            "target_top1": comparison.target,
            "async_seconds": comparison.fedasync.time,
            "sync_seconds": comparison.fedavg.time,
            "time_saving": comparison.time_saving,
            "async_step": comparison.async_step,
            "sync_step": comparison.sync_step,
            "async_bytes": comparison.fedasync.bytes_up + comparison.fedasync.bytes_down,
            "sync_bytes": comparison.fedavg.bytes_up + comparison.fedavg.bytes_down,
            "async_client_epochs": comparison.fedasync.client_epochs,
            "sync_client_epochs": comparison.fedavg.client_epochs,
        }),
        Err(reason) => json!({
            "target_top1": null,
            "async_seconds": null,
            "sync_seconds": null,
            "time_saving": null,
            "reason": reason,
        }),
    }
}

fn distillation(report: &Report) -> Value {
    report
        .distillation()
        .map_or(Value::Null, |(student, scratch)| {
            json!({
                "student": student.step,
                "scratch": scratch.step,
                "gain": student.accuracy.top1 - scratch.accuracy.top1,
                "p": super::mcnemar(&student.correct, &scratch.correct).map(|pair| pair.p),
            })
        })
}
