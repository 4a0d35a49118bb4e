//! A certificate authority for one fleet, and the server's certificate.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::files::{self, Lasting};
use crate::{FleetError, Name};

const YEARS: i32 = 10;
const SECONDS_OF_A_YEAR: u64 = 31_556_952;

/// Certificates and keys, in PEM.
pub(super) struct Certificates {
    /// The authority's certificate.
    pub authority: String,
    authority_key: String,
    server: String,
    server_key: String,
}

impl Certificates {
    /// New ones, good for ten years, for servers that are found at these names or addresses.
    pub fn make(fleet: &Name, hosts: &[String]) -> Result<Self, FleetError> {
        Self::try_make(fleet, hosts).map_err(|error| FleetError::Certificate {
            host: hosts.join(", "),
            reason: error.to_string(),
        })
    }

    fn try_make(fleet: &Name, hosts: &[String]) -> Result<Self, rcgen::Error> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let year = 1970 + since.map_or(0, |since| since.as_secs() / SECONDS_OF_A_YEAR) as i32;
        let dated = |names: Vec<String>, name: String| {
            let mut params = CertificateParams::new(names)?;
            // Devices without a clock of their own believe to be in the past.
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(year + YEARS, 12, 31);
            params.distinguished_name.push(DnType::CommonName, name);
            Ok::<_, rcgen::Error>(params)
        };
        let mut authority = dated(Vec::new(), format!("fedact fleet {fleet}"))?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
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
        let server_key = KeyPair::generate()?;
        let authority_key_pem = authority_key.serialize_pem();
        let issuer = Issuer::new(authority, authority_key);
        Ok(Self {
            authority: certificate.pem(),
            authority_key: authority_key_pem,
            server: server.signed_by(&server_key, &issuer)?.pem(),
            server_key: server_key.serialize_pem(),
        })
    }

    /// Writes them into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), FleetError> {
        self.write_server(folder)?;
        files::write_secret(&folder.join("authority.key"), self.authority_key.as_bytes())
    }

    /// Writes what a server needs into a folder.
    pub fn write_server(&self, folder: &Path) -> Result<(), FleetError> {
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
