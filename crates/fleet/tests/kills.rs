//! Coordinator, server and devices are killed at random moments: what was acknowledged was applied, once each.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers are outside of test functions

mod kit;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kit::problem::SAMPLES;
use kit::{World, bits};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fedact-fleet-process");
const DEVICES: usize = 5;

/// More than a piece, so that half an update and half a model are there when somebody dies.
const NUMBERS: usize = 100_000;

/// Who can die.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Coordinator,
    Server,
    Device(usize),
}

/// Random numbers that follow from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A fleet of processes.
struct Fleet {
    world: World,
    tasks: u64,
    coordinator: Option<Child>,
    devices: Vec<Option<Child>>,
}

impl Fleet {
    fn spawn(&self, who: &str, arguments: &[String]) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.world.path(&format!("{who}.log")))
            .unwrap();
        Command::new(PROGRAM)
            .args(arguments)
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn start_coordinator(&mut self) {
        let fleet = self.world.path("fleet").display().to_string();
        let arguments = [
            "coordinator".into(),
            fleet,
            NUMBERS.to_string(),
            self.tasks.to_string(),
        ];
        self.coordinator = Some(self.spawn("coordinator", &arguments));
    }

    fn folder(&self, device: usize) -> PathBuf {
        self.world.path(&format!("device-{device}"))
    }

    fn start_device(&mut self, device: usize) {
        let join = self.world.fleet.join_path(&self.world.devices[device]);
        let arguments = [
            "device".into(),
            join.display().to_string(),
            self.folder(device).display().to_string(),
            NUMBERS.to_string(),
            "10".into(),
        ];
        self.devices[device] = Some(self.spawn(&format!("device-{device}"), &arguments));
    }

    fn log(&self, who: &str) -> String {
        let log = std::fs::read_to_string(self.world.path(&format!("{who}.log")));
        log.unwrap_or_default()
    }

    /// Fails if somebody ended by itself and not because the run did.
    fn nobody_gave_up(&mut self) {
        let mut gave_up = Vec::new();
        let mut look = |who: String, child: &mut Option<Child>| {
            if let Some(running) = child
                && let Some(status) = running.try_wait().unwrap()
                && !status.success()
            {
                gave_up.push(who);
            }
        };
        look("coordinator".into(), &mut self.coordinator);
        for (device, child) in self.devices.iter_mut().enumerate() {
            look(format!("device-{device}"), child);
        }
        if let Some(who) = gave_up.first() {
            panic!("{who} gave up: {}", self.log(who));
        }
    }

    fn kill(&mut self, victim: Victim, dice: &mut Dice) {
        let kill = |child: &mut Option<Child>| {
            if let Some(mut child) = child.take() {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        };
        match victim {
            Victim::Coordinator => kill(&mut self.coordinator),
            Victim::Device(device) => kill(&mut self.devices[device]),
            Victim::Server => self.world.kill_server(),
        }
        std::thread::sleep(Duration::from_millis(dice.below(60)));
        match victim {
            Victim::Coordinator => self.start_coordinator(),
            Victim::Device(device) => self.start_device(device),
            Victim::Server => self.world.start_server(),
        }
    }

    fn journal_bytes(&self) -> u64 {
        let path = self.world.fleet.run_folder().join("journal");
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    /// Waits until the journal has grown so far; a fleet that has come to a standstill fails.
    fn grown_to(&mut self, bytes: u64) {
        let limit = Instant::now() + Duration::from_secs(60);
        while self.journal_bytes() < bytes {
            self.nobody_gave_up();
            let status = std::fs::read_to_string(self.world.fleet.run_folder().join("status.json"));
            assert!(Instant::now() < limit, "standstill: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let everybody = self.devices.iter_mut().chain([&mut self.coordinator]);
        for child in everybody.flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A run in which so many are killed, spread over its journal. Devices go on while somebody is down and comes back, which takes as many tasks
/// again: the budget must outlast that, or the run is over before the last is killed.
fn killed(kills: u64, tasks_between: u64, seed: u64) {
    let Some(world) = kit::world(DEVICES) else {
        return;
    };
    let tasks = kills * tasks_between + 60;
    let mut fleet = Fleet {
        world,
        tasks,
        coordinator: None,
        devices: (0..DEVICES).map(|_| None).collect(),
    };
    fleet.start_coordinator();
    for device in 0..DEVICES {
        fleet.start_device(device);
    }
    let mut dice = Dice(seed);
    // A task takes two records: 210 bytes of an update, 60 of a device that is ready again.
    let between = 270 * tasks_between;
    let mut back = Vec::new();
    for _ in 0..kills {
        let grown = fleet.journal_bytes() + dice.below(between);
        fleet.grown_to(grown);
        std::thread::sleep(Duration::from_millis(dice.below(40)));
        let victim = match dice.below(7) {
            0 | 1 => Victim::Coordinator,
            2 => Victim::Server,
            other => Victim::Device((other as usize + dice.below(2) as usize) % DEVICES),
        };
        fleet.kill(victim, &mut dice);
        if matches!(victim, Victim::Coordinator | Victim::Server) {
            let (since, grown) = (Instant::now(), fleet.journal_bytes() + 1);
            fleet.grown_to(grown);
            back.push((since.elapsed(), victim));
        }
    }
    back.sort_by_key(|(took, _)| *took);
    let (middle, last) = (back.get(back.len() / 2), back.last());
    eprintln!("{kills} kills; the journal grew again after {middle:?}, at last {last:?}");
    let limit = Instant::now() + Duration::from_secs(240);
    loop {
        fleet.nobody_gave_up();
        let everybody = fleet.devices.iter_mut().chain([&mut fleet.coordinator]);
        let mut running = everybody.flatten();
        if running.all(|child| child.try_wait().unwrap().is_some()) {
            break;
        }
        let status = std::fs::read_to_string(fleet.world.fleet.run_folder().join("status.json"));
        assert!(Instant::now() < limit, "not over: {status:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let rules = kit::problem::rules(DEVICES, NUMBERS, tasks);
    let replayed = fleet.world.replay(rules.clone());
    assert_eq!(replayed.mixed.len() as u64, tasks);
    assert!(replayed.mixed.values().all(|times| *times == 1));
    assert_eq!(replayed.mixed, replayed.updates);
    // What devices say they hold has come through as well.
    let clips = replayed.progress.members.iter().map(|member| member.clips);
    assert_eq!(clips.collect::<Vec<_>>(), [Some(SAMPLES); DEVICES]);
    let mut acknowledged = BTreeSet::new();
    for device in 0..DEVICES {
        let decided = std::fs::read_to_string(fleet.folder(device).join("decided")).unwrap();
        for line in decided.lines() {
            let (task, outcome) = line.split_once(' ').unwrap();
            assert_eq!(outcome, "counts", "{line}");
            acknowledged.insert((device, task.parse().unwrap()));
        }
    }
    let applied: BTreeSet<(usize, u64)> = replayed.mixed.into_keys().collect();
    assert_eq!(acknowledged, applied);
    // And the coordinator's own model, from its last checkpoint on, is the one of the whole journal.
    let settings = fedact_fleet::coordinator::Settings::default();
    let coordinator = fleet.world.coordinator(rules, settings).unwrap();
    let model = coordinator.engine().aggregator().parameters();
    assert_eq!(bits(model), bits(&replayed.parameters));
}

#[test]
fn what_is_acknowledged_is_applied_once_through_thirty_kills() {
    killed(30, 8, 0x5eed);
}

#[test]
#[ignore = "minutes; cargo test -p fedact-fleet --test kills -- --ignored"]
fn what_is_acknowledged_is_applied_once_through_three_hundred_kills() {
    killed(300, 8, 0xfeed);
}
