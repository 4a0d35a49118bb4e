//! Certificates that are not believed, and what is wrong with those that are out of date, in words.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::line::Standing;

/// What is out of date about a certificate, and what to do: it has ended, or this machine's clock is behind.
pub(super) fn out_of_date(error: &CertificateError) -> Option<String> {
    match error {
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

/// Believes what TLS believes, and takes down what it has against a certificate: whoever makes a connection again and again says
/// of its attempts only that they failed.
#[derive(Debug)]
pub(super) struct Noting {
    verifier: Arc<WebPkiServerVerifier>,
    standing: watch::Sender<Standing>,
}

impl Noting {
    /// One that believes these authorities.
    pub fn new(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
        standing: watch::Sender<Standing>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(Self {
            verifier: verifier.build()?,
            standing,
        })
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            certificate,
            intermediates,
            server,
            ocsp_response,
            now,
        );
        let against = match &verified {
            Err(rustls::Error::InvalidCertificate(against)) => Some(against.clone()),
            _ => None,
        };
        self.standing
            .send_modify(|standing| standing.against = against);
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
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

    #[test]
    fn a_certificate_that_ended_is_told_from_a_clock_that_is_behind_and_from_all_else() {
        let ended = CertificateError::ExpiredContext {
            time: on(20_784),
            not_after: on(20_453),
        };
        let words = out_of_date(&ended).unwrap();
        for part in [
            "good until 2025-12-31",
            "says 2026-11-27",
            "fedact fleet renew",
        ] {
            assert!(words.contains(part), "no {part:?} in {words}");
        }
        let early = CertificateError::NotValidYetContext {
            time: on(1),
            not_before: on(10_957),
        };
        let words = out_of_date(&early).unwrap();
        for part in ["begins on 2000-01-01", "says 1970-01-02", "timedatectl"] {
            assert!(words.contains(part), "no {part:?} in {words}");
        }
        assert_eq!(out_of_date(&CertificateError::UnknownIssuer), None);
    }

    #[test]
    fn a_day_beyond_all_calendars_is_no_panic() {
        let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        assert!(day(never).contains("no calendar"));
    }
}
