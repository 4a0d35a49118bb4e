//! Every byte that a device sends, and what it is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Stands between devices and their server, and keeps what the devices send.
pub struct Wire {
    pub port: u16,
    /// Of each connection, in order.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A command of NATS's client protocol, <https://docs.nats.io/reference/reference-protocols/nats-protocol>.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// Who it is: the options of `CONNECT`, as JSON.
    Connect(String),
    /// `PING` or `PONG`.
    Sign,
    /// The subject of a subscription; none for an end of one.
    Subscription(Option<String>),
    /// A message.
    Published { subject: String, payload: Vec<u8> },
}

impl Wire {
    /// Hands everything on to the server at this port, and back.
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = Arc::clone(&sent);
        std::thread::spawn(move || {
            for device in listener.incoming() {
                let device = device.unwrap();
                // Without a server there is no way on.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let (back_from, back_to) =
                    (server.try_clone().unwrap(), device.try_clone().unwrap());
                std::thread::spawn(move || hand_on(back_from, back_to, |_| {}));
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let all = Arc::clone(&all);
                std::thread::spawn(move || {
                    hand_on(device, server, |bytes| {
                        all.lock().unwrap()[number].extend_from_slice(bytes);
                    });
                });
            }
        });
        Self { port, sent }
    }

    /// What was sent so far, connection by connection.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap().clone()
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut room = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut room) {
        keep(&room[..count]);
        if to.write_all(&room[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// All that is said in these bytes, and how many bytes at their end were cut off in the midst of a command, as a process that was killed
/// leaves them. Fails on anything that is no command of the protocol.
pub fn read(mut bytes: &[u8]) -> (Vec<Said>, usize) {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        match one(bytes) {
            Some((said, rest)) => {
                all.push(said);
                bytes = rest;
            }
            None => break,
        }
    }
    (all, bytes.len())
}

/// The first command and what comes after; nothing if it is not complete.
fn one(bytes: &[u8]) -> Option<(Said, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).unwrap();
    let rest = &bytes[end + 2..];
    let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let said = match verb {
        "CONNECT" => Said::Connect(arguments.to_owned()),
        "PING" | "PONG" => Said::Sign,
        "SUB" => Said::Subscription(Some(words[0].to_owned())),
        "UNSUB" => Said::Subscription(None),
        // PUB subject [reply] bytes; HPUB has headers before the payload, which are read as a part of it.
        "PUB" | "HPUB" => {
            let length: usize = words.last().unwrap().parse().unwrap();
            let payload = rest.get(..length)?.to_vec();
            let after = rest.get(length..length + 2)?;
            assert_eq!(after, b"\r\n");
            let subject = words[0].to_owned();
            return Some((Said::Published { subject, payload }, &rest[length + 2..]));
        }
        _ => panic!("{line} is no command"),
    };
    Some((said, rest))
}

#[test]
fn commands_are_told_apart_to_the_last_byte() {
    let bytes = b"CONNECT {\"a\":1}\r\nPING\r\nSUB _INBOX.x.* 1\r\nPUB a.b _INBOX.x.1 3\r\nx\r\n\r\nUNSUB 1\r\nPUB a 9\r\nhal";
    let (said, left) = read(bytes);
    let published = Said::Published {
        subject: "a.b".into(),
        payload: b"x\r\n".to_vec(),
    };
    let expected = [
        Said::Connect("{\"a\":1}".into()),
        Said::Sign,
        Said::Subscription(Some("_INBOX.x.*".into())),
        published,
        Said::Subscription(None),
    ];
    assert_eq!(said, expected);
    assert_eq!(left, "PUB a 9\r\nhal".len());
}
