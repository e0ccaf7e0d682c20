//! The master key and what is made with it: sealed provider secrets, keyed hashes of virtual keys, fresh secrets.

use actors::bodies::SealedKey;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use cluster_config::Secrets;
use events::{NoteId, ProviderId, State, TenantId, WebhookId, key::KeyHash};
use hmac::{Hmac, Mac};
use journal::disk::write_whole;
use sha2::{Digest, Sha256};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use store::RealDisk;

/// Version of the form of a sealed note: version, nonce, ciphertext with tag.
const SEALED: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum VaultFault {
    #[error("the master key in {0} is not 64 hexadecimal digits")]
    Form(String),
    #[error("{0} is not there, but the data directory is not new: put the master key back, for what it sealed cannot be opened without it")]
    Lost(PathBuf),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
}

/// Where a master key is kept if nobody says otherwise.
pub struct Keeping<'a> {
    pub folder: &'a Path,
    /// Nothing was sealed there yet.
    pub is_new: bool,
}

/// Seals and hashes under keys that are derived from the master key.
#[derive(Clone)]
pub struct Vault(Arc<Keys>);

struct Keys {
    cipher: XChaCha20Poly1305,
    hasher: Hmac<Sha256>,
}

impl Vault {
    fn new(master: &[u8; 32]) -> Vault {
        let derive = |purpose: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(master).expect("HMAC takes keys of any length");
            mac.update(purpose.as_bytes());
            mac.finalize().into_bytes()
        };
        let cipher = XChaCha20Poly1305::new_from_slice(&derive("tollgate seal 1")).expect("a SHA-256 has the length of the key");
        let hasher = Hmac::new_from_slice(&derive("tollgate key hash 1")).expect("HMAC takes keys of any length");
        Vault(Arc::new(Keys { cipher, hasher }))
    }

    /// The master key from `TOLLGATE_MASTER_KEY`, from the file that `TOLLGATE_MASTER_KEY_FILE` names, or from the data directory, where it is
    /// made with a warning if it is not there. Without a directory (journal in memory) it is made and forgotten.
    ///
    /// # Errors
    /// A key that is not one, or a file that cannot be read or written.
    pub fn open(data: Option<Keeping<'_>>, vars: &dyn Fn(&str) -> Option<String>) -> Result<Vault, VaultFault> {
        let vars = |name: &str| vars(name).filter(|value| !value.is_empty());
        if let Some(key) = vars("TOLLGATE_MASTER_KEY") {
            return parse(&key).map(|key| Vault::new(&key)).ok_or(VaultFault::Form("TOLLGATE_MASTER_KEY".into()));
        }
        if let Some(path) = vars("TOLLGATE_MASTER_KEY_FILE") {
            return read(Path::new(&path)).map(|key| Vault::new(&key));
        }
        let Some(data) = data else { return Ok(Vault::new(&chance())) };
        let path = data.folder.join(FILE);
        if path.exists() {
            return read(&path).map(|key| Vault::new(&key));
        }
        if !data.is_new {
            return Err(VaultFault::Lost(path));
        }
        let key = chance();
        write(data.folder, &key)?;
        tracing::warn!(path = %path.display(), "a master key was made; keep a copy apart from the data: without it the providers' secrets cannot be opened");
        Ok(Vault::new(&key))
    }

    /// With the key in a file.
    pub fn of_file(path: &Path) -> Result<Vault, VaultFault> {
        read(path).map(|key| Vault::new(&key))
    }

    /// HMAC of a shown key.
    pub fn hash(&self, secret: &str) -> KeyHash {
        let mut mac = self.0.hasher.clone();
        mac.update(secret.as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }
}

/// In the data directory.
const FILE: &str = "master.key";

fn chance() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has a random source");
    bytes
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let digits: Option<Vec<u8>> = (0..64).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    digits.filter(|_| text.len() == 64)?.try_into().ok()
}

pub fn read(path: &Path) -> Result<[u8; 32], VaultFault> {
    let text = std::fs::read_to_string(path).map_err(|error| VaultFault::File { path: path.into(), error })?;
    parse(&text).ok_or_else(|| VaultFault::Form(path.display().to_string()))
}

/// Into a folder that has none: all of it or nothing, whatever happens meanwhile.
pub fn write(folder: &Path, key: &[u8; 32]) -> Result<(), VaultFault> {
    let path = folder.join(FILE);
    let file = || -> std::io::Result<()> {
        if path.exists() {
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
        let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        write_whole(&RealDisk::new(folder)?, FILE, text.as_bytes())
    };
    file().map_err(|error| VaultFault::File { path: path.clone(), error })
}

fn bound_to(provider: ProviderId) -> Vec<u8> {
    format!("provider secret {provider}").into_bytes()
}

fn bound_to_webhook(webhook: WebhookId) -> Vec<u8> {
    format!("webhook secret {webhook}").into_bytes()
}

fn key_of(tenant: TenantId) -> Vec<u8> {
    format!("data key {tenant}").into_bytes()
}

impl Vault {
    fn sealed(&self, aad: &[u8], plain: &[u8]) -> SealedKey {
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&chance()[..NONCE_BYTES]);
        let sealed =
            self.0.cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad }).expect("a secret is shorter than the cipher's limit");
        let note = [&[SEALED], nonce.as_slice(), &sealed].concat();
        (Sha256::digest(&note).into(), note)
    }

    fn opened(&self, aad: &[u8], note: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = note.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let opened = self.0.cipher.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad }).ok()?;
        Some(opened).filter(|_| *version == SEALED)
    }

    /// A new data key for a tenant, sealed.
    pub fn fresh_data_key(&self, tenant: TenantId) -> SealedKey {
        self.sealed(&key_of(tenant), &chance())
    }

    /// The data key in a tenant's note; None if the note was sealed under another key, or is damaged.
    pub fn unseal_data_key(&self, tenant: TenantId, note: &[u8]) -> Option<[u8; 32]> {
        self.opened(&key_of(tenant), note)?.try_into().ok()
    }
}

impl actors::ports::Vault for Vault {
    fn unseal(&self, provider: ProviderId, note: &[u8]) -> Option<String> {
        String::from_utf8(self.opened(&bound_to(provider), note)?).ok()
    }
}

impl Secrets for Vault {
    fn seal(&mut self, provider: ProviderId, secret: &str) -> ([u8; 32], Vec<u8>) {
        self.sealed(&bound_to(provider), secret.as_bytes())
    }

    fn seal_at(&mut self, place: &[u8], text: &[u8]) -> Vec<u8> {
        self.sealed(place, text).1
    }

    fn unsealed_at(&self, place: &[u8], note: &[u8]) -> Option<Vec<u8>> {
        self.opened(place, note)
    }

    fn seal_webhook(&mut self, webhook: WebhookId, secret: &str) -> ([u8; 32], Vec<u8>) {
        self.sealed(&bound_to_webhook(webhook), secret.as_bytes())
    }

    fn unsealed_webhook(&self, webhook: WebhookId, state: &State) -> Option<String> {
        let note = state.desk.notes.get(&NoteId::WebhookSecret(webhook))?;
        String::from_utf8(self.opened(&bound_to_webhook(webhook), note)?).ok()
    }

    fn make_webhook(&mut self) -> String {
        // letters and digits alone, a multiple of four: base64 of 24 bytes
        self.make().replacen("sk-tg-", "whsec_", 1)
    }

    fn unsealed(&self, provider: ProviderId, state: &State) -> Option<String> {
        let note = state.desk.notes.get(&NoteId::ProviderSecret(provider))?;
        actors::ports::Vault::unseal(self, provider, note)
    }

    fn hash(&self, secret: &str) -> KeyHash {
        Vault::hash(self, secret)
    }

    fn make(&mut self) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";
        let secret: String = chance().iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect();
        format!("sk-tg-{secret}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::ports::Vault as _;

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let mut vault = Vault::new(&[7; 32]);
        let (digest, note) = vault.seal(ProviderId(3), "sk-secret");
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(&note)));
        assert_eq!(vault.unseal(ProviderId(3), &note).as_deref(), Some("sk-secret"));
        assert_eq!(vault.unseal(ProviderId(4), &note), None, "bound to its provider");
        assert_eq!(Vault::new(&[8; 32]).unseal(ProviderId(3), &note), None, "another master key");
        for at in 0..note.len() {
            let mut flipped = note.clone();
            flipped[at] ^= 1;
            assert_eq!(vault.unseal(ProviderId(3), &flipped), None, "byte {at}");
        }
        assert!(!note.windows(9).any(|window| window == b"sk-secret"));
    }

    #[test]
    fn a_data_key_opens_only_for_its_tenant() {
        let vault = Vault::new(&[7; 32]);
        let (_, note) = vault.fresh_data_key(TenantId(3));
        let key = vault.unseal_data_key(TenantId(3), &note);
        assert!(key.is_some());
        assert_ne!(key, vault.unseal_data_key(TenantId(3), &vault.fresh_data_key(TenantId(3)).1), "each is new");
        assert_eq!(vault.unseal_data_key(TenantId(4), &note), None);
        assert_eq!(Vault::new(&[8; 32]).unseal_data_key(TenantId(3), &note), None);
    }

    #[test]
    fn a_master_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let none = |_: &str| None;
        let kept = |is_new| Vault::open(Some(Keeping { folder: folder.path(), is_new }), &none);
        assert!(matches!(kept(false), Err(VaultFault::Lost(_))), "what was sealed before cannot be opened with a fresh key");
        let (first, second) = (kept(true).unwrap(), kept(false).unwrap());
        assert_eq!(first.hash("sk-a"), second.hash("sk-a"));
        assert_ne!(first.hash("sk-a"), first.hash("sk-b"));
        assert!(Vault::open(None, &|name| (name == "TOLLGATE_MASTER_KEY").then(|| "short".to_owned())).is_err());
    }
}
