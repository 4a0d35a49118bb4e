//! Certificates that are out of date, in words.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;

/// What is out of date, and what to do, if that is why there is no connection: the server's certificate or this machine's clock.
pub(super) fn out_of_date(error: &(dyn Error + 'static)) -> Option<String> {
    match certificate_error(error)? {
        CertificateError::ExpiredContext { time, not_after } => Some(format!(
            "its certificate was good until {}, and this machine's clock says {}; if the clock is right, have the certificate \
             renewed where the fleet was set up: fedact fleet renew",
            day(*not_after),
            day(*time)
        )),
        CertificateError::NotValidYetContext { time, not_before } => Some(format!(
            "its certificate begins on {}, and this machine's clock says {}; set the clock (timedatectl set-ntp true, or date -s): \
             without a battery it is wrong until the network has told it the time",
            day(*not_before),
            day(*time)
        )),
        _ => None,
    }
}

/// What TLS has against a certificate, if that is somewhere among the causes of an error.
fn certificate_error<'error>(
    error: &'error (dyn Error + 'static),
) -> Option<&'error CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
        return Some(reason);
    }
    // An error of input and output gives the causes of what it wraps, and not that itself.
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let wrapped = wrapped.and_then(|wrapped| certificate_error(wrapped));
    wrapped.or_else(|| certificate_error(error.source()?))
}

/// A day as in `2026-11-27`, in UTC.
fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match moment {
        Some(moment) => moment.date().to_string(),
        None => "a day that no calendar has".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn on(day: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(day * 86_400))
    }

    fn wrapped(reason: CertificateError) -> io::Error {
        let inner = rustls::Error::InvalidCertificate(reason);
        io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner))
    }

    #[test]
    fn a_certificate_that_ended_is_told_from_a_clock_that_is_behind_and_from_all_else() {
        let ended = wrapped(CertificateError::ExpiredContext {
            time: on(20_784),
            not_after: on(20_453),
        });
        let words = out_of_date(&ended).unwrap();
        for part in [
            "good until 2025-12-31",
            "says 2026-11-27",
            "fedact fleet renew",
        ] {
            assert!(words.contains(part), "no {part:?} in {words}");
        }
        let early = wrapped(CertificateError::NotValidYetContext {
            time: on(1),
            not_before: on(10_957),
        });
        let words = out_of_date(&early).unwrap();
        for part in ["begins on 2000-01-01", "says 1970-01-02", "timedatectl"] {
            assert!(words.contains(part), "no {part:?} in {words}");
        }
        assert_eq!(out_of_date(&wrapped(CertificateError::UnknownIssuer)), None);
        assert_eq!(out_of_date(&io::Error::other("the cable is out")), None);
    }

    #[test]
    fn a_day_beyond_all_calendars_is_no_panic() {
        let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        assert!(day(never).contains("no calendar"));
    }
}
