//! `jackfield hash-password`.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use argon2::{Argon2, PasswordHasher};
use secrecy::{ExposeSecret, SecretString};

use super::output::{answer, fail};

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
enum HashError {
    #[error("cannot read the password: {0}")]
    Unread(#[from] io::Error),
    #[error("the password is empty")]
    Empty,
    #[error("the two passwords differ")]
    Different,
    #[error("cannot hash the password: {0}")]
    Unhashed(argon2::password_hash::Error),
}

pub(super) fn run() -> ExitCode {
    let password = if io::stdin().is_terminal() { asked() } else { first_line(&mut io::stdin().lock()) };
    match password.and_then(|password| hash(&password)) {
        Ok(hash) => answer(hash),
        Err(error) => fail(error),
    }
}

/// Asks on the terminal, twice, without echo.
fn asked() -> Result<SecretString, HashError> {
    let password = SecretString::from(rpassword::prompt_password("Password: ")?);
    let again = SecretString::from(rpassword::prompt_password("Again: ")?);
    if password.expose_secret() == again.expose_secret() { Ok(password) } else { Err(HashError::Different) }
}

fn first_line(input: &mut impl BufRead) -> Result<SecretString, HashError> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(SecretString::from(line.strip_suffix('\r').unwrap_or(line)))
}

/// The password's argon2id hash with a fresh salt, as a PHC string.
fn hash(password: &SecretString) -> Result<String, HashError> {
    if password.expose_secret().is_empty() {
        return Err(HashError::Empty);
    }
    let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
    hash.map(|hash| hash.to_string()).map_err(HashError::Unhashed)
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHash, PasswordVerifier};

    use super::*;

    #[test]
    fn only_the_line_ending_is_left_out() {
        let read = |text: &str| first_line(&mut text.as_bytes()).unwrap().expose_secret().to_owned();
        assert_eq!(read(" hunter2 \r\nmore\n"), " hunter2 ");
        assert_eq!(read("hunter2"), "hunter2");
        assert_eq!(read(""), "");
    }

    #[test]
    fn the_hash_verifies_and_has_a_salt_of_its_own() {
        let password = SecretString::from("hunter2");
        let (one, other) = (hash(&password).unwrap(), hash(&password).unwrap());
        assert!(one.starts_with("$argon2id$") && one != other, "{one} {other}");
        let parsed = PasswordHash::new(&one).unwrap();
        assert!(Argon2::default().verify_password(b"hunter2", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"hunter3", &parsed).is_err());
    }

    #[test]
    fn an_empty_password_is_refused() {
        assert!(matches!(hash(&SecretString::from("")), Err(HashError::Empty)));
    }
}
