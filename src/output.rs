//! Printing: results to standard output, errors to standard error.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::exit::{Code, Refusal};

/// Writes a result. A reader that has gone away (`fedact status | head`) has read enough.
///
/// # Errors
/// Standard output cannot be written to.
pub fn text(text: &str) -> Result<(), Refusal> {
    write(text.as_bytes())?;
    Ok(())
}

/// The same for a command that goes on by itself: says whether the reader is still there.
///
/// # Errors
/// As [`text`].
pub fn text_while_read(text: &str) -> Result<bool, Refusal> {
    write(text.as_bytes())
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// As [`text`].
pub fn json(value: &impl Serialize) -> Result<(), Refusal> {
    let mut line =
        serde_json::to_vec(value).map_err(|error| Refusal::failed("write JSON", &error))?;
    line.push(b'\n');
    write(&line)?;
    Ok(())
}

fn write(bytes: &[u8]) -> Result<bool, Refusal> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Refusal::failed("write to standard output", &error)),
        Ok(()) => Ok(true),
    }
}

/// Writes a file that the user asked for by name, over one that is there only if that is wanted.
///
/// # Errors
/// A file that is there, or cannot be written.
pub fn file(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), Refusal> {
    let mut options = File::options();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => Refusal::failed(&format!("write {}", path.display()), &error),
    })
}

/// Says that a file is there, and what helps.
pub fn already_there(path: &Path) -> Refusal {
    Refusal::new(
        Code::Usage,
        format!("{} is there already", path.display()),
        "give another name, or --overwrite",
    )
}

/// Says why the command did not do what was asked.
pub fn complain(refusal: &Refusal) {
    let mut text = String::new();
    let mut all = std::iter::once((&refusal.message, &refusal.help))
        .chain(refusal.others.iter().map(|(message, help)| (message, help)))
        .peekable();
    while let Some((message, help)) = all.next() {
        text.push_str(&format!("error: {message}\n"));
        // What helps against several errors in a row is said once.
        let repeated = all.peek().is_some_and(|(_, next)| *next == help);
        if let Some(help) = help.as_ref().filter(|_| !repeated) {
            text.push_str(&format!("help: {help}\n"));
        }
    }
    if refusal.code == Code::Usage {
        text.push_str(
            "`fedact --help` lists the commands, `fedact COMMAND --help` their options.\n",
        );
    }
    aside(&text);
}

/// Writes to standard error; there is nobody to tell if that fails.
pub fn aside(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

/// Bytes in a unit that people read.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number of things, as in `1 step` and `3 steps`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Seconds in a form that people read.
pub fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A moment, given in seconds since 1970, as in `2026-11-22 23:50 UTC`.
pub fn moment(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor() as i64;
    let minute = minutes.rem_euclid(1440);
    format!(
        "{} {:02}:{:02} UTC",
        date(minutes.div_euclid(1440)),
        minute / 60,
        minute % 60
    )
}

/// A moment as programs read it (RFC 3339), as in `2026-11-22T23:50:59.900Z`. One before 1970 is taken for 1970.
pub fn timestamp(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    format!(
        "{}T{:02}:{:02}:{:02}.{:03}Z",
        date(days as i64),
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// A day, given in days since 1970, as in `2026-11-22`.
fn date(days: i64) -> String {
    // Years are counted from March, so that the leap day is the last one of its year, and in cycles of
    // 400 years, which all have the same number of days (the Gregorian calendar's rule).
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, new_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{}-{month:02}-{day:02}", year + 400 * cycle + new_year)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        assert_eq!(moment(0.0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_400.0), "2000-02-29 00:00 UTC");
        assert_eq!(moment(1_795_391_459.9), "2026-11-22 23:50 UTC");
        assert_eq!(moment(4_107_542_400.0), "2100-03-01 00:00 UTC");
        let at = |millis| timestamp(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_868_799_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(at(1_795_391_459_900), "2026-11-22T23:50:59.900Z");
    }

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(9.96), "10 s");
        assert_eq!(duration(83.0), "1 min 23 s");
        assert_eq!(duration(3725.0), "1 h 2 min");
    }
}
