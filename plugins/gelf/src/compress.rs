//! Compression of single records.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{
    Compression as Level,
    write::{GzEncoder, ZlibEncoder},
};

use crate::config::Compression;

/// Not longer than this, a record is compressed and cut in no time.
const SHORT: usize = 16 << 10;

/// Compresses a record, or hands it back as it is.
///
/// # Errors
/// None that memory does not have; the encoders' signature has one.
pub(crate) fn compress(record: &Bytes, how: Compression) -> io::Result<Bytes> {
    Ok(match how {
        Compression::None => record.clone(),
        Compression::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
            encoder.write_all(record)?;
            encoder.finish()?.into()
        }
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
            encoder.write_all(record)?;
            encoder.finish()?.into()
        }
    })
}

/// Does what takes long with a long record: not on the runtime's threads then.
///
/// # Errors
/// When the work panicked.
pub(crate) async fn work_on<T: Send + 'static>(
    record: &Bytes,
    work: impl FnOnce(&Bytes) -> T + Send + 'static,
) -> io::Result<T> {
    if record.len() <= SHORT {
        return Ok(work(record));
    }
    let record = record.clone();
    tokio::task::spawn_blocking(move || work(&record)).await.map_err(io::Error::other)
}

/// What HTTP calls it.
pub(crate) fn content_encoding(how: Compression) -> Option<&'static str> {
    match how {
        Compression::None => None,
        Compression::Zlib => Some("deflate"),
        Compression::Gzip => Some("gzip"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    #[test]
    fn each_way_can_be_undone() {
        let record = Bytes::from("record ".repeat(100));
        assert_eq!(compress(&record, Compression::None).unwrap(), record);
        let (mut zlib, mut gzip) = (String::new(), String::new());
        let packed = compress(&record, Compression::Zlib).unwrap();
        assert_eq!(packed[0], 0x78);
        ZlibDecoder::new(&packed[..]).read_to_string(&mut zlib).unwrap();
        let packed = compress(&record, Compression::Gzip).unwrap();
        assert_eq!(packed[..2], [0x1f, 0x8b]);
        GzDecoder::new(&packed[..]).read_to_string(&mut gzip).unwrap();
        assert_eq!((zlib.as_bytes(), gzip.as_bytes()), (&record[..], &record[..]));
    }
}
