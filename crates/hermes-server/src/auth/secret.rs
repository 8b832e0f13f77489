//! The text of a key: what its holder shows, once made and never kept.
//!
//! `hk_`, sixteen hexadecimal digits that say which key it is, `_`, and 256 random bits in
//! hexadecimal digits. The first part is no secret: it makes finding a key one look-up, so that only
//! one hash is computed and compared, whoever asks. What is kept of the text is a hash under a secret
//! of the file it is kept in ([`Sealer`]), which is of no use elsewhere.

use std::fmt;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// What every key begins with, so that a leaked one can be searched for.
const FRONT: &str = "hk_";
/// Bytes of the part that must be guessed: 256 bits.
const RANDOM_BYTES: usize = 32;
/// Digits of the id.
const ID_DIGITS: usize = 16;
/// Bytes of a hash.
pub(super) const HASH_BYTES: usize = 32;

/// Which key it is. No secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(super) u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl KeyId {
    /// Reads the digits that it is shown as.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() == ID_DIGITS && text.bytes().all(is_digit);
        is_plain.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

/// The text of a key. It shows itself only to [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that came from elsewhere.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be shown to whoever will use it and to nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The machine has no random numbers to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers, so no key can be made; nothing was changed")]
pub struct NoRandom;

/// So many random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|ring::error::Unspecified| NoRandom)?;
    Ok(bytes)
}

/// A new key: its id and its text.
pub(super) fn make() -> Result<(KeyId, Secret), NoRandom> {
    let id = KeyId(u64::from_be_bytes(random()?));
    let digits = hexadecimal(&random::<RANDOM_BYTES>()?);
    Ok((id, Secret(format!("{FRONT}{id}_{digits}"))))
}

/// Which key a text says it is; nothing when it is not the text of a key.
pub(super) fn id_of(text: &[u8]) -> Option<KeyId> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(FRONT)?;
    let (id, random) = text.split_once('_')?;
    let is_whole = random.len() == 2 * RANDOM_BYTES && random.bytes().all(is_digit);
    is_whole.then(|| KeyId::parse(id))?
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// What hashes the texts of keys, under a secret that is kept beside the hashes.
pub(super) struct Sealer(hmac::Key);

impl Sealer {
    pub(super) fn new(secret: &[u8; HASH_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// What is kept of a text.
    pub(super) fn seal(&self, text: &[u8]) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(hmac::sign(&self.0, text).as_ref());
        hash
    }

    /// Whether `hash` was made of `text`. Takes as long for a wrong text as for the right one.
    pub(super) fn opens(&self, text: &[u8], hash: &[u8; HASH_BYTES]) -> bool {
        hmac::verify(&self.0, text, hash).is_ok()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The bytes that so many hexadecimal digits stand for.
pub(super) fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_which_it_is_and_is_opened_by_its_own_text_only() {
        let (id, secret) = make().unwrap();
        let text = secret.expose();
        assert_eq!(id_of(text.as_bytes()), Some(id));
        let (sealer, other) = (Sealer::new(&[7; 32]), Sealer::new(&[8; 32]));
        let hash = sealer.seal(text.as_bytes());
        assert!(sealer.opens(text.as_bytes(), &hash));
        assert!(!other.opens(text.as_bytes(), &hash));
        for at in 0..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] ^= 1;
            assert!(!sealer.opens(&wrong, &hash), "{at}");
        }
        assert!(!sealer.opens(b"", &hash));
    }

    #[test]
    fn what_is_not_the_text_of_a_key_is_none() {
        let (id, random) = ("0123456789abcdef", "a".repeat(64));
        assert!(id_of(format!("hk_{id}_{random}").as_bytes()).is_some());
        for wrong in [
            String::new(),
            "dev-key".into(),
            format!("hk_{id}_{}", &random[1..]),
            format!("hk_{id}_{random}0"),
            format!("hk_{id}_{}", random.to_uppercase()),
            format!("HK_{id}_{random}"),
            format!("hk_{}_{random}", &id[1..]),
            format!("hk_+{}_{random}", &id[1..]),
            format!("hk_{id}{random}"),
            format!(" hk_{id}_{random}"),
        ] {
            assert_eq!(id_of(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        let (_, secret) = make().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(format!("{:?}", Sealer::new(&[7; 32])), "Sealer(..)");
    }

    #[test]
    fn bytes_and_digits_stand_for_each_other() {
        assert_eq!(hexadecimal(&[0, 15, 160, 255]), "000fa0ff");
        assert_eq!(bytes_of("000fa0ff"), Some([0, 15, 160, 255]));
        assert_eq!(bytes_of::<4>("000fa0f"), None);
        assert_eq!(bytes_of::<4>("000fa0+f"), None);
    }
}
