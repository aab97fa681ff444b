//! Segments that are appended to, read from the front, and deleted when they are read.
//!
//! A record is its length, its CRC-32 (both little endian) and its bytes. The file `sent` says up to where records were
//! sent. Nothing is forced to the disk: what a killed process has written the system still has.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    iter::Peekable,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    slice,
};

use bytes::Bytes;

const HEADER: u64 = 8;

/// A longer one is no record: a message of the broker's is far shorter.
const LONGEST: u64 = 256 << 20;

/// So many segments the spool has when it is full, or more.
const SEGMENTS: u64 = 8;

const LARGEST_SEGMENT: u64 = 16 << 20;

/// The files of one spool.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    limit: u64,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// The newest segment, where this process has begun it.
    writer: Option<File>,
    reader: Option<(u64, File)>,
    /// Up to where records were sent, in the oldest segment.
    sent: u64,
    /// Where each record ends that was read and not sent yet.
    read: VecDeque<u64>,
    marks: File,
    /// Held as long as the spool is in use.
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// What became of records that were to be appended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Appended {
    /// So many were written.
    pub(super) written: usize,
    /// So many between them never fit.
    pub(super) too_large: usize,
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) records: Vec<Bytes>,
    /// So many were skipped, about.
    pub(super) corrupt: usize,
}

impl Files {
    /// Opens a spool; `None` while another has it open.
    pub(super) fn open(directory: &Path, limit: u64) -> io::Result<Option<Self>> {
        // What is logged is nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let own = |name: &str| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join(name))
        };
        let lock = own("lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut files = Self {
            directory: directory.to_owned(),
            limit,
            segments: segments(directory)?,
            writer: None,
            reader: None,
            sent: 0,
            read: VecDeque::new(),
            marks: own("sent")?,
            _lock: lock,
        };
        files.restore()?;
        Ok(Some(files))
    }

    /// Goes to where the last process was. Without a mark that can be trusted, all is sent again.
    fn restore(&mut self) -> io::Result<()> {
        let mut mark = Vec::new();
        self.marks.read_to_end(&mut mark)?;
        let Some((number, sent)) = read_mark(&mark) else { return Ok(()) };
        while self.segments.front().is_some_and(|oldest| oldest.number < number) {
            self.remove_oldest()?;
        }
        if let Some(oldest) = self.segments.front().filter(|oldest| oldest.number == number) {
            self.sent = sent.min(oldest.bytes);
        }
        Ok(())
    }

    /// How large the spool is.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends as many as there is room for. An error that comes after some were written is left to the next attempt,
    /// or else those would be written again.
    pub(super) fn append(&mut self, records: &[Bytes]) -> io::Result<Appended> {
        let mut appended = Appended::default();
        let mut rest = records.iter().peekable();
        while let Some(record) = rest.peek() {
            let needed = HEADER + record.len() as u64;
            if needed > self.limit {
                appended.too_large += 1;
                rest.next();
                continue;
            }
            match self.append_some(needed, &mut rest) {
                Ok(0) => break,
                Ok(count) => appended.written += count,
                Err(error) if appended == Appended::default() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(appended)
    }

    /// Appends records to one segment, the first of which needs so much room.
    fn append_some(
        &mut self,
        needed: u64,
        records: &mut Peekable<slice::Iter<'_, Bytes>>,
    ) -> io::Result<usize> {
        let (room, at_once) = (self.room(needed)?, self.segment_limit());
        let mut buffer = Vec::new();
        let mut count = 0;
        while let Some(record) = records.next_if(|record| fits(&buffer, record, room, at_once)) {
            put(&mut buffer, record);
            count += 1;
        }
        if count > 0 {
            self.write(&buffer)?;
        }
        Ok(count)
    }

    /// How much may be appended to the segment that is written now: what is needed at least, as soon as all was sent.
    fn room(&mut self, needed: u64) -> io::Result<u64> {
        while self.is_in_the_way(needed) {
            self.remove_oldest()?;
        }
        let full = self.segments.back().is_none_or(|newest| newest.bytes >= self.segment_limit());
        if full || self.writer.is_none() {
            self.begin_segment()?;
        }
        Ok(self.limit.saturating_sub(self.bytes()))
    }

    /// Whether all of the oldest segment was sent, and it takes room that is needed, or could be.
    fn is_in_the_way(&self, needed: u64) -> bool {
        let Some(oldest) = self.segments.front().filter(|oldest| oldest.bytes <= self.sent) else {
            return false;
        };
        self.segments.len() > 1
            || oldest.bytes >= self.segment_limit()
            || oldest.bytes > 0 && oldest.bytes + needed > self.limit
    }

    fn segment_limit(&self) -> u64 {
        (self.limit / SEGMENTS).min(LARGEST_SEGMENT)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        // An empty one is as good as a new one.
        if self.writer.is_some() && self.segments.back().is_some_and(|newest| newest.bytes == 0) {
            return Ok(());
        }
        let number = self.segments.back().map_or_else(|| self.first_number(), |newest| newest.number + 1);
        self.writer = Some(File::create(self.path(number))?);
        self.segments.push_back(Segment { number, bytes: 0 });
        Ok(())
    }

    /// Numbers only rise, so that an old mark never fits a new segment.
    fn first_number(&self) -> u64 {
        let mut mark = Vec::new();
        let last = (&self.marks).seek(SeekFrom::Start(0)).and_then(|_| (&self.marks).read_to_end(&mut mark));
        last.ok().and_then(|_| read_mark(&mark)).map_or(1, |(number, _)| number + 1)
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<()> {
        let (Some(writer), Some(newest)) = (&mut self.writer, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment was begun"));
        };
        match writer.write_all(buffer) {
            Ok(()) => {
                newest.bytes += buffer.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What was written of it is taken back, or else never read.
                let end = newest.bytes;
                if writer.set_len(end).and_then(|()| writer.seek(SeekFrom::Start(end))).is_err() {
                    self.writer = None;
                }
                Err(error)
            }
        }
    }

    /// The oldest records that were not sent. They are given again until they are [`done`](Self::done).
    pub(super) fn read(&mut self, most: usize, most_bytes: usize) -> io::Result<Records> {
        let mut found = Records::default();
        loop {
            self.read.clear();
            let Some((number, end)) = self.segments.front().map(|oldest| (oldest.number, oldest.bytes))
            else {
                return Ok(found);
            };
            let mut at = self.sent;
            let mut bytes = 0;
            while found.records.len() < most && bytes < most_bytes && at < end {
                match self.read_one(number, at, end)? {
                    Found::Record(record) => {
                        at += HEADER + record.len() as u64;
                        bytes += record.len();
                        found.records.push(record);
                        self.read.push_back(at);
                    }
                    Found::Corrupt { next } => {
                        found.corrupt += 1;
                        at = next;
                        // Skipped together with the record before it.
                        match self.read.back_mut() {
                            Some(last) => *last = at,
                            None => self.sent = at,
                        }
                    }
                }
            }
            if !found.records.is_empty() || self.segments.len() == 1 {
                return Ok(found);
            }
            self.remove_oldest()?;
        }
    }

    fn read_one(&mut self, number: u64, at: u64, end: u64) -> io::Result<Found> {
        let file = self.reader(number)?;
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; HEADER as usize];
        if end - at < HEADER {
            return Ok(Found::Corrupt { next: end });
        }
        file.read_exact(&mut header)?;
        let [a, b, c, d, crc @ ..] = header;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        if length > LONGEST || at + HEADER + length > end {
            return Ok(Found::Corrupt { next: end });
        }
        let mut record = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact(&mut record)?;
        if crc32fast::hash(&record) != u32::from_le_bytes(crc) {
            return Ok(Found::Corrupt { next: at + HEADER + length });
        }
        Ok(Found::Record(record.into()))
    }

    fn reader(&mut self, number: u64) -> io::Result<&mut File> {
        if self.reader.as_ref().is_none_or(|(open, _)| *open != number) {
            self.reader = Some((number, File::open(self.path(number))?));
        }
        let reader = self.reader.as_mut().map(|(_, file)| file);
        reader.ok_or_else(|| io::Error::other("no segment is open"))
    }

    /// The `n` oldest records that were read are sent.
    pub(super) fn done(&mut self, n: usize) -> io::Result<()> {
        for end in self.read.drain(..n.min(self.read.len())) {
            self.sent = end;
        }
        if self.segments.len() > 1 && self.segments.front().is_some_and(|oldest| oldest.bytes <= self.sent) {
            self.remove_oldest()?;
        }
        let number = self.segments.front().map_or(0, |oldest| oldest.number);
        self.mark(number, self.sent)
    }

    fn mark(&mut self, number: u64, sent: u64) -> io::Result<()> {
        self.marks.seek(SeekFrom::Start(0))?;
        self.marks.write_all(&mark(number, sent))
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.segments.pop_front() else { return Ok(()) };
        self.reader = None;
        self.sent = 0;
        self.read.clear();
        if self.segments.is_empty() {
            self.writer = None;
            self.mark(oldest.number, oldest.bytes)?;
        }
        fs::remove_file(self.path(oldest.number))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:012}.log"))
    }
}

enum Found {
    Record(Bytes),
    Corrupt { next: u64 },
}

fn segments(directory: &Path) -> io::Result<VecDeque<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
        if let Some(number) = number {
            found.push(Segment { number, bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found.into())
}

/// Whether a record may follow what is to be written at once.
fn fits(buffer: &[u8], record: &Bytes, room: u64, at_once: u64) -> bool {
    let bytes = buffer.len() as u64 + HEADER + record.len() as u64;
    bytes <= room && (buffer.is_empty() || bytes <= at_once)
}

fn put(buffer: &mut Vec<u8>, record: &Bytes) {
    // A record is shorter than a queue, and that far shorter than 4 GiB; else it reads as corrupt.
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    buffer.extend_from_slice(record);
}

fn mark(number: u64, sent: u64) -> [u8; 20] {
    let mut mark = [0; 20];
    let (numbers, crc) = mark.split_at_mut(16);
    let (first, second) = numbers.split_at_mut(8);
    first.copy_from_slice(&number.to_le_bytes());
    second.copy_from_slice(&sent.to_le_bytes());
    crc.copy_from_slice(&crc32fast::hash(numbers).to_le_bytes());
    mark
}

fn read_mark(bytes: &[u8]) -> Option<(u64, u64)> {
    let (numbers, crc) = bytes.split_at_checked(16)?;
    let (number, sent) = numbers.split_at_checked(8)?;
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    let read = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    (crc32fast::hash(numbers) == crc).then_some(())?;
    Some((read(number)?, read(sent)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 65_536;

    fn open(directory: &Path) -> Files {
        Files::open(directory, LIMIT).unwrap().unwrap()
    }

    fn record(n: usize) -> Bytes {
        Bytes::from(format!("record {n} {}", "x".repeat(n % 300)))
    }

    fn all(files: &mut Files) -> Vec<Bytes> {
        let mut all = Vec::new();
        loop {
            let read = files.read(7, 1000).unwrap().records;
            if read.is_empty() {
                return all;
            }
            files.done(read.len()).unwrap();
            all.extend(read);
        }
    }

    #[test]
    fn what_was_not_sent_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let records: Vec<Bytes> = (0..100).map(record).collect();
        let mut files = open(directory.path());
        assert_eq!(files.append(&records).unwrap().written, 100);
        assert_eq!(files.read(10, 1 << 20).unwrap().records, records[..10]);
        files.done(4).unwrap();
        assert!(Files::open(directory.path(), LIMIT).unwrap().is_none(), "one at a time");
        drop(files);
        let mut files = open(directory.path());
        files.append(&[record(100)]).unwrap();
        let mut expected = records[4..].to_vec();
        expected.push(record(100));
        assert_eq!(all(&mut files), expected);
        drop(files);
        assert_eq!(all(&mut open(directory.path())), [] as [Bytes; 0]);
    }

    #[test]
    fn it_is_bounded_and_has_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = open(directory.path());
        let record = Bytes::from(vec![7; 1000]);
        let mut written = 0;
        loop {
            match files.append(slice::from_ref(&record)).unwrap().written {
                0 => break,
                n => written += n,
            }
            assert!(files.bytes() <= LIMIT);
        }
        assert!(written >= 64, "{written}");
        for _ in 0..1000 {
            let read = files.read(16, 1 << 20).unwrap().records.len();
            files.done(read).unwrap();
            let more = files.append(&vec![record.clone(); read]).unwrap().written;
            written += more;
            assert!(files.bytes() <= LIMIT);
        }
        assert!(written > 5000, "room is had again: {written}");
        let too_large = Bytes::from(vec![7; 70_000]);
        assert_eq!(files.append(&[too_large]).unwrap(), Appended { written: 0, too_large: 1 });
    }

    /// What is left of a segment that was sent must not keep a record out for ever.
    #[test]
    fn a_record_nearly_as_long_as_the_spool_gets_in_once_all_was_sent() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = open(directory.path());
        let long = Bytes::from(vec![7; LIMIT as usize - 100]);
        files.append(&[record(200)]).unwrap();
        assert_eq!(files.append(slice::from_ref(&long)).unwrap().written, 0, "there is no room yet");
        assert_eq!(all(&mut files), [record(200)]);
        assert_eq!(files.append(slice::from_ref(&long)).unwrap().written, 1);
        drop(files);
        let mut files = open(directory.path());
        assert_eq!(all(&mut files), slice::from_ref(&long));
        assert_eq!(files.append(slice::from_ref(&long)).unwrap().written, 1, "after a restart, too");
        assert!(files.bytes() <= LIMIT);
    }

    /// Otherwise whoever was told of the error would append them once more.
    #[test]
    fn what_was_written_before_an_error_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = open(directory.path());
        let record = Bytes::from(vec![7; 5000]);
        // Two fill a segment, and the next cannot be begun.
        fs::create_dir(files.path(2)).unwrap();
        assert_eq!(files.append(&vec![record.clone(); 3]).unwrap().written, 2);
        assert!(files.append(slice::from_ref(&record)).is_err());
        fs::remove_dir(files.path(2)).unwrap();
        assert_eq!(files.append(slice::from_ref(&record)).unwrap().written, 1);
        assert_eq!(all(&mut files), vec![record; 3]);
    }

    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("a/b");
        open(&spool);
        assert_eq!(fs::metadata(spool).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_torn_end_and_a_flipped_bit_are_skipped_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = open(directory.path());
        files.append(&[record(1), record(2), record(3)]).unwrap();
        let path = files.path(1);
        drop(files);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8 + record(1).len() + 8 + 3] ^= 1;
        bytes.truncate(bytes.len() - 2);
        fs::write(&path, bytes).unwrap();
        let mut files = open(directory.path());
        files.append(&[record(4)]).unwrap();
        let read = files.read(10, 1 << 20).unwrap();
        assert_eq!((read.records, read.corrupt), (vec![record(1)], 2));
        files.done(1).unwrap();
        assert_eq!(all(&mut files), [record(4)]);
    }

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec((0usize..4, 1usize..40), 1..60)) {
            let directory = tempfile::tempdir().unwrap();
            let mut files = open(directory.path());
            let (mut model, mut next) = (VecDeque::new(), 0);
            for (what, n) in steps {
                match what {
                    0 | 1 => {
                        let records: Vec<Bytes> = (next..next + n).map(record).collect();
                        let written = files.append(&records).unwrap().written;
                        model.extend(records.into_iter().take(written));
                        next += n;
                    }
                    2 => {
                        let read = files.read(n, 4000).unwrap().records;
                        prop_assert!(read.iter().eq(model.iter().take(read.len())));
                        prop_assert_eq!(read.is_empty(), model.is_empty());
                        let done = read.len() / 2 + read.len() % 2;
                        files.done(done).unwrap();
                        model.drain(..done);
                    }
                    _ => { drop(files); files = open(directory.path()); }
                }
                prop_assert!(files.bytes() <= LIMIT);
            }
            prop_assert_eq!(all(&mut files), Vec::from(model));
        }

        #[test]
        fn garbage_is_survived(garbage in proptest::collection::vec(any::<u8>(), 0..400), mark in proptest::collection::vec(any::<u8>(), 0..24)) {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("000000000003.log"), garbage).unwrap();
            fs::write(directory.path().join("sent"), mark).unwrap();
            let mut files = open(directory.path());
            files.append(&[record(1)]).unwrap();
            prop_assert_eq!(all(&mut files).pop(), Some(record(1)));
        }
    }
}
