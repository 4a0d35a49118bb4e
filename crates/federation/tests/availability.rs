//! Runs on devices that come and go at their times: nothing is done outside of them, and the run goes on.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of test functions

use std::convert::Infallible;
use std::sync::Arc;

use fedact_federation::aggregator::{Config, EndReason};
use fedact_federation::clock::{DeviceClock, TaskTimes};
use fedact_federation::device::{Availability, Catalogue, DeviceProfile};
use fedact_federation::energy::EnergyMeter;
use fedact_federation::history::{ClientSummary, Record};
use fedact_federation::layout::Layout;
use fedact_federation::simulation::{
    Assignment, Host, Participant, Score, Setting, Simulation, Uplink,
};
use fedact_federation::strategy::{AlphaDecay, FedAsync, FedAvg, Mixing, Strategy};

const CLIENTS: usize = 6;
const SAMPLES: u64 = 20;

/// There for 40 seconds of every 100, tasks of 4 to 20 seconds, each client at times of its own.
fn profile() -> DeviceProfile {
    let mut profile = Catalogue::built_in().profile("laptop").unwrap().clone();
    profile.jitter.value = 0.2;
    profile.availability = Some(Availability {
        every_seconds: 100.0,
        windows: vec![[10.0, 50.0]],
        spread_seconds: 60.0,
    });
    profile
}

struct Recorder(Vec<Record>);

impl Host for Recorder {
    type Error = Infallible;

    fn train(&mut self, _: &Assignment, base: &[f32]) -> Result<Vec<f32>, Infallible> {
        Ok(base.to_vec())
    }

    fn evaluate(&mut self, _: &[f32]) -> Result<Score, Infallible> {
        Ok(Score {
            top1: 0.0,
            loss: 0.0,
        })
    }

    fn record(&mut self, record: Record) -> Result<(), Infallible> {
        self.0.push(record);
        Ok(())
    }
}

fn clocks() -> Vec<DeviceClock> {
    let profile = Arc::new(profile());
    let clock = |client: usize| {
        let rate = 1.0 + client as f64 * 0.8;
        DeviceClock::new(Arc::clone(&profile), rate, 3, client as u64)
    };
    (0..CLIENTS).map(clock).collect()
}

fn run(strategy: Strategy) -> (Simulation, Vec<Record>) {
    let layout = Layout::vector(4);
    let participants = clocks()
        .into_iter()
        .enumerate()
        .map(|(client, clock)| Participant {
            summary: ClientSummary {
                id: client.to_string(),
                device: "laptop".into(),
                clips: SAMPLES,
                clips_per_second: clock.clips_per_second(),
            },
            clock,
            steps_per_pass: 1,
            batch_size: SAMPLES,
        });
    let setting = Setting {
        participants: participants.collect(),
        evaluate_every_samples: 100 * SAMPLES,
        round_deadline_seconds: None,
        target_top1: None,
        samples_per_client_epoch: SAMPLES as f64,
        bytes_down: layout.message_bytes(),
        uplink: Uplink::default(),
        max_losses_in_a_row: 1000,
    };
    let samples_per_task = SAMPLES;
    let config = Config {
        max_refusals_in_a_row: 10,
        seed: 1,
        ..Config::unbounded(strategy, [samples_per_task; CLIENTS], layout, 120 * SAMPLES)
    };
    let start = Record::Start {
        strategy: "test".into(),
        mixing: None,
        seed: 1,
        parameters: 4,
        model_bytes: 80,
        clients: Vec::new(),
        settings: serde_json::Value::Null,
    };
    let mut host = Recorder(Vec::new());
    let mut simulation =
        Simulation::begin(config, setting, vec![0.0; 4], start, &mut host).unwrap();
    while simulation.step(&mut host).unwrap().is_none() {}
    (simulation, host.0)
}

#[test]
fn tasks_lie_within_their_devices_windows_and_the_run_goes_on() {
    let fedasync = Strategy::FedAsync(FedAsync {
        alpha: 0.6,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    });
    for strategy in [fedasync, Strategy::FedAvg(FedAvg::default())] {
        let (simulation, records) = run(strategy);
        let reason = simulation.aggregator().finished();
        assert_eq!(reason, Some(EndReason::BudgetSpent));
        assert!(simulation.totals().lost > 0, "windows close on some tasks");
        let (profile, clocks) = (profile(), clocks());
        let mut meter = EnergyMeter::new(CLIENTS);
        let mut tasks = 0;
        for record in &records {
            if let Record::Task {
                client,
                start,
                download_end,
                training_end,
                upload_end,
                ..
            } = record
            {
                let client: usize = client.parse().unwrap();
                assert_eq!(clocks[client].available_from(*start), *start);
                assert_eq!(
                    clocks[client].available_from(*upload_end - 1e-9),
                    *upload_end - 1e-9
                );
                assert!(upload_end - start < 40.0, "in one window");
                let times = TaskTimes {
                    start: *start,
                    download_end: *download_end,
                    training_end: *training_end,
                    upload_end: *upload_end,
                    lost_at: None,
                };
                meter.add(client, &profile, &times);
                tasks += 1;
            }
        }
        // A round that is under way is finished.
        assert!((120..120 + CLIENTS).contains(&tasks), "{tasks}");
        // 20 clips at 1 clip a second and 35 W are 700 J; at 5 clips a second 140.
        let [slow, .., fast] = meter.clients() else {
            panic!("{CLIENTS} clients")
        };
        assert!(slow.training_joules > 500.0 && fast.training_joules > 100.0);
        assert!(meter.total().joules() < tasks as f64 * 1000.0);
    }
}
