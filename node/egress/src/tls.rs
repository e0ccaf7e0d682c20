//! The TLS of everything that is dialled: rustls with ring, the system's roots and those of the operator.

use std::{fmt, path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// Why the process cannot dial.
#[derive(Debug)]
pub enum TlsFault {
    /// The bundle of further roots cannot be read or holds no certificate: path, reason.
    Roots(String, String),
    /// The TLS library refuses its own defaults.
    Library(rustls::Error),
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::Roots(path, reason) => write!(f, "CA bundle {path}: {reason}"),
            TlsFault::Library(error) => write!(f, "TLS: {error}"),
        }
    }
}

impl std::error::Error for TlsFault {}

/// Builds the configuration that all connections share: TLS 1.2 and 1.3, `http/1.1` by ALPN, sessions resumed.
pub(crate) fn client_config(extra_roots: Option<&Path>) -> Result<Arc<ClientConfig>, TlsFault> {
    let mut roots = system_roots();
    if let Some(path) = extra_roots {
        add_bundle(&mut roots, path)?;
    }
    if roots.is_empty() {
        tracing::warn!("no root certificates found: no https provider can be reached; set SSL_CERT_FILE");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsFault::Library)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A byte sent before the handshake ends could be replayed and could not be called unsent.
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a root certificate of the system was not read");
    }
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "root certificates of the system that cannot be used");
    }
    roots
}

fn add_bundle(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsFault> {
    let fault = |reason: String| TlsFault::Roots(path.display().to_string(), reason);
    let mut added = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))? {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
        added += 1;
    }
    if added == 0 { Err(fault("holds no certificate".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_bundle_that_is_missing_empty_or_broken_is_an_error() {
        assert!(matches!(client_config(Some(Path::new("/nowhere/ca.pem"))), Err(TlsFault::Roots(..))));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(client_config(Some(file.path())), Err(TlsFault::Roots(_, reason)) if reason == "holds no certificate"));
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(matches!(client_config(Some(file.path())), Err(TlsFault::Roots(..))));
    }
}
