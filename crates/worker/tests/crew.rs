//! Workers that answer, crash, spin, eat memory, and outlive nobody.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fedact_worker::{Crew, Death};

const LONG: Duration = Duration::from_secs(60);

/// What a worker takes of the processor when it is told to burn some.
const BURNT: Duration = Duration::from_millis(100);

/// What a process, or those that it has waited for, took of the processor.
fn processor(of: libc::c_int) -> Duration {
    // SAFETY: plain numbers, for which zero is a value; the call fills them in.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(of, &raw mut used), 0);
        used.ru_utime
    };
    Duration::new(used.tv_sec as u64, 1000 * used.tv_usec as u32)
}

/// Answers by the number of questions so far and the question; some words end it.
fn crew(memory: Option<u64>) -> Crew {
    let mut asked = 0u8;
    Crew::start(memory, move |question| {
        asked += 1;
        match question {
            b"abort" => std::process::abort(),
            // SAFETY: not safe, and meant not to be: no page is mapped there.
            b"fault" => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
            b"panic" => panic!("as it was asked to"),
            b"spin" => loop {
                std::hint::black_box(asked);
            },
            b"eat" => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            b"burn" => {
                while processor(libc::RUSAGE_SELF) < BURNT {
                    std::hint::black_box(asked);
                }
            }
            b"pid" => return std::process::id().to_string().into_bytes(),
            _ => {}
        }
        [&[asked], question].concat()
    })
    .unwrap()
}

#[test]
fn questions_are_answered_by_one_worker_as_long_as_one_is_asked_at_a_time() {
    let crew = crew(None);
    for number in 1..4 {
        let answer = crew.ask(b"x", LONG, Some).unwrap().unwrap();
        assert_eq!(answer, [number, b'x']);
    }
    let large = vec![7; 5_000_000];
    let answer = crew.ask(&large, LONG, Some).unwrap().unwrap();
    assert_eq!(answer[1..], large);
    assert_eq!(crew.ask_anew(b"", LONG, Some).unwrap().unwrap(), [1]);
}

#[test]
fn a_worker_that_crashes_says_how_and_the_next_question_finds_another() {
    let crew = crew(None);
    for (word, death) in [
        (&b"abort"[..], Death::Signal(6)),
        (b"fault", Death::Signal(11)),
        (b"panic", Death::Code(101)),
    ] {
        assert_eq!(crew.ask(word, LONG, Some).unwrap(), Err(death));
        assert_eq!(crew.ask(b"x", LONG, Some).unwrap().unwrap()[1..], *b"x");
    }
    assert!(Death::Signal(11).to_string().contains("SIGSEGV"));
}

#[test]
fn a_worker_that_does_not_return_is_killed_when_its_time_is_over() {
    let crew = crew(None);
    let began = Instant::now();
    let limit = Duration::from_millis(200);
    assert_eq!(crew.ask(b"spin", limit, Some).unwrap(), Err(Death::Overdue));
    assert!(began.elapsed() >= limit);
    assert_eq!(crew.ask(b"x", LONG, Some).unwrap().unwrap(), b"\x01x");
}

#[test]
fn a_worker_whose_answer_makes_no_sense_is_not_asked_again() {
    let crew = crew(None);
    crew.ask(b"x", LONG, Some).unwrap().unwrap();
    let refused = crew.ask(b"y", LONG, |_| None::<()>).unwrap();
    assert_eq!(refused, Err(Death::Nonsense));
    // The count of its answers begins anew.
    assert_eq!(crew.ask(b"x", LONG, Some).unwrap().unwrap(), b"\x01x");
}

#[test]
fn a_worker_gets_no_more_memory_than_its_share() {
    let crew = crew(Some(100 << 20));
    assert_eq!(crew.ask(b"eat", LONG, Some).unwrap(), Err(Death::Signal(6)));
    assert_eq!(crew.ask(b"x", LONG, Some).unwrap().unwrap(), b"\x01x");
}

#[test]
fn many_threads_ask_at_once_and_a_crash_is_nobody_elses() {
    let crew = crew(None);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let crew = &crew;
            scope.spawn(move || {
                for round in 0..20u8 {
                    let question = [thread, round];
                    let answer = crew.ask(&question, LONG, Some).unwrap().unwrap();
                    assert_eq!(answer[1..], question);
                    if round % 5 == thread {
                        assert_eq!(
                            crew.ask(b"abort", LONG, Some).unwrap(),
                            Err(Death::Signal(6))
                        );
                    }
                }
            });
        }
    });
}

/// Whether a process is there and not just waiting to be buried.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

fn gone_soon(pid: &str) -> bool {
    let began = Instant::now();
    while alive(pid) && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    !alive(pid)
}

#[test]
fn workers_end_with_their_crew() {
    let crew = crew(None);
    let pid = String::from_utf8(crew.ask(b"pid", LONG, Some).unwrap().unwrap()).unwrap();
    assert!(alive(&pid));
    drop(crew);
    assert!(gone_soon(&pid));
}

#[test]
fn what_workers_take_of_the_processor_is_counted_as_this_processs() {
    let crew = crew(None);
    crew.ask(b"burn", LONG, Some).unwrap().unwrap();
    let before = processor(libc::RUSAGE_CHILDREN);
    drop(crew);
    let taken = processor(libc::RUSAGE_CHILDREN) - before;
    assert!(taken >= BURNT * 9 / 10, "{taken:?}");
}

/// Told to this program when a test starts it once more, to be killed.
const VICTIM: &str = "FEDACT_WORKER_TEST_VICTIM";

/// Says the number of a worker that spins, and waits to be killed.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let crew = crew(None);
    let pid = String::from_utf8(crew.ask(b"pid", LONG, Some).unwrap().unwrap()).unwrap();
    std::fs::write(std::env::var_os(VICTIM).unwrap(), format!("{pid}\n")).unwrap();
    let _ = crew.ask(b"spin", LONG, Some);
}

#[test]
fn workers_end_with_the_process_of_their_crew_even_while_they_spin() {
    let folder = std::env::temp_dir().join(format!("fedact-worker-{}", std::process::id()));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, &folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let pid = loop {
        let said = std::fs::read_to_string(&folder).unwrap_or_default();
        if let Some(pid) = said.strip_suffix('\n') {
            break pid.to_owned();
        }
        assert!(began.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(alive(&pid));
    child.kill().unwrap();
    // A worker that still had it open would keep the reader of this output waiting.
    let output = BufReader::new(child.stdout.take().unwrap());
    output.lines().for_each(drop);
    child.wait().unwrap();
    let gone = gone_soon(&pid);
    std::fs::remove_file(&folder).unwrap();
    assert!(gone);
}
