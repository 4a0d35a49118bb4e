//! Getting in: TLS with the fleet's own authority, an nkey, and what happens when the door stays shut.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::watch;

use super::Line;
use super::certificate::{self, Noting};
use super::line::Standing;
use crate::FleetError;
use crate::identity::Key;

/// What is needed to get in.
#[derive(Debug)]
pub(crate) struct Door<'door> {
    /// `nats://` on loopback, `tls://` elsewhere; several where a cluster of servers is.
    pub addresses: Vec<&'door str>,
    /// The only certificate authority that is believed, in PEM.
    pub authority: Option<&'door str>,
    /// Who asks.
    pub key: &'door Key,
    /// Where answers come.
    pub inbox: String,
    /// What the server's own lists call the connection.
    pub name: String,
}

/// Connects, as often as it takes: a server that is not there may come. After that the connection comes back by
/// itself, to any of the addresses.
///
/// # Errors
/// An address or the certificate means nothing, TLS is missing, or the server refuses the key.
pub(crate) async fn connect(door: &Door<'_>) -> Result<Line, FleetError> {
    let mut addresses = Vec::new();
    for address in &door.addresses {
        let address: ServerAddr = address.parse().map_err(|_| {
            not_let_in(
                door,
                "it is no address; give one as in tls://fl.example:4222".into(),
            )
        })?;
        if !address.tls_required() && !is_loopback(address.host()) {
            return Err(not_let_in(
                door,
                "it is on another machine and without TLS; give a tls:// address".into(),
            ));
        }
        addresses.push(address);
    }
    let tls = addresses.iter().any(ServerAddr::tls_required);
    loop {
        let (told, standing) = watch::channel(Standing::default());
        let options = options(door, tls, told)?;
        match options.connect(addresses.clone()).await {
            Ok(client) => return Ok(Line { client, standing }),
            Err(error) => {
                let against = standing.borrow().against.clone();
                if let Some(reason) = against.as_ref().and_then(certificate::out_of_date) {
                    return Err(FleetError::OutOfDate {
                        address: door.addresses.join(", "),
                        reason,
                    });
                }
                if let Some(against) = against {
                    return Err(not_let_in(door, against.to_string()));
                }
                match error.kind() {
                    ConnectErrorKind::AuthorizationViolation
                    | ConnectErrorKind::Authentication
                    | ConnectErrorKind::Tls
                    | ConnectErrorKind::ServerParse => {
                        return Err(not_let_in(door, error.to_string()));
                    }
                    _ => tokio::time::sleep(Duration::from_millis(300)).await,
                }
            }
        }
    }
}

fn options(
    door: &Door<'_>,
    tls: bool,
    told: watch::Sender<Standing>,
) -> Result<ConnectOptions, FleetError> {
    let heard = told.clone();
    let mut options = ConnectOptions::new()
        .nkey(door.key.seed()?)
        .name(&door.name)
        .custom_inbox_prefix(&door.inbox)
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(None)
        .ping_interval(Duration::from_secs(10))
        .subscription_capacity(512)
        .client_capacity(256)
        .ignore_discovered_servers()
        .reconnect_delay_callback(|attempts| Duration::from_millis(100 * attempts.min(20) as u64))
        .event_callback(move |event| {
            heard.send_modify(|standing| match &event {
                Event::Connected => standing.made += 1,
                Event::Disconnected => standing.lost += 1,
                event => standing.shut |= is_refusal(event),
            });
            std::future::ready(())
        });
    if tls {
        options = options
            .require_tls(true)
            .tls_client_config(tls_config(door, told)?);
    }
    Ok(options)
}

fn is_refusal(event: &Event) -> bool {
    match event {
        Event::ServerError(ServerError::AuthorizationViolation) => true,
        Event::ClientError(error) => error.to_string().to_lowercase().contains("authorization"),
        _ => false,
    }
}

fn tls_config(
    door: &Door<'_>,
    told: watch::Sender<Standing>,
) -> Result<rustls::ClientConfig, FleetError> {
    let wrong = |reason: String| FleetError::Certificate {
        host: door.addresses.join(", "),
        reason,
    };
    let pem = door.authority.ok_or_else(|| {
        wrong("there is no certificate authority for it; the join file has one".into())
    })?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Noting::new(roots, Arc::clone(&provider), told);
    let verifier = verifier.map_err(|error| wrong(error.to_string()))?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    // What is believed is what it would be without: see there.
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(config.with_no_client_auth())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn not_let_in(door: &Door<'_>, reason: String) -> FleetError {
    FleetError::NotLetIn {
        address: door.addresses.join(", "),
        reason,
    }
}
