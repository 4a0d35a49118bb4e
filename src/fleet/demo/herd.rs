//! The processes of a demo: one process group, which ends with the demo, however that ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use fedact_pipeline::Stop;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::exit::{Code, Refusal};
use crate::output;

/// How often the processes are looked after.
const PULSE: Duration = Duration::from_millis(50);

/// For a server to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// For devices to hear that the run is over, and to end by themselves.
const GRACE: Duration = Duration::from_secs(10);

/// Waits until its standard input is closed, which it is when the demo has ended, and ends its process group then.
const WATCHDOG: &str = "read line; kill -KILL 0";

/// A server, and whoever uses it.
pub struct Herd {
    group: Pid,
    server: Child,
    others: Vec<Member>,
    watchdog: Child,
    _lifeline: Option<ChildStdin>,
}

struct Member {
    name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Herd {
    /// Starts the server, which leads the group.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(program: &Path, arguments: &[OsString], log: &Path) -> Result<Self, Refusal> {
        let server = start(program.as_os_str(), arguments, log, 0)?;
        let group = id(&server)?;
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(group.as_raw_nonzero().get())
            .spawn()
            .map_err(|error| Refusal::failed("start sh", &error))?;
        Ok(Self {
            group,
            server,
            others: Vec::new(),
            _lifeline: watchdog.stdin.take(),
            watchdog,
        })
    }

    /// Returns when the server listens.
    ///
    /// # Errors
    /// It ended, or does not listen.
    pub fn wait_for_port(&mut self, port: u16, stop: &Stop) -> Result<(), Refusal> {
        let limit = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() && !stop.asked() {
            let gone = matches!(self.server.try_wait(), Ok(Some(_)));
            if gone || Instant::now() > limit {
                return Err(Refusal::new(
                    Code::Failed,
                    "nats-server does not listen",
                    "--folder DIR keeps its log, DIR/server.log",
                ));
            }
            std::thread::sleep(PULSE);
        }
        Ok(())
    }

    /// Starts another process, in the background.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn add(
        &mut self,
        name: &str,
        program: &OsStr,
        arguments: &[OsString],
        log: &Path,
    ) -> Result<(), Refusal> {
        let child = start(program, arguments, log, self.group.as_raw_nonzero().get())?;
        self.others.push(Member {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            ended: false,
        });
        Ok(())
    }

    /// Runs a command to its end while the others work, and says how it ended. One of the others that fails is said to have.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn watch(&mut self, command: Command, stop: &Stop) -> Result<Code, Refusal> {
        let group = self.group.as_raw_nonzero().get();
        run(command, group, stop, || self.look())
    }

    fn look(&mut self) {
        for member in self.others.iter_mut().filter(|member| !member.ended) {
            if let Ok(Some(status)) = member.child.try_wait() {
                member.ended = true;
                if !status.success() {
                    let (name, log) = (&member.name, tail(&member.log));
                    output::aside(&format!(
                        "warning: {name} ended ({status}); its log ends with\n{log}"
                    ));
                }
            }
        }
    }

    /// Ends all of them; those that are about to end by themselves, if it is said that they are, get a moment for it.
    pub fn end(mut self, by_themselves: bool) {
        let limit = Instant::now() + GRACE;
        while by_themselves
            && Instant::now() < limit
            && self.others.iter().any(|member| !member.ended)
        {
            self.look();
            std::thread::sleep(PULSE);
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        // The group's number is its own as long as the server is not waited for.
        let _ = kill_process_group(self.group, Signal::KILL);
        let others = self.others.iter_mut().map(|member| &mut member.child);
        for child in others.chain([&mut self.server, &mut self.watchdog]) {
            let _ = child.wait();
        }
    }
}

/// Runs a command to its end, in a process group (0: one of its own), with the terminal for its output. The wish to stop is passed on to it.
/// Does `meanwhile` again and again.
///
/// # Errors
/// It cannot be started.
pub fn run(
    mut command: Command,
    group: i32,
    stop: &Stop,
    mut meanwhile: impl FnMut(),
) -> Result<Code, Refusal> {
    let failed = |error| Refusal::failed("run a command of the demo", &error);
    // Not the demo's group: what interrupts the demo reaches it once, through here.
    let mut child = command
        .process_group(group)
        .stdin(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let pid = id(&child)?;
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(match status.code() {
                Some(0) => Code::Done,
                Some(2) => Code::Usage,
                Some(3) => Code::Invalid,
                Some(4) => Code::Store,
                Some(130) => Code::Interrupted,
                _ if stop.asked() => Code::Interrupted,
                _ => Code::Failed,
            });
        }
        if stop.overdue() {
            let _ = kill_process(pid, Signal::KILL);
        } else if stop.asked() && !std::mem::replace(&mut asked, true) {
            let _ = kill_process(pid, Signal::INT);
        }
        meanwhile();
        std::thread::sleep(PULSE);
    }
}

fn start(
    program: &OsStr,
    arguments: &[OsString],
    log: &Path,
    group: i32,
) -> Result<Child, Refusal> {
    let what = format!("start {}", program.to_string_lossy());
    let failed = |error| Refusal::failed(&what, &error);
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let log = File::create(log).map_err(failed)?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .process_group(group)
        .spawn()
        .map_err(failed)
}

fn id(child: &Child) -> Result<Pid, Refusal> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| {
        Refusal::new(
            Code::Failed,
            "a process has no number",
            "this is a fault in fedact",
        )
    })
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    last.iter().map(|line| format!("  | {line}\n")).collect()
}
