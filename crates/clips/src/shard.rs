//! One `clips-NNNNN.safetensors`: written as a stream, read by memory map.
//!
//! | encoding | tensors |
//! | --- | --- |
//! | raw | `clips`: u8 \[clips, frames, height, width, 3\], RGB |
//! | jpeg | `jpeg`: u8 \[bytes\], one JPEG after the other, padded at the end to a multiple of 8; `offsets`: i64 \[clips x frames + 1\], where frame `f` of row `r` starts is at `r x frames + f`, and ends at the next |

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::{ClipsError, Dataset, Encoding};

/// Name of the tensor of raw pixels.
const CLIPS: &str = "clips";
/// Name of the tensor of JPEGs.
const JPEG: &str = "jpeg";
/// Name of the tensor that says where each JPEG is.
const OFFSETS: &str = "offsets";

/// Bytes of the JSON header, which stands before the pixels and is written after them, when their
/// number is known; padded with blanks, as the format allows. Keeps the tensors aligned to 8 bytes.
const HEADER_BYTES: usize = 248;

/// What a shard holds of one clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// frames x height x width x 3.
    Raw(&'a [u8]),
    /// One JPEG after the other.
    Jpeg {
        bytes: &'a [u8],
        /// Where each frame ends.
        ends: Vec<usize>,
    },
}

impl Stored<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Raw(bytes) | Self::Jpeg { bytes, .. } => bytes,
        }
    }

    /// CRC-32 of the bytes, and of where frames end, as u64.
    pub(crate) fn crc32(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.bytes());
        if let Self::Jpeg { ends, .. } = self {
            for end in ends {
                hasher.update(&(*end as u64).to_le_bytes());
            }
        }
        hasher.finalize()
    }
}

/// A shard in the making.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    path: PathBuf,
    file: BufWriter<File>,
    encoding: Encoding,
    clip_shape: [usize; 4],
    rows: usize,
    bytes: usize,
    /// Of JPEGs.
    offsets: Vec<i64>,
}

impl ShardWriter {
    pub(crate) fn create(path: PathBuf, dataset: &Dataset) -> Result<Self, ClipsError> {
        let file = File::create(&path).map_err(|source| ClipsError::Write {
            path: path.clone(),
            source,
        })?;
        let mut writer = Self {
            path,
            file: BufWriter::with_capacity(1 << 20, file),
            encoding: dataset.encoding,
            clip_shape: dataset.clip_shape(),
            rows: 0,
            bytes: 0,
            offsets: vec![0],
        };
        writer.write(&[b' '; 8 + HEADER_BYTES])?;
        Ok(writer)
    }

    /// Clips written so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of clips written so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one clip, which the caller has encoded as the data set says.
    pub(crate) fn push(&mut self, clip: &Stored<'_>) -> Result<(), ClipsError> {
        self.write(clip.bytes())?;
        if let Stored::Jpeg { ends, .. } = clip {
            let start = self.bytes;
            let ends = ends.iter().map(|end| (start + end) as i64);
            self.offsets.extend(ends);
        }
        self.bytes += clip.bytes().len();
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), ClipsError> {
        let mut header = match self.encoding {
            Encoding::Raw => {
                let [frames, height, width, channels] = self.clip_shape;
                let (rows, end) = (self.rows, self.bytes);
                format!(
                    r#"{{"{CLIPS}":{{"dtype":"U8","shape":[{rows},{frames},{height},{width},{channels}],"data_offsets":[0,{end}]}}}}"#
                )
            }
            Encoding::Jpeg { .. } => {
                let offsets = std::mem::take(&mut self.offsets);
                let middle = self.bytes.next_multiple_of(8);
                self.write(&[0; 8][..middle - self.bytes])?;
                for offset in &offsets {
                    self.write(&offset.to_le_bytes())?;
                }
                let (count, end) = (offsets.len(), middle + 8 * offsets.len());
                format!(
                    r#"{{"{JPEG}":{{"dtype":"U8","shape":[{middle}],"data_offsets":[0,{middle}]}},"{OFFSETS}":{{"dtype":"I64","shape":[{count}],"data_offsets":[{middle},{end}]}}}}"#
                )
            }
        }
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
    rows: usize,
    content: Content,
}

/// Where a shard has what.
#[derive(Debug)]
enum Content {
    Raw {
        start: usize,
        clip_bytes: usize,
    },
    Jpeg {
        start: usize,
        /// Of all JPEGs.
        bytes: usize,
        /// Where the tensor of offsets starts.
        offsets: usize,
        frames: usize,
    },
}

impl Shard {
    /// Maps the file and checks its header against its length and against the data set.
    pub(crate) fn open(path: &Path, dataset: &Dataset) -> Result<Self, ClipsError> {
        let map = map(path)?;
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
        let tensor = |name, dtype| tensor(&metadata, name, dtype).map_err(not_a_shard);
        let data = 8 + header_bytes;
        let (rows, content) = match dataset.encoding {
            Encoding::Raw => {
                let (start, shape) = tensor(CLIPS, Dtype::U8)?;
                match shape.split_first() {
                    Some((rows, shape)) if *shape == dataset.clip_shape() => {
                        let (start, clip_bytes) = (data + start, dataset.clip_bytes());
                        (*rows, Content::Raw { start, clip_bytes })
                    }
                    _ => {
                        return Err(ClipsError::Shape {
                            path: path.to_owned(),
                            found: shape.iter().skip(1).copied().collect(),
                            expected: dataset.clip_shape().to_vec(),
                        });
                    }
                }
            }
            Encoding::Jpeg { .. } => {
                let (start, jpeg) = tensor(JPEG, Dtype::U8)?;
                let (offsets, shape) = tensor(OFFSETS, Dtype::I64)?;
                let frames = dataset.frames;
                let count = shape.iter().product::<usize>().checked_sub(1);
                let rows = count.filter(|count| count.is_multiple_of(frames));
                let rows = rows.ok_or_else(|| {
                    not_a_shard(format!(
                        "`{OFFSETS}` has the shape {shape:?}, which is not one more than a multiple of {frames} frames"
                    ))
                })?;
                let content = Content::Jpeg {
                    start: data + start,
                    bytes: jpeg.iter().product(),
                    offsets: data + offsets,
                    frames,
                };
                (rows / frames, content)
            }
        };
        Ok(Self { map, rows, content })
    }

    /// Clips in the shard.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// What it holds of the clip in a row, which must be below [`rows`](Self::rows).
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(crate) fn stored(&self, row: usize) -> Result<Stored<'_>, String> {
        match self.content {
            Content::Raw { start, clip_bytes } => {
                let start = start + row * clip_bytes;
                Ok(Stored::Raw(&self.map[start..start + clip_bytes]))
            }
            Content::Jpeg {
                start,
                bytes,
                offsets,
                frames,
            } => {
                let offsets = &self.map[offsets + 8 * row * frames..][..8 * (frames + 1)];
                let offsets = offsets.as_chunks::<8>().0.iter();
                let mut ends: Vec<usize> = offsets
                    .map(|offset| i64::from_le_bytes(*offset))
                    .map(|offset| usize::try_from(offset).unwrap_or(usize::MAX))
                    .collect();
                let (first, last) = (ends[0], ends[frames]);
                if !ends.is_sorted() || last > bytes {
                    return Err("the places of its frames are impossible".to_owned());
                }
                ends.remove(0);
                ends.iter_mut().for_each(|end| *end -= first);
                let bytes = &self.map[start + first..start + last];
                Ok(Stored::Jpeg { bytes, ends })
            }
        }
    }
}

/// Maps a file of a clip set into memory.
pub(crate) fn map(path: &Path) -> Result<Mmap, ClipsError> {
    let unreadable = |source| ClipsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    // SAFETY: a clip set is published read-only and complete and is never changed in place; the
    // map is only read. A file that another program cuts off meanwhile would end this process
    // with SIGBUS, as it would any reader by memory map.
    unsafe { Mmap::map(&file) }.map_err(unreadable)
}

/// Start (within the data) and shape of a tensor, which must have this type.
fn tensor<'a>(
    metadata: &'a Metadata,
    name: &str,
    dtype: Dtype,
) -> Result<(usize, &'a [usize]), String> {
    let info = metadata
        .info(name)
        .ok_or_else(|| format!("it has no tensor `{name}`"))?;
    if info.dtype != dtype {
        return Err(format!(
            "the tensor `{name}` has the type {:?} and not {dtype:?}",
            info.dtype
        ));
    }
    Ok((info.data_offsets.0, &info.shape))
}

/// The length that a shard's own header promises, where the header itself is whole.
fn promised(bytes: &[u8]) -> Option<u64> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let header = bytes.get(8..8usize.checked_add(usize::try_from(length).ok()?)?)?;
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    let tensors = header.as_object()?.values();
    let ends = tensors.filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    length.checked_add(8)?.checked_add(ends.max()?)
}
