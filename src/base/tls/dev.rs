//! A certificate for one's own machine: an authority made for this once, and a certificate by it.
//!
//! In:  names and addresses, the time. Out: PEM texts. The authority's key is thrown away, so that whoever trusts it trusts
//! nothing but this certificate.

use chrono::{DateTime, Datelike as _, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::base::clock::WallTime;

/// How long it is good for: browsers refuse more than 825 days.
const VALID: Days = Days::new(397);
/// Clocks differ.
const BACKDATED: Days = Days::new(1);

/// What was made.
pub struct Made {
    /// The certificate, then its authority's: what a server shows, and what its clients may trust.
    pub chain_pem: String,
    /// The certificate's private key.
    pub key_pem: String,
    /// The last moment it is good for, nearly.
    pub until: DateTime<Utc>,
}

/// Makes a certificate for these hosts.
pub fn certificate(hosts: &[String], now: WallTime) -> Result<Made, rcgen::Error> {
    let now = now.instant();
    let until = now + VALID;
    let authority_key = KeyPair::generate()?;
    let mut authority = params(&[], now, "Weir development authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = authority.self_signed(&authority_key)?;
    let key = KeyPair::generate()?;
    let mut params = params(hosts, now, "Weir development server")?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority, &authority_key)?;
    Ok(Made {
        chain_pem: certificate.pem() + &authority.pem(),
        key_pem: key.serialize_pem(),
        until,
    })
}

fn params(
    hosts: &[String],
    now: DateTime<Utc>,
    name: &str,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    params.distinguished_name = distinguished;
    let day = |at: DateTime<Utc>| {
        let [month, day] = [at.month(), at.day()].map(|part| u8::try_from(part).unwrap_or(1));
        date_time_ymd(at.year(), month, day)
    };
    params.not_before = day(now - BACKDATED);
    params.not_after = day(now + VALID);
    Ok(params)
}
