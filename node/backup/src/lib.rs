//! Backups are sealed in the age format (v1, X25519), so that the standard `age` tool opens them too. The only home of that library;
//! what is inside is `journal::backup`'s.

use age::secrecy::ExposeSecret;
use std::{
    fmt,
    io::{self, Read, Write},
    str::FromStr,
};

/// Who may open a backup: `age1…`.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Recipient, String> {
        let read = age::x25519::Recipient::from_str(text.trim());
        // a secret key in the place of a recipient is not shown again
        let shown = if text.trim().to_ascii_uppercase().starts_with("AGE-SECRET-KEY") { "a secret key" } else { text.trim() };
        read.map(Recipient).map_err(|why| format!("`{shown}` is no recipient such as age1…: {why}"))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The lines of a recipients or identities file that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Reads a file of recipients: one a line, `#` begins a remark.
///
/// # Errors
/// A line that is no recipient.
pub fn recipients(text: &str) -> Result<Vec<Recipient>, String> {
    lines(text).map(str::parse).collect()
}

/// Who opens a backup.
pub struct Identity(Vec<age::x25519::Identity>);

impl Identity {
    /// Draws a new one.
    pub fn generate() -> Identity {
        Identity(vec![age::x25519::Identity::generate()])
    }

    /// Reads a file of identities, as `age-keygen` writes it.
    ///
    /// # Errors
    /// None, or a line that is none. What the line says is not repeated.
    pub fn parse(text: &str) -> Result<Identity, String> {
        let read =
            |line: &str| age::x25519::Identity::from_str(line).map_err(|_| "a line is no identity such as AGE-SECRET-KEY-1…".to_owned());
        let identities: Vec<_> = lines(text).map(read).collect::<Result<_, _>>()?;
        if identities.is_empty() { Err("there is no identity in it".into()) } else { Ok(Identity(identities)) }
    }

    /// Who it opens for.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().map(|identity| Recipient(identity.to_public())).collect()
    }

    /// The file that [`Identity::parse`] reads.
    pub fn file(&self) -> String {
        let one =
            |identity: &age::x25519::Identity| format!("# recipient: {}\n{}\n", identity.to_public(), identity.to_string().expose_secret());
        self.0.iter().map(one).collect()
    }
}

/// Seals what is written; [`Sealing::finish`] ends it, and without that it cannot be opened.
pub struct Sealing<W: Write>(age::stream::StreamWriter<W>);

/// Seals for these.
///
/// # Errors
/// There is nobody to seal for, or the output's own.
pub fn seal<W: Write>(recipients: &[Recipient], to: W) -> io::Result<Sealing<W>> {
    let all = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(all).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why.to_string()))?;
    encryptor.wrap_output(to).map(Sealing)
}

impl<W: Write> Sealing<W> {
    /// Ends it, and gives the output back.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Opens what was sealed.
///
/// # Errors
/// It is no such file, or sealed for somebody else.
pub fn open<'a, R: Read + 'a>(identity: &Identity, from: R) -> io::Result<impl Read + use<'a, R>> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let decryptor =
        age::Decryptor::new(from).map_err(|why| damaged(format!("this is no backup of Tollgate, or its head is damaged: {why}")))?;
    let all = identity.0.iter().map(|identity| identity as &dyn age::Identity);
    decryptor.decrypt(all).map_err(|why| match why {
        age::DecryptError::NoMatchingKeys => damaged("it is sealed for another identity".into()),
        why => damaged(format!("it cannot be opened: {why}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(identity: &Identity, text: &[u8]) -> Vec<u8> {
        let mut sealing = seal(&identity.recipients(), Vec::new()).unwrap();
        sealing.write_all(text).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(identity: &Identity, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        open(identity, bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_is_sealed_opens_for_its_identity_alone() {
        let (ours, other) = (Identity::generate(), Identity::generate());
        let bytes = sealed(&ours, b"books");
        let again = Identity::parse(&ours.file()).unwrap();
        assert_eq!(opened(&again, &bytes).unwrap(), b"books");
        assert!(opened(&other, &bytes).unwrap_err().to_string().contains("another identity"));
        assert!(seal(&[], Vec::new()).is_err());
    }

    #[test]
    fn every_cut_and_every_flip_is_refused() {
        let ours = Identity::generate();
        let bytes = sealed(&ours, b"the books of a small cluster");
        for at in 0..bytes.len() {
            assert!(opened(&ours, &bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(opened(&ours, &flipped).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let ours = Identity::generate();
        let secret = ours.file().lines().last().unwrap().to_owned();
        assert!(!secret.parse::<Recipient>().err().unwrap().contains(&secret));
        assert!(!Identity::parse(&format!("{secret}x")).err().unwrap().contains(&secret));
        assert!(Identity::parse("# nothing\n").is_err());
        assert_eq!(recipients(&format!("# ops\n{}\n\n", ours.recipients()[0])).unwrap().len(), 1);
    }
}
