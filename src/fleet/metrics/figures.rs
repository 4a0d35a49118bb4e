//! How a fleet stands, as OpenMetrics text. Names follow Prometheus' rules: a unit is part of the name, and what only grows ends in
//! `_total` (<https://prometheus.io/docs/practices/naming/>).

use std::collections::BTreeMap;
use std::fmt::Error;

use fedact_fleet::coordinator::DeviceStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::fleet::standing::{Coordinator, STATES, Standing, state};

/// What every name begins with.
const PREFIX: &str = "fedact_fleet";

/// What tells a value from others of the same name.
type Labels = Vec<(&'static str, String)>;

/// Values of one name.
type Samples = Vec<(Labels, f64)>;

/// The figures of a run; without one, that there is no coordinator.
///
/// # Errors
/// None in practice: writing into a string cannot fail.
pub fn text(standing: Option<Standing>) -> Result<String, Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Figures(standing)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Figures(Option<Standing>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page(encoder);
        let coordinator = self.0.as_ref().map(|standing| standing.coordinator);
        let running = coordinator.is_some_and(|state| state != Coordinator::NotRunning);
        let help = "Whether a process serves the run.";
        page.gauge("coordinator_running", help, None, one(truth(running)))?;
        let Some(standing) = &self.0 else {
            return Ok(());
        };
        page.of_the_run(standing)?;
        page.of_the_devices(&standing.status.devices)
    }
}

/// What is written so far.
struct Page<'text>(DescriptorEncoder<'text>);

impl Page<'_> {
    fn of_the_run(&mut self, standing: &Standing) -> Result<(), Error> {
        let status = &standing.status;
        let labels = vec![
            ("fleet", status.fleet.to_string()),
            ("run", status.run.clone()),
            ("finished", status.finished.clone().unwrap_or_default()),
        ];
        let help = "Which run this is, and why it is over if it is.";
        self.0
            .encode_descriptor("run", help, None, MetricType::Info)?
            .encode_info(&labels)?;
        let help = "Time since the coordinator wrote the other figures.";
        self.gauge(
            "status_age",
            help,
            Some(Unit::Seconds),
            one(standing.age_seconds),
        )?;
        let help = "Time in which the run was served.";
        self.gauge(
            "run_duration",
            help,
            Some(Unit::Seconds),
            one(status.seconds),
        )?;
        let help = "Versions of the model so far.";
        self.gauge("model_version", help, None, one(status.version as f64))?;
        let help = "Samples of tasks that reached the coordinator.";
        self.counter("samples", help, None, one(status.samples as f64))?;
        let help = "Samples at which the run ends.";
        self.gauge(
            "budget_samples",
            help,
            None,
            one(status.budget_samples as f64),
        )?;
        if let Some(tested) = &status.tested {
            let help = "Share of the test clips that the tested model got right.";
            self.gauge("test_accuracy_ratio", help, None, one(tested.top1))?;
            let help = "The version of the model that was tested.";
            self.gauge("test_version", help, None, one(tested.version as f64))?;
            let help = "Mean cross-entropy of the tested model.";
            let loss = tested.loss.unwrap_or(f64::INFINITY);
            self.gauge("test_loss", help, None, one(loss))?;
        }
        let help = "Bytes of the updates that came.";
        self.counter(
            "update",
            help,
            Some(Unit::Bytes),
            one(status.bytes_up as f64),
        )?;
        let help = "Bytes of models that devices fetched for them.";
        self.counter(
            "model",
            help,
            Some(Unit::Bytes),
            one(status.bytes_down as f64),
        )?;
        if let Some(staleness) = status.mean_staleness {
            let help = "Versions made between an update's base and its arrival, the mean so far.";
            self.gauge("mean_staleness_versions", help, None, one(staleness))?;
        }
        let help = "Updates that were read and did not count, by reason.";
        self.counter("refusals", help, None, by_reason(&status.refused))?;
        let help = "Messages that were turned away since the coordinator was started, by reason.";
        self.counter(
            "turned_away_messages",
            help,
            None,
            by_reason(&status.turned),
        )
    }

    fn of_the_devices(&mut self, devices: &[DeviceStatus]) -> Result<(), Error> {
        let states = devices.iter().flat_map(|device| {
            STATES.map(|word| {
                let labels = vec![name(device), ("state", word.to_owned())];
                (labels, truth(word == state(device)))
            })
        });
        let help = "1 for the state that a device is in.";
        self.gauge("device_state", help, None, states.collect())?;
        let help = "Clips that a device has, as it says.";
        let clips = of_each(devices, |device| Some(device.clips? as f64));
        self.gauge("device_clips", help, None, clips)?;
        let help = "Versions made since the base of a device's open task.";
        let staleness = of_each(devices, |device| Some(device.staleness? as f64));
        self.gauge("device_staleness_versions", help, None, staleness)?;
        let help = "Time since a device was heard.";
        let silence = of_each(devices, |device| device.silent_seconds);
        self.gauge("device_silence", help, Some(Unit::Seconds), silence)?;
        let updates = devices.iter().flat_map(|device| {
            [("counted", device.counted), ("refused", device.refused)].map(|(outcome, updates)| {
                let labels = vec![name(device), ("outcome", outcome.to_owned())];
                (labels, updates as f64)
            })
        });
        let help = "Updates of a device that were decided on.";
        self.counter("updates", help, None, updates.collect())?;
        let help = "Tasks that a device lost.";
        let lost = of_each(devices, |device| Some(device.lost as f64));
        self.counter("lost_tasks", help, None, lost)?;
        let help = "Messages of a device that were turned away since the coordinator was started.";
        let turned = of_each(devices, |device| Some(device.turned as f64));
        self.counter("device_turned_away_messages", help, None, turned)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: Samples,
    ) -> Result<(), Error> {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: Samples,
    ) -> Result<(), Error> {
        let mut metric =
            self.0
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }
}

fn one(value: f64) -> Samples {
    vec![(Vec::new(), value)]
}

fn truth(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

fn name(device: &DeviceStatus) -> (&'static str, String) {
    ("device", device.name.to_string())
}

/// What is known of a device; one of which it is not has no line.
fn of_each(devices: &[DeviceStatus], value: impl Fn(&DeviceStatus) -> Option<f64>) -> Samples {
    let known = |device| Some((vec![name(device)], value(device)?));
    devices.iter().filter_map(known).collect()
}

fn by_reason(counts: &BTreeMap<String, u64>) -> Samples {
    let sample =
        |(reason, count): (&String, &u64)| (vec![("reason", reason.clone())], *count as f64);
    counts.iter().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::standing::tests::standing;

    #[test]
    fn a_run_in_its_midst_as_openmetrics_text() {
        let text = text(Some(standing(Coordinator::Running))).unwrap();
        for line in [
            "fedact_fleet_coordinator_running 1.0",
            "fedact_fleet_run_info{fleet=\"lab\",run=\"00c0ffee00c0ffee\",finished=\"\"} 1",
            "fedact_fleet_status_age_seconds 0.25",
            "fedact_fleet_run_duration_seconds 40.0",
            "fedact_fleet_model_version 20.0",
            "fedact_fleet_samples_total 200.0",
            "fedact_fleet_budget_samples 1000.0",
            "fedact_fleet_test_accuracy_ratio 0.71875",
            "fedact_fleet_test_version 16.0",
            "fedact_fleet_test_loss 0.83",
            "fedact_fleet_update_bytes_total 1572864.0",
            "fedact_fleet_model_bytes_total 12582912.0",
            "fedact_fleet_mean_staleness_versions 1.5",
            "fedact_fleet_refusals_total{reason=\"norm-too-large\"} 2.0",
            "fedact_fleet_turned_away_messages_total{reason=\"wrong-signature\"} 4.0",
            "fedact_fleet_device_state{device=\"nano-1\",state=\"working\"} 1.0",
            "fedact_fleet_device_state{device=\"nano-1\",state=\"away\"} 0.0",
            "fedact_fleet_device_state{device=\"pi-4\",state=\"revoked\"} 1.0",
            "fedact_fleet_device_clips{device=\"nano-1\"} 24.0",
            "fedact_fleet_device_staleness_versions{device=\"nano-1\"} 3.0",
            "fedact_fleet_device_silence_seconds{device=\"nano-1\"} 0.5",
            "fedact_fleet_updates_total{device=\"nano-1\",outcome=\"counted\"} 12.0",
            "fedact_fleet_updates_total{device=\"pi-3\",outcome=\"refused\"} 0.0",
            "fedact_fleet_lost_tasks_total{device=\"pi-3\"} 1.0",
            "fedact_fleet_device_turned_away_messages_total{device=\"pi-3\"} 0.0",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|given| given == line),
                "no {line:?} in\n{text}"
            );
        }
        // Nothing is said of what is not known, and each name is described once.
        assert!(!text.contains("silence_seconds{device=\"pi-3\"}"), "{text}");
        let mut described: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        assert_eq!(described.len(), 22);
        described.sort_unstable();
        described.dedup();
        assert_eq!(described.len(), 22);
    }

    #[test]
    fn without_a_run_there_is_no_coordinator_and_nothing_else() {
        let text = text(None).unwrap();
        assert_eq!(
            text.lines().filter(|line| !line.starts_with('#')).count(),
            1,
            "{text}"
        );
        assert!(
            text.contains("fedact_fleet_coordinator_running 0.0\n"),
            "{text}"
        );
    }
}
