//! Hashed passwords.

use std::fmt;

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordVerifier, Version,
    password_hash::{Error, Result},
};
use jackfield_plugin_api::Password;

/// The argon2 hash of a password. It cannot be printed: a weak password can be guessed from it.
pub(crate) struct Hash(PasswordHash);

impl Hash {
    /// Takes a hash in PHC form, `$argon2id$…`, if passwords can be checked against it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let hash = PasswordHash::new(text)?;
        Algorithm::try_from(hash.algorithm.as_str())?;
        hash.version.map(Version::try_from).transpose()?;
        Params::try_from(&hash)?;
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(Error::EncodingInvalid);
        }
        Ok(Self(hash))
    }

    /// Whether `password` is the one that was hashed. Takes tens of milliseconds.
    pub(crate) fn fits(&self, password: &Password) -> bool {
        // Algorithm and parameters are those of the hash.
        Argon2::default().verify_password(password.expose().as_bytes(), &self.0).is_ok()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use argon2::PasswordHasher;

    use super::*;

    /// A cheap hash.
    pub(crate) fn hash_of(password: &str) -> String {
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password(password.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn a_hash_fits_its_password_only() {
        let hash = Hash::parse(&hash_of("pässword")).unwrap();
        assert!(hash.fits(&Password::new("pässword")));
        assert!(!hash.fits(&Password::new("password")));
    }

    #[test]
    fn a_hash_cannot_be_printed() {
        assert_eq!(format!("{:?}", Hash::parse(&hash_of("x")).unwrap()), "***");
    }
}
