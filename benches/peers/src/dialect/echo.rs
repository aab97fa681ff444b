//! The echo server's: it gets the requests that Jackfield gets, and sends them back as they are.

use super::{
    Dialect, Incoming,
    jackfield::{ending, put_ping},
    json, number,
};
use crate::framing::{Framing, Inbox, Outbox};

const READY: &[u8] = b"\"ready\"";

/// A connection to an echo server.
#[derive(Debug)]
pub(crate) struct Echo {
    ending: &'static [u8],
}

impl Echo {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { ending: ending(framing) }
    }
}

impl Dialect for Echo {
    fn login(&mut self, _name: &str, out: &mut Outbox) {
        out.put(&[b"{\"tid\":\"ready\"}", self.ending]);
    }

    fn ask_server(&mut self, tid: u64, payload: &[u8], out: &mut Outbox) {
        put_ping(tid, payload, self.ending, out);
    }

    fn next<'a>(&mut self, inbox: &'a mut Inbox, _out: &mut Outbox) -> Result<Option<Incoming<'a>>, String> {
        let Some(message) = inbox.message()? else { return Ok(None) };
        let tid = json::field(message, b"tid").ok_or("an echo of nothing that was said")?;
        if tid == READY {
            return Ok(Some(Incoming::Ready));
        }
        let payload = json::field(message, b"data").unwrap_or_default();
        Ok(Some(Incoming::Answer { tid: number(tid).ok_or("an echo without a number")?, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::tests::{Spoken, hear, said},
        framing::tests::framed,
    };

    #[test]
    fn what_is_said_is_understood_when_it_comes_back() {
        let expected = [Spoken::Ready, Spoken::Answer(9, "{\"x\":1}".into())];
        let mut echo = Echo::new(Framing::Plain);
        let login = said(Framing::Plain, |out| echo.login("me", out));
        let ping = said(Framing::Plain, |out| echo.ask_server(9, b"{\"x\":1}", out));
        let lines = [&*login, &*ping].concat();
        let frames = [framed(&login, 1000), framed(&ping, 1000)].concat();
        for (framing, bytes) in [(Framing::Plain, lines), (Framing::Text, frames)] {
            for piece in 1..bytes.len() {
                assert_eq!(hear(&mut Echo::new(framing), framing, &bytes, piece).0, expected);
            }
        }
    }
}
