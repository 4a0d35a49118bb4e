//! The file: a zip archive as `torch.jit.save` makes them, nothing in it compressed.
//!
//! ```text
//! model/version, model/byteorder   of the format
//! model/code/__torch__.py          the program, as text
//! model/constants.pkl              none
//! model/data.pkl                   which tensor has which name, shape and record
//! model/data/0, model/data/1, ...  the tensors' numbers, row by row
//! model/extra/model.json           classes, geometry, normalisation, scales
//! ```

use std::io::{Cursor, Read, Write};

use tch::{Kind, Tensor, no_grad};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::pickle::{self, Place};
use crate::NetsError;

/// The folder that all records of an archive lie in.
const FOLDER: &str = "model";

/// The record with the model's description.
const INFO: &str = "extra/model.json";

/// The version of the format, the oldest that all current libraries read and write.
const VERSION: &str = "3\n";

/// An archive of a program, its tensors, and the model's description. Equal arguments give equal bytes.
///
/// # Errors
/// Tensors that an archive cannot hold.
pub(super) fn write(
    class: &str,
    program: &str,
    tensors: &[(String, Tensor)],
    info: &[u8],
) -> Result<Vec<u8>, NetsError> {
    let places: Vec<Place> = tensors
        .iter()
        .enumerate()
        .map(|(record, (name, tensor))| Place {
            name,
            record: record.to_string(),
            kind: tensor.kind(),
            shape: tensor.size(),
        })
        .collect();
    let mut records = vec![
        (INFO.to_owned(), info.to_vec()),
        ("data.pkl".to_owned(), pickle::object(class, &places)?),
        ("code/__torch__.py".to_owned(), program.into()),
        ("constants.pkl".to_owned(), pickle::nothing()),
        ("version".to_owned(), VERSION.into()),
        ("byteorder".to_owned(), "little".into()),
    ];
    for (place, (_, tensor)) in places.iter().zip(tensors) {
        records.push((format!("data/{}", place.record), little_endian(tensor)?));
    }
    pack(&records).map_err(|error| NetsError::Torch(format!("cannot pack an archive: {error}")))
}

fn pack(records: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for (name, bytes) in records {
        archive.start_file(format!("{FOLDER}/{name}"), options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Reads all of an archive, so that every checksum in it is looked at (libtorch looks at none), and hands out the
/// model's description.
///
/// # Errors
/// In words, what is wrong with it.
pub(super) fn check(bytes: &[u8]) -> Result<String, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let wanted = format!("{FOLDER}/{INFO}");
    let mut info = None;
    for index in 0..archive.len() {
        let mut record = archive.by_index(index).map_err(|error| error.to_string())?;
        let name = record
            .name()
            .map_err(|error| error.to_string())?
            .into_owned();
        let mut content = Vec::new();
        record
            .read_to_end(&mut content)
            .map_err(|error| format!("`{name}` is damaged: {error}"))?;
        if name == wanted {
            info = Some(String::from_utf8(content).map_err(|_| format!("`{name}` is no text"))?);
        }
    }
    info.ok_or_else(|| format!("it has no `{wanted}`"))
}

/// A tensor's numbers, row by row.
fn little_endian(tensor: &Tensor) -> Result<Vec<u8>, NetsError> {
    let tensor = no_grad(|| tensor.detach().contiguous());
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    if cfg!(target_endian = "big") && tensor.kind() != Kind::Int8 {
        bytes
            .chunks_exact_mut(tensor.kind().elt_size_in_bytes())
            .for_each(<[u8]>::reverse);
    }
    Ok(bytes)
}
