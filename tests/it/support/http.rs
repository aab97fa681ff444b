//! The admin pages, over plain HTTP.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// A page.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// Gets a page.
pub async fn get(url: &str) -> Page {
    try_get(url).await.unwrap_or_else(|error| panic!("cannot get {url}: {error}"))
}

/// Gets a page, or tells why there is none.
///
/// # Errors
/// Nobody listens there, or nobody answers.
pub async fn try_get(url: &str) -> io::Result<Page> {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let text = within("a page", exchange(authority, path)).await?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Page { status: status(head), content_type: header(head, "content-type"), body: body.into() })
}

/// HTTP/1.0, so that the body comes as it is and ends with the connection.
async fn exchange(authority: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(authority).await?;
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {authority}\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

fn status(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {head:?}"))
}

fn header(head: &str, name: &str) -> String {
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}
