//! Makes keys and certificates, and reads what is to be known of those there are. No IO.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use segment_source_runtime::tls::{Identity, Role, Roles};
use x509_parser::{
    certificate::X509Certificate, extensions::ParsedExtension, pem::Pem, prelude::FromDer as _,
};

use super::plan::{Authority, Leaf, Validity};

/// An authority as it is kept.
pub(super) struct Signer {
    pub(super) facts: Authority,
    /// Its certificate.
    pub(super) certificate: String,
    /// Its key, if it is there.
    key: Option<KeyPair>,
}

impl Signer {
    /// A new authority.
    pub(super) fn make(validity: Validity) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        // No two are called the same: who verifies a certificate looks its authority up by name.
        let made = jiff::Timestamp::from_second(validity.until).unwrap_or_default();
        let mut params = params(&format!("segment-source authority until {made}"), validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("cannot make an authority")?.pem();
        Self::read(&certificate, vec![key])
    }

    /// Reads a certificate, and finds its key among some.
    fn read(certificate: &str, keys: Vec<KeyPair>) -> anyhow::Result<Self> {
        let (der, _) = first(certificate).context("is no certificate")?;
        let (_, parsed) = X509Certificate::from_der(&der).context("is no certificate")?;
        let public = &parsed.public_key().subject_public_key.data;
        let key = keys.into_iter().find(|key| key.public_key_raw() == &public[..]);
        let id = identifier(&parsed, true).context("has no key identifier")?;
        let facts = Authority { id, validity: validity(&parsed), can_sign: key.is_some() };
        Ok(Self { facts, certificate: certificate.to_owned(), key })
    }

    /// Its key, to be kept.
    pub(super) fn key(&self) -> Option<String> {
        self.key.as_ref().map(KeyPair::serialize_pem)
    }

    /// A new certificate and its key.
    pub(super) fn sign(
        &self,
        roles: &Roles,
        validity: Validity,
    ) -> anyhow::Result<(String, String)> {
        let signing = self.key.as_ref().context("the authority's key is missing")?;
        let signing = KeyPair::from_pem(&signing.serialize_pem())?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, signing)?;
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = params(&format!("segment-source {roles}"), validity);
        let names = roles.iter().map(|role: Role| role.server_name()).collect::<Vec<_>>();
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer).context("cannot make a certificate")?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// The authorities in a text of certificates and one of keys. What is none is left out.
pub(super) fn authorities(certificates: &[u8], keys: &[u8]) -> Vec<Signer> {
    let texts = blocks(certificates, "CERTIFICATE");
    let read = texts.iter().filter_map(|text| {
        let keys = blocks(keys, "PRIVATE KEY")
            .iter()
            .filter_map(|it| KeyPair::from_pem(it).ok())
            .collect();
        Signer::read(text, keys).ok()
    });
    read.collect()
}

/// What is to be known of a certificate, if it, its key and the authorities belong together.
pub(super) fn leaf(certificate: &[u8], key: &[u8], ca: &[u8]) -> Option<Leaf> {
    let roles = Identity::from_pem(certificate, key, ca).ok()?.roles().clone();
    let (der, _) = first(std::str::from_utf8(certificate).ok()?)?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some(Leaf { issuer: identifier(&parsed, false)?, roles, validity: validity(&parsed) })
}

fn params(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let time = |seconds: i64| {
        let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        date_time_ymd(1970, 1, 1) + since
    };
    params.not_before = time(validity.from);
    params.not_after = time(validity.until);
    params
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() }
}

/// The identifier of the certificate's own key, or of the one that signed it.
fn identifier(certificate: &X509Certificate<'_>, own: bool) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|it| match it.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) if own => Some(id.0.to_vec()),
        ParsedExtension::AuthorityKeyIdentifier(id) if !own => {
            Some(id.key_identifier.as_ref()?.0.to_vec())
        }
        _ => None,
    })
}

fn first(text: &str) -> Option<(Vec<u8>, String)> {
    let pem = Pem::iter_from_buffer(text.as_bytes()).next()?.ok()?;
    Some((pem.contents, pem.label))
}

/// Each PEM block of a kind, as text.
fn blocks(text: &[u8], kind: &str) -> Vec<String> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let Some((body, after)) = after.split_once(&end) else { break };
        blocks.push(format!("{begin}{body}{end}\n"));
        rest = after;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use segment_source_runtime::tls::{Role, Roles};

    use super::{Signer, authorities, leaf};
    use crate::certificates::plan::{Leaf, Validity};

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn what_is_made_is_read_back() {
        let (one, two) = (Validity::of(NOW, 1000), Validity::of(NOW + 9, 1000));
        let (one, two) = (Signer::make(one).unwrap(), Signer::make(two).unwrap());
        let bundle = format!("{}{}", one.certificate, two.certificate);
        let keys = format!("{}{}", two.key().unwrap(), one.key().unwrap());
        let read = authorities(bundle.as_bytes(), keys.as_bytes());
        let facts: Vec<_> = read.iter().map(|it| it.facts.clone()).collect();
        assert_eq!(facts, [one.facts.clone(), two.facts.clone()]);
        assert!(one.facts.can_sign && one.facts.id != two.facts.id);
        // Without its key, and among what is none.
        let text = format!("nonsense{}-----BEGIN CERTIFICATE-----\nx", one.certificate);
        let read = authorities(text.as_bytes(), two.key().unwrap().as_bytes());
        assert_eq!((read.len(), read[0].facts.can_sign), (1, false));

        let roles: Roles = [Role::Edge, Role::Ingest].into_iter().collect();
        let validity = Validity::of(NOW + 20, 100);
        let (certificate, key) = two.sign(&roles, validity).unwrap();
        let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
        let expected = Leaf { issuer: two.facts.id.clone(), roles, validity };
        assert_eq!(leaf(certificate, key, bundle.as_bytes()), Some(expected));
        assert_eq!(leaf(certificate, one.key().unwrap().as_bytes(), bundle.as_bytes()), None);
        assert_eq!(leaf(b"", key, bundle.as_bytes()), None);
    }
}
