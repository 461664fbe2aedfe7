//! TensorBoard event files: the numbers of the metrics and the pictures of samples.
//!
//! An event file is a row of records, each a length, its masked CRC-32C, a payload and its masked
//! CRC-32C; a payload is a protocol buffer `tensorflow.Event` (tensorflow/core/util/event.proto and
//! tensorflow/core/framework/summary.proto). The few fields that are needed are encoded here: the
//! crates that write these files bring a protocol buffer compiler's runtime and date from 2023 and
//! before.
//!
//! A run has one event file at any time. One that goes on from an earlier step copies what is not
//! beyond that step into a new file, which begins by telling TensorBoard to forget what it has read
//! so far, and deletes the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::metrics::{MetricsError, failed};
use crate::files::{append, write_atomic};

/// How names of event files begin: TensorBoard looks for this.
const PREFIX: &str = "events.out.tfevents.";
/// How ours end.
const SUFFIX: &str = ".cosmogan";
/// Records beyond this are not believed: a picture of samples has some 200 kB.
const LARGEST_RECORD: u64 = 1 << 28;

/// An open event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Opens the events of a run in `directory` that goes on after `step`, 0 for a new one. Records
    /// of later steps, those of `step` whose kind (the first part of their tags) is one of `remade`,
    /// and one that was cut short are dropped.
    ///
    /// # Errors
    /// An event file cannot be read, written or deleted.
    pub fn resume(directory: &Path, step: u64, remade: &[&str]) -> Result<Self, MetricsError> {
        let old = event_files(directory).map_err(failed("list", directory))?;
        let newest = old.last().map_or(0, |(seconds, _)| *seconds);
        let seconds = (now() as u64).max(newest + 1);
        let path = directory.join(format!("{PREFIX}{seconds:010}{SUFFIX}"));
        write_atomic(&path, |new| {
            write_record(new, &Event::default().version())?;
            write_record(new, &Event::default().restart())?;
            if let Some((_, old)) = old.last() {
                copy_up_to(step, remade, &mut BufReader::new(File::open(old)?), new)?;
            }
            Ok(())
        })
        .map_err(failed("write", &path))?;
        for (_, old) in &old {
            fs::remove_file(old).map_err(failed("delete", old))?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        Ok(Self {
            file: file.map_err(failed("open", &path))?,
            path,
        })
    }

    /// Writes numbers, each with its tag.
    ///
    /// # Errors
    /// A failure to write.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<(), MetricsError> {
        let mut summary = Message::default();
        for (tag, value) in values {
            let mut entry = Message::default();
            entry.bytes(1, tag.as_bytes());
            entry.float(2, *value as f32);
            summary.bytes(1, &entry.0);
        }
        self.event(&Event::at(step).summary(&summary))
    }

    /// Writes the PNG picture at `picture`.
    ///
    /// # Errors
    /// A picture that cannot be read, or a failure to write.
    pub fn picture(&mut self, step: u64, tag: &str, picture: &Path) -> Result<(), MetricsError> {
        let png = fs::read(picture).map_err(failed("read", picture))?;
        // The header of a PNG has its width and height at fixed places.
        let size = |at: usize| {
            let word = png.get(at..at + 4)?.try_into().ok()?;
            Some(u64::from(u32::from_be_bytes(word)))
        };
        let (Some(width), Some(height)) = (size(16), size(20)) else {
            let short = io::Error::from(ErrorKind::UnexpectedEof);
            return Err(failed("read", picture)(short));
        };
        let mut image = Message::default();
        image.varint(1, height);
        image.varint(2, width);
        image.varint(3, RGB);
        image.bytes(4, &png);
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.bytes(4, &image.0);
        let mut summary = Message::default();
        summary.bytes(1, &entry.0);
        self.event(&Event::at(step).summary(&summary))
    }

    /// Waits until all records are on the disk.
    ///
    /// # Errors
    /// A failure to write.
    pub fn sync(&self) -> Result<(), MetricsError> {
        self.file.sync_data().map_err(failed("write", &self.path))
    }

    fn event(&mut self, event: &Message) -> Result<(), MetricsError> {
        let mut record = Vec::new();
        write_record(&mut record, event)
            .and_then(|()| append(&mut self.file, &record))
            .map_err(failed("write", &self.path))
    }
}

/// `Summary.Image.colorspace` of pictures without transparency.
const RGB: u64 = 3;

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Our event files, oldest first, by the seconds in their names.
fn event_files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let seconds = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
            .and_then(|seconds| seconds.parse().ok());
        found.extend(seconds.map(|seconds| (seconds, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Copies the records of steps up to `step`, save those that begin a file and those that will be
/// made again, as far as they are whole.
fn copy_up_to(
    step: u64,
    remade: &[&str],
    old: &mut impl Read,
    new: &mut impl Write,
) -> io::Result<()> {
    while let Some(payload) = read_record(old)? {
        let at = number(&payload, STEP).unwrap_or(0);
        let Some(summary) = part(&payload, SUMMARY) else {
            continue;
        };
        let tag = part(summary, 1).and_then(|entry| part(entry, 1));
        let kind = tag.and_then(|tag| tag.split(|&byte| byte == b'/').next());
        let again = at == step && remade.iter().any(|remade| kind == Some(remade.as_bytes()));
        if at <= step && !again {
            write_record(new, &Message(payload))?;
        }
    }
    Ok(())
}

/// The CRC of a record's part. It is masked, as records hold CRCs of records.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn write_record(out: &mut impl Write, message: &Message) -> io::Result<()> {
    let length = (message.0.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length).to_le_bytes())?;
    out.write_all(&message.0)?;
    out.write_all(&masked_crc(&message.0).to_le_bytes())
}

/// The payload of the next record; none at the end, or where a record is cut short or damaged.
fn read_record(old: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut part = |length: u64| -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        old.by_ref().take(length + 4).read_to_end(&mut bytes)?;
        let crc = bytes.split_off(bytes.len().saturating_sub(4));
        let whole = bytes.len() as u64 == length && crc == masked_crc(&bytes).to_le_bytes();
        Ok(whole.then_some(bytes))
    };
    let Some(length) = part(8)?.and_then(|bytes| bytes.try_into().ok()) else {
        return Ok(None);
    };
    let length = u64::from_le_bytes(length);
    if length > LARGEST_RECORD {
        return Ok(None);
    }
    part(length)
}

/// Fields of `Event`.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;
/// `SessionLog.SessionStatus.START`: data from the event's step on are to be forgotten.
const START: u64 = 1;

/// An `Event` in the making.
struct Event(Message);

impl Default for Event {
    fn default() -> Self {
        Self::at(0)
    }
}

impl Event {
    fn at(step: u64) -> Self {
        let mut message = Message::default();
        message.double(WALL_TIME, now());
        if step > 0 {
            message.varint(STEP, step);
        }
        Self(message)
    }

    fn version(mut self) -> Message {
        self.0.bytes(FILE_VERSION, b"brain.Event:2");
        self.0
    }

    fn restart(mut self) -> Message {
        let mut log = Message::default();
        log.varint(1, START);
        self.0.bytes(SESSION_LOG, &log.0);
        self.0
    }

    fn summary(mut self, summary: &Message) -> Message {
        self.0.bytes(SUMMARY, &summary.0);
        self.0
    }
}

/// An encoded protocol buffer: fields, each a key (number and wire type) and a value.
#[derive(Default)]
struct Message(Vec<u8>);

/// Wire types.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FOUR_BYTES: u64 = 5;

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.raw_varint(field << 3 | wire);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, EIGHT_BYTES);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, FOUR_BYTES);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, LENGTH_DELIMITED);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }
}

/// The number in the first `field` of an encoded message.
fn number(message: &[u8], field: u64) -> Option<u64> {
    find(message, field).map(|(number, _)| number)
}

/// The bytes in the first `field` of an encoded message.
fn part(message: &[u8], field: u64) -> Option<&[u8]> {
    find(message, field).map(|(_, bytes)| bytes)
}

/// The number and the bytes in `field`, of which it has one.
fn find(message: &[u8], field: u64) -> Option<(u64, &[u8])> {
    let mut rest = message;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        let (number, length) = match key & 7 {
            VARINT => (take_varint(&mut rest)?, 0),
            EIGHT_BYTES => (0, 8),
            FOUR_BYTES => (0, 4),
            LENGTH_DELIMITED => (0, usize::try_from(take_varint(&mut rest)?).ok()?),
            _ => return None,
        };
        let (bytes, tail) = rest.split_at_checked(length)?;
        if key >> 3 == field {
            return Some((number, bytes));
        }
        rest = tail;
    }
    None
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(step, has a summary)` of every whole record.
    fn records(directory: &Path) -> Vec<(u64, bool)> {
        let files = event_files(directory).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
        let bytes = fs::read(&files[0].1).unwrap();
        let mut rest = &bytes[..];
        let mut found = Vec::new();
        while let Some(payload) = read_record(&mut rest).unwrap() {
            let step = number(&payload, STEP).unwrap_or(0);
            found.push((step, part(&payload, SUMMARY).is_some()));
        }
        found
    }

    fn loss(step: u64) -> [(String, f64); 2] {
        [
            ("train/d_loss".to_owned(), 1.0 / step as f64),
            ("train/g_loss".to_owned(), step as f64),
        ]
    }

    /// RFC 3720, B.4: 32 bytes of zeros.
    #[test]
    fn the_crc_is_castagnolis() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(
            masked_crc(&[0; 32]),
            0x6d55_1522u32.wrapping_add(0xa282_ead8)
        );
    }

    #[test]
    fn a_resumed_run_has_one_file_without_later_or_torn_records() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut writer = EventWriter::resume(root, 0, &[]).unwrap();
        for step in [1, 100, 300, 70_000] {
            writer.scalars(step, &loss(step)).unwrap();
        }
        let expected = [(0, false), (0, false), (1, true), (100, true)];
        let all = [&expected[..], &[(300, true), (70_000, true)]].concat();
        assert_eq!(records(root), all);
        writer.file.write_all(&[7; 11]).unwrap();
        let mut writer = EventWriter::resume(root, 299, &["train"]).unwrap();
        assert_eq!(records(root), expected);
        writer.scalars(300, &loss(300)).unwrap();
        assert_eq!(records(root).last(), Some(&(300, true)));
        EventWriter::resume(root, 300, &["validation", "train"]).unwrap();
        assert_eq!(
            records(root),
            expected,
            "those of the last step are made again"
        );
    }

    #[test]
    fn records_behind_a_changed_byte_are_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut writer = EventWriter::resume(root, 0, &[]).unwrap();
        for step in 1..=5 {
            writer.scalars(step, &loss(step)).unwrap();
        }
        let mut bytes = fs::read(&writer.path).unwrap();
        let record = (bytes.len() - 78) / 5;
        let third = bytes.len() - 3 * record + 20;
        bytes[third] ^= 4;
        fs::write(&writer.path, bytes).unwrap();
        EventWriter::resume(root, 5, &[]).unwrap();
        assert_eq!(records(root).last(), Some(&(2, true)));
    }
}
