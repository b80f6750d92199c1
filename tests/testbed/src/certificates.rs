//! The *certificates* of a cluster: an authority of its own, what the API server and the kubelet serve with, one for each
//! user that talks to the API server, and the key that signs service account tokens. Made anew for each cluster, in a
//! few milliseconds, without another program.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{Error, Result};

/// A certificate to be made.
pub(crate) struct Certificate<'a> {
    /// Its files are NAME.crt and NAME.key.
    pub(crate) name: &'a str,
    /// Kubernetes reads the user from it.
    pub(crate) common_name: &'a str,
    /// Kubernetes reads the group from it.
    pub(crate) organisation: Option<&'a str>,
    /// Names and IP addresses under which a server is reached; none for a client.
    pub(crate) addresses: &'a [&'a str],
}

/// Writes `ca.crt`, the files of each certificate and `service-accounts.{pub,key}` into `dir`.
pub(crate) fn write(dir: &Path, certificates: &[Certificate<'_>]) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "testbed-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);
    save(dir, "ca.crt", &authority_certificate.pem())?;

    for certificate in certificates {
        let key = KeyPair::generate()?;
        let signed = certificate.params()?.signed_by(&key, &issuer)?;
        save(dir, &format!("{}.crt", certificate.name), &signed.pem())?;
        save(dir, &format!("{}.key", certificate.name), &key.serialize_pem())?;
    }

    let tokens = KeyPair::generate()?;
    save(dir, "service-accounts.pub", &tokens.public_key_pem())?;
    save(dir, "service-accounts.key", &tokens.serialize_pem())
}

impl Certificate<'_> {
    fn params(&self) -> Result<CertificateParams> {
        let addresses: Vec<String> = self.addresses.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name.push(DnType::CommonName, self.common_name);
        if let Some(organisation) = self.organisation {
            params.distinguished_name.push(DnType::OrganizationName, organisation);
        }
        let usage = if self.addresses.is_empty() {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        };
        params.extended_key_usages = vec![usage];
        Ok(params)
    }
}

fn save(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::file("write", path))
}
