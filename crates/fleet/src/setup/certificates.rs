//! A certificate authority for one fleet, and the server's certificate.
//!
//! Both are renewed with the keys that they have: devices believe whatever the authority's key has signed under its name, and do not
//! look at how long the copy in their join files was to last.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::server;
use crate::files::{self, Lasting};
use crate::identity::Roster;
use crate::{FleetError, Name};

const YEARS: i32 = 10;
const SECONDS_OF_A_YEAR: u64 = 31_556_952;

/// Certificates and keys, in PEM.
pub(super) struct Certificates {
    /// The authority's certificate.
    pub authority: String,
    /// The day after which they are not believed, as in `2036-12-31`.
    pub until: String,
    authority_key: String,
    server: String,
    server_key: String,
}

impl Certificates {
    /// New ones, good for ten years, for servers that are found at these names or addresses.
    pub fn make(fleet: &Name, hosts: &[String]) -> Result<Self, FleetError> {
        let made = KeyPair::generate()
            .and_then(|authority| Ok((authority, KeyPair::generate()?)))
            .and_then(|(authority, server)| Self::signed(fleet, hosts, authority, server));
        made.map_err(not_for(hosts))
    }

    /// The same with the keys in this folder.
    pub fn renew(fleet: &Name, hosts: &[String], folder: &Path) -> Result<Self, FleetError> {
        let read = |name: &str| {
            let pem = files::read_secret(&folder.join(name))?;
            KeyPair::from_pem(&pem).map_err(|error| FleetError::Invalid {
                path: folder.join(name),
                reason: format!("it is no private key: {error}; restore it from a copy"),
            })
        };
        let (authority, server) = (read("authority.key")?, read("server.key")?);
        Self::signed(fleet, hosts, authority, server).map_err(not_for(hosts))
    }

    fn signed(
        fleet: &Name,
        hosts: &[String],
        authority_key: KeyPair,
        server_key: KeyPair,
    ) -> Result<Self, rcgen::Error> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let year = 1970 + since.map_or(0, |since| since.as_secs() / SECONDS_OF_A_YEAR) as i32;
        let last_year = year + YEARS;
        let dated = |names: Vec<String>, name: String| {
            let mut params = CertificateParams::new(names)?;
            // Devices without a battery for their clock believe to be in 1970 until the network tells them better.
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = date_time_ymd(last_year, 12, 31);
            params.distinguished_name.push(DnType::CommonName, name);
            Ok::<_, rcgen::Error>(params)
        };
        let mut authority = dated(Vec::new(), format!("fedact fleet {fleet}"))?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = authority.self_signed(&authority_key)?;

        let mut server = dated(hosts.to_vec(), format!("server of {fleet}"))?;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if hosts.len() > 1 {
            // Servers of a cluster are each other's clients.
            server
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        server.use_authority_key_identifier_extension = true;
        let authority_key_pem = authority_key.serialize_pem();
        let issuer = Issuer::new(authority, authority_key);
        Ok(Self {
            authority: certificate.pem(),
            until: format!("{last_year}-12-31"),
            authority_key: authority_key_pem,
            server: server.signed_by(&server_key, &issuer)?.pem(),
            server_key: server_key.serialize_pem(),
        })
    }

    /// Writes them into the folder of a fleet, and for each server of a cluster into its own.
    pub fn hand_out(&self, fleet: &Path, roster: &Roster) -> Result<(), FleetError> {
        let own = fleet.join("tls");
        files::write_secret(&own.join("authority.key"), self.authority_key.as_bytes())?;
        self.write_server(&own)?;
        for place in server::places(fleet, roster) {
            let tls = place.folder.join("tls");
            if tls != own {
                files::folder(&tls)?;
                self.write_server(&tls)?;
            }
        }
        Ok(())
    }

    /// Writes what a server needs into a folder.
    fn write_server(&self, folder: &Path) -> Result<(), FleetError> {
        let public = [
            ("authority.pem", &self.authority),
            ("server.pem", &self.server),
        ];
        for (name, pem) in public {
            files::write(&folder.join(name), &[pem.as_bytes()], Lasting::Synced)?;
        }
        files::write_secret(&folder.join("server.key"), self.server_key.as_bytes())
    }
}

/// For `map_err`: why there is no certificate for these hosts.
fn not_for(hosts: &[String]) -> impl FnOnce(rcgen::Error) -> FleetError + '_ {
    move |error| FleetError::Certificate {
        host: hosts.join(", "),
        reason: error.to_string(),
    }
}
