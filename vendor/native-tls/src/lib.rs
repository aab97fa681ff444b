//! Stands in for `native-tls` in this workspace.
//!
//! `gelf_logger` has no feature to leave its own transports out, and they name these types. The true crate would link
//! OpenSSL, which Jackfield does not: its TLS is rustls. Nobody here opens a connection with `gelf_logger`; whoever did
//! would be refused with [`Error`].

use std::{
    convert::Infallible,
    fmt,
    io::{Read, Result as IoResult, Write},
    marker::PhantomData,
};

/// There is no TLS here.
#[derive(Debug)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS of gelf_logger is left out of this build")
    }
}

impl std::error::Error for Error {}

/// A handshake that failed.
#[derive(Debug)]
pub enum HandshakeError<S> {
    /// As all do.
    Failure(Error),
    /// Never.
    Never(Infallible, PhantomData<S>),
}

impl<S> fmt::Display for HandshakeError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error.fmt(f)
    }
}

impl<S: fmt::Debug> std::error::Error for HandshakeError<S> {}

/// Never made.
#[derive(Debug)]
pub struct TlsConnector(Infallible);

impl TlsConnector {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> Result<Self, Error> {
        Err(Error)
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// Never.
    pub fn connect<S: Read + Write>(&self, _domain: &str, _stream: S) -> Result<TlsStream<S>, HandshakeError<S>> {
        match self.0 {}
    }
}

/// Never made.
#[derive(Debug)]
pub struct TlsStream<S>(Infallible, PhantomData<S>);

impl<S> Read for TlsStream<S> {
    fn read(&mut self, _buffer: &mut [u8]) -> IoResult<usize> {
        match self.0 {}
    }
}

impl<S> Write for TlsStream<S> {
    fn write(&mut self, _buffer: &[u8]) -> IoResult<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> IoResult<()> {
        match self.0 {}
    }
}
