//! Records in datagrams: one, or chunks of a record that is too long for one.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{compress::compress, config::Compression, record};

/// What tells a chunk from a record.
const MAGIC: [u8; 2] = [0x1e, 0x0f];

/// The magic bytes, the id of the record, the number of the chunk, and how many there are.
const HEADER: usize = 12;

/// GELF allows no more.
const MOST_CHUNKS: usize = 128;

/// A record as datagrams of at most `chunk_bytes`, compressed. One that is too long even so has its `full_message` cut.
/// `None` where that does not help.
pub(crate) fn datagrams(record: &Bytes, how: Compression, chunk_bytes: usize) -> Option<Vec<Bytes>> {
    let packed = compress(record, how).ok()?;
    split(&packed, chunk_bytes).or_else(|| split(&cut(record, how, chunk_bytes)?, chunk_bytes))
}

/// Splits what was compressed; `None` where it takes too many chunks.
fn split(packed: &Bytes, chunk_bytes: usize) -> Option<Vec<Bytes>> {
    if packed.len() <= chunk_bytes {
        return Some(vec![packed.clone()]);
    }
    let room = chunk_bytes.checked_sub(HEADER).filter(|room| *room > 0)?;
    let count = packed.len().div_ceil(room);
    if count > MOST_CHUNKS {
        return None;
    }
    let (id, count): ([u8; 8], u8) = (rand::random(), u8::try_from(count).ok()?);
    let chunk = |(number, part): (u8, &[u8])| {
        let mut chunk = BytesMut::with_capacity(HEADER + part.len());
        chunk.put_slice(&MAGIC);
        chunk.put_slice(&id);
        chunk.put_slice(&[number, count]);
        chunk.put_slice(part);
        chunk.freeze()
    };
    Some((0..count).zip(packed.chunks(room)).map(chunk).collect())
}

/// So many lengths are tried: what is given away is less than a five-hundredth of `full_message`.
const TRIES: usize = 9;

/// Cuts `full_message` to about the longest that fits 128 chunks, and compresses the record.
fn cut(record: &Bytes, how: Compression, chunk_bytes: usize) -> Option<Bytes> {
    let most = chunk_bytes.checked_sub(HEADER)? * MOST_CHUNKS;
    let packed = |length: usize| {
        let packed = compress(&record::shortened(record, length)?, how).ok()?;
        (packed.len() <= most).then_some(packed)
    };
    let mut best = packed(0)?;
    let (mut fits, mut too_long) = (0_usize, record::full_message_bytes(record));
    for _ in 0..TRIES {
        let length = fits.midpoint(too_long);
        match packed(length) {
            Some(longer) => (best, fits) = (longer, length),
            None => too_long = length,
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, io::Read};

    use flate2::read::ZlibDecoder;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::record::{encode, tests::record};

    fn joined(datagrams: &[Bytes], chunk_bytes: usize) -> Vec<u8> {
        let [first, ..] = datagrams else { panic!("no datagrams") };
        if datagrams.len() == 1 {
            return first.to_vec();
        }
        for (number, chunk) in datagrams.iter().enumerate() {
            assert!(chunk.len() <= chunk_bytes);
            assert_eq!(chunk[..2], MAGIC);
            assert_eq!(chunk[2..10], first[2..10]);
            assert_eq!((chunk[10] as usize, chunk[11] as usize), (number, datagrams.len()));
        }
        datagrams.iter().flat_map(|chunk| chunk[HEADER..].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn chunks_are_put_together_again(length in 0usize..20_000, chunk_bytes in 100usize..2000) {
            let bytes: Bytes = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            match split(&bytes, chunk_bytes) {
                Some(datagrams) => prop_assert_eq!(&joined(&datagrams, chunk_bytes)[..], &bytes[..]),
                None => prop_assert!(length > 128 * (chunk_bytes - HEADER)),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_long_record_is_cut_and_stays_a_record(
            easy in 0usize..9000, compressed in any::<bool>(), chunk_bytes in 100usize..120,
        ) {
            let mut long = record(r#"{"k":"v"}"#);
            // Twice what fits, and hard to compress.
            let noise: String = (0..12_000).map(|_| rand::random_range('à'..='ﬀ')).collect();
            long.full_message = Some("ä☃".repeat(easy) + &noise);
            let how = if compressed { Compression::Zlib } else { Compression::None };
            let datagrams = datagrams(&encode(&long).unwrap(), how, chunk_bytes).unwrap();
            // Little of the room is given away.
            prop_assert!((120..=MOST_CHUNKS).contains(&datagrams.len()), "{} chunks", datagrams.len());
            let packed = joined(&datagrams, chunk_bytes);
            let mut text = Vec::new();
            match how {
                Compression::None => text = packed,
                _ => { ZlibDecoder::new(&packed[..]).read_to_end(&mut text).unwrap(); }
            }
            let sent: Value = serde_json::from_slice(&text).unwrap();
            prop_assert!(long.full_message.unwrap().starts_with(sent["full_message"].as_str().unwrap()));
            prop_assert_eq!(&sent["_k"], "v");
        }
    }

    #[test]
    fn the_number_of_chunks_is_at_most_128() {
        let bytes = Bytes::from(vec![7; 128 * 88]);
        assert_eq!(split(&bytes, 100).unwrap().len(), 128);
        assert!(split(&Bytes::from(vec![7; 128 * 88 + 1]), 100).is_none());
        assert_eq!(split(&Bytes::from(vec![7; 100]), 100).unwrap().len(), 1);
        assert_eq!(split(&Bytes::from(vec![7; 101]), 100).unwrap().len(), 2);
    }

    #[test]
    fn ids_differ() {
        let bytes = Bytes::from(vec![7; 1000]);
        let ids: HashSet<Bytes> = (0..100).map(|_| split(&bytes, 100).unwrap()[0].slice(2..10)).collect();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn what_cannot_be_cut_is_given_up() {
        let mut long = record("{}");
        long.message = "x".repeat(20_000);
        long.full_message = Some("y".repeat(20_000));
        assert!(datagrams(&encode(&long).unwrap(), Compression::None, 100).is_none());
        long.full_message = None;
        assert!(datagrams(&encode(&long).unwrap(), Compression::None, 100).is_none());
        assert!(datagrams(&encode(&long).unwrap(), Compression::Zlib, 100).is_some());
    }
}
