//! The *certificates* of a cluster: an authority of its own, the API server's certificate, an administrator's, and the
//! key that signs service account tokens. Made anew for each cluster, in a millisecond, without another program.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{Error, Result};

/// Writes `ca.crt`, `apiserver.{crt,key}`, `admin.{crt,key}` and `service-accounts.{pub,key}` into `dir`.
///
/// `addresses` are the names and IP addresses under which the API server is reached.
pub(crate) fn write(dir: &Path, addresses: &[&str]) -> Result<()> {
    let mut authority = params("testbed-ca", None, &[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);
    save(dir, "ca.crt", &authority_certificate.pem())?;

    let mut server = params("kube-apiserver", None, addresses)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(dir, "apiserver", server, &issuer)?;

    // Kubernetes reads the user from the common name and the groups from the organisation.
    let mut admin = params("admin", Some("system:masters"), &[])?;
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(dir, "admin", admin, &issuer)?;

    let tokens = KeyPair::generate()?;
    save(dir, "service-accounts.pub", &tokens.public_key_pem())?;
    save(dir, "service-accounts.key", &tokens.serialize_pem())
}

fn params(name: &str, organisation: Option<&str>, addresses: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = addresses.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    Ok(params)
}

fn sign(dir: &Path, name: &str, params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    save(dir, &format!("{name}.crt"), &certificate.pem())?;
    save(dir, &format!("{name}.key"), &key.serialize_pem())
}

fn save(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::file("write", path))
}
