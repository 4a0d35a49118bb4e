//! A real NATS server in a process of its own.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Debian puts it where the path of users does not lead.
pub fn program() -> Option<PathBuf> {
    let mut places = ["nats-server", "/usr/sbin/nats-server"].into_iter();
    let found = places.find(|place| {
        let tried = Command::new(place)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("SKIPPED: there is no nats-server; install Debian's package of that name");
    }
    found.map(PathBuf::from)
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server; it is killed when dropped.
pub struct Server(Child);

impl Server {
    /// With the configuration of a fleet; returns when it listens.
    pub fn start(program: &Path, fleet: &Path, port: u16) -> Self {
        let server = Command::new(program)
            .arg("-c")
            .arg(fleet.join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let limit = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < limit, "nats-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
