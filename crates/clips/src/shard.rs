//! One `clips-NNNNN.safetensors`: written as a stream, read by memory map.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::ClipsError;

/// Name of the one tensor in a shard.
const TENSOR: &str = "clips";

/// Bytes of the JSON header, which stands before the pixels and is written after them, when their
/// number is known; padded with blanks, as the format allows. Keeps the pixels aligned to 8 bytes.
const HEADER_BYTES: usize = 248;

/// A shard in the making.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    path: PathBuf,
    file: BufWriter<File>,
    clip_shape: [usize; 4],
    rows: usize,
}

impl ShardWriter {
    pub(crate) fn create(path: PathBuf, clip_shape: [usize; 4]) -> Result<Self, ClipsError> {
        let file = File::create(&path).map_err(|source| ClipsError::Write {
            path: path.clone(),
            source,
        })?;
        let mut writer = Self {
            path,
            file: BufWriter::with_capacity(1 << 20, file),
            clip_shape,
            rows: 0,
        };
        writer.write(&[b' '; 8 + HEADER_BYTES])?;
        Ok(writer)
    }

    /// Clips written so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the pixels of one clip, whose number the caller has checked.
    pub(crate) fn push(&mut self, pixels: &[u8]) -> Result<(), ClipsError> {
        self.write(pixels)?;
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), ClipsError> {
        let [frames, height, width, channels] = self.clip_shape;
        let rows = self.rows;
        let bytes = rows * self.clip_shape.iter().product::<usize>();
        let mut header = format!(
            r#"{{"{TENSOR}":{{"dtype":"U8","shape":[{rows},{frames},{height},{width},{channels}],"data_offsets":[0,{bytes}]}}}}"#
        )
        .into_bytes();
        header.resize(HEADER_BYTES, b' ');
        let failed = |source| ClipsError::Write {
            path: self.path.clone(),
            source,
        };
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        self.file
            .write_all(&(HEADER_BYTES as u64).to_le_bytes())
            .and_then(|()| self.file.write_all(&header))
            .and_then(|()| self.file.flush())
            .map_err(failed)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ClipsError> {
        self.file
            .write_all(bytes)
            .map_err(|source| ClipsError::Write {
                path: self.path.clone(),
                source,
            })
    }
}

/// A shard mapped into memory.
#[derive(Debug)]
pub(crate) struct Shard {
    map: Mmap,
    /// Where the pixels begin.
    offset: usize,
    rows: usize,
}

impl Shard {
    /// Maps the file and checks its header against its length and against the shape of a clip.
    pub(crate) fn open(path: &Path, clip_shape: [usize; 4]) -> Result<Self, ClipsError> {
        let unreadable = |source| ClipsError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: a clip set is published read-only and complete and is never changed in place; the
        // map is only read. A file that another program cuts off meanwhile would end this process
        // with SIGBUS, as it would any reader by memory map.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let found = map.len() as u64;
        let not_a_shard = |message: String| ClipsError::Shard {
            path: path.to_owned(),
            message,
        };
        let (header_bytes, metadata) =
            SafeTensors::read_metadata(&map).map_err(|error| match error {
                SafeTensorError::MetadataIncompleteBuffer
                | SafeTensorError::HeaderTooSmall
                | SafeTensorError::InvalidHeaderLength => promised(&map).map_or_else(
                    || not_a_shard(error.to_string()),
                    |expected| ClipsError::Truncated {
                        path: path.to_owned(),
                        expected,
                        found,
                    },
                ),
                other => not_a_shard(other.to_string()),
            })?;
        let tensor = metadata
            .info(TENSOR)
            .ok_or_else(|| not_a_shard(format!("it has no tensor `{TENSOR}`")))?;
        if tensor.dtype != Dtype::U8 {
            return Err(not_a_shard(format!(
                "the tensor `{TENSOR}` has the type {:?} and not U8",
                tensor.dtype
            )));
        }
        match tensor.shape.split_first() {
            Some((rows, shape)) if *shape == clip_shape => Ok(Self {
                offset: 8 + header_bytes + tensor.data_offsets.0,
                rows: *rows,
                map,
            }),
            _ => Err(ClipsError::Shape {
                path: path.to_owned(),
                found: tensor.shape.iter().skip(1).copied().collect(),
                expected: clip_shape.to_vec(),
            }),
        }
    }

    /// Clips in the shard.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The pixels of a row, `bytes` of them.
    pub(crate) fn pixels(&self, row: usize, bytes: usize) -> &[u8] {
        let start = self.offset + row * bytes;
        &self.map[start..start + bytes]
    }
}

/// The length that a shard's own header promises, where the header itself is whole.
fn promised(bytes: &[u8]) -> Option<u64> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let header = bytes.get(8..8usize.checked_add(usize::try_from(length).ok()?)?)?;
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    let end = header.get(TENSOR)?["data_offsets"][1].as_u64()?;
    Some(8 + length + end)
}
