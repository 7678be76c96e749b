//! NumPy's .npy format: a header in the syntax of a Python dictionary, then the elements.
//!
//! Reads little and big endian, C and Fortran order, versions 1 to 3. Writes little endian, C order, version 1. Half
//! precision is NumPy's `<f2`. NumPy has no bfloat16: `V2`, which the ml_dtypes package writes, is read as bfloat16;
//! bfloat16 is written as `<f4`, which represents it exactly. 4-bit integers are written as 8-bit integers.
//!
//! Damaged files cause errors that state what was expected, however large the numbers in their headers are.

use std::io::{self, Read, Write};

use eightfold_ir::{DType, Data, Shape, Tensor};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Much more than any header of a plain array needs; only structured types, which are not supported, have longer ones.
const LONGEST_HEADER: usize = 1 << 16;

/// The elements of an array in the layout of a tensor: little endian, C order.
pub(super) struct Array {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

impl Array {
    /// The array as a tensor of the same shape.
    pub(super) fn into_tensor(self) -> Tensor {
        Tensor::from_unpacked(self.dtype, Shape::new(&self.shape), self.bytes)
            .expect("as many bytes as type and shape ask for")
    }
}

/// Why bytes are not a .npy file.
#[derive(Debug)]
pub(super) enum NpyError {
    Io(io::Error),
    Form { expected: &'static str, got: String },
}

impl From<io::Error> for NpyError {
    fn from(error: io::Error) -> Self {
        NpyError::Io(error)
    }
}

fn form<T>(expected: &'static str, got: impl Into<String>) -> Result<T, NpyError> {
    Err(NpyError::Form { expected, got: got.into() })
}

/// Reads an array from a .npy file, to the end of the file.
pub(super) fn read(mut file: impl Read) -> Result<Array, NpyError> {
    let header = Header::read(&mut file)?;
    let size = header.dtype.byte_size();
    let expected = header.shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
    let Some(expected) = expected.filter(|&bytes| isize::try_from(bytes).is_ok()) else {
        return form("an array that fits in memory", format!("shape {:?}", header.shape));
    };
    // Not reserved in advance: the header may claim more than the file contains.
    let mut bytes = Vec::new();
    file.take(expected as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() != expected {
        let more = if bytes.len() > expected { "more" } else { &format!("{} bytes", bytes.len()) };
        return form("as many bytes as type and shape ask for", format!("{more} for shape {:?}", header.shape));
    }
    if header.big_endian {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    if header.fortran_order {
        bytes = from_fortran_order(&bytes, &header.shape, size);
    }
    if header.dtype == DType::Bool && bytes.iter().any(|&byte| byte > 1) {
        return form("truth values 0 and 1", "another number");
    }
    Ok(Array { dtype: header.dtype, shape: header.shape, bytes })
}

/// Converts elements from Fortran order (first axis innermost) to C order.
fn from_fortran_order(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(bytes.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..bytes.len() / size {
        let at = index.iter().zip(shape).rev().fold(0, |at, (&i, &dim)| at * dim + i);
        ordered.extend_from_slice(&bytes[at * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    ordered
}

/// Writes `tensor` as a .npy file.
pub(super) fn write(tensor: &Tensor, mut file: impl Write) -> io::Result<()> {
    let descr = match tensor.dtype() {
        DType::F16 => "<f2",
        DType::F32 | DType::Bf16 => "<f4",
        DType::F64 => "<f8",
        DType::I4 | DType::I8 => "|i1",
        DType::U4 | DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
    };
    let shape: String = tensor.shape().iter().map(|dim| format!("{dim}, ")).collect();
    // `(3,)` and `(2, 3)`, like NumPy.
    let shape = if tensor.shape().rank() == 1 { shape.trim_end() } else { shape.trim_end_matches(", ") };
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes; the elements start at a multiple of 64.
    let length = (10 + dictionary.len() + 1).next_multiple_of(64) - 10;
    let Ok(length_field) = u16::try_from(length) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many axes for a .npy file"));
    };
    file.write_all(MAGIC)?;
    file.write_all(&[1, 0])?;
    file.write_all(&length_field.to_le_bytes())?;
    writeln!(file, "{dictionary:<width$}", width = length - 1)?;
    match (tensor.dtype(), tensor.data()) {
        (DType::Bf16, Data::Float(values)) => values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes())),
        _ => file.write_all(&tensor.unpacked()),
    }
}

#[derive(Debug)]
struct Header {
    dtype: DType,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(file: &mut impl Read) -> Result<Header, NpyError> {
        let mut magic = [0; 8];
        if file.read_exact(&mut magic).is_err() || !magic.starts_with(MAGIC) {
            return form("the .npy format's first bytes", "others");
        }
        let length = match magic[6] {
            1 => {
                let mut length = [0; 2];
                file.read_exact(&mut length)?;
                usize::from(u16::from_le_bytes(length))
            }
            2 | 3 => {
                let mut length = [0; 4];
                file.read_exact(&mut length)?;
                u32::from_le_bytes(length) as usize
            }
            version => return form("version 1, 2 or 3 of the .npy format", version.to_string()),
        };
        if length > LONGEST_HEADER {
            return form("a header of at most 65536 bytes", length.to_string());
        }
        let mut text = vec![0; length];
        file.read_exact(&mut text)?;
        match std::str::from_utf8(&text) {
            Ok(text) => Header::parse(text),
            Err(_) => form("a header in UTF-8", "other bytes"),
        }
    }

    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
    fn parse(text: &str) -> Result<Header, NpyError> {
        let mut rest = Rest(text);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        rest.take("{")?;
        while !rest.next_is("}") {
            let key = rest.string()?;
            rest.take(":")?;
            match key {
                "descr" => descr = Some(rest.string()?),
                "fortran_order" => {
                    fortran_order = Some(rest.next_is("True"));
                    rest.take(if rest.next_is("True") { "True" } else { "False" })?;
                }
                "shape" => shape = Some(rest.shape()?),
                _ => return form("the keys descr, fortran_order and shape", format!("`{key}`")),
            }
            if !rest.next_is("}") {
                rest.take(",")?;
            }
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
            return form("the keys descr, fortran_order and shape", "not all of them");
        };
        let kind = descr.trim_start_matches(['<', '>', '|', '=']);
        let dtype = match kind {
            "f2" => DType::F16,
            "f4" => DType::F32,
            "f8" => DType::F64,
            "V2" => DType::Bf16,
            "i1" => DType::I8,
            "i2" => DType::I16,
            "i4" => DType::I32,
            "i8" => DType::I64,
            "u1" => DType::U8,
            "u2" => DType::U16,
            "u4" => DType::U32,
            "u8" => DType::U64,
            "b1" => DType::Bool,
            _ => return form("elements that are numbers or truth values", format!("NumPy type `{descr}`")),
        };
        Ok(Header { dtype, big_endian: descr.starts_with('>'), fortran_order, shape })
    }
}

/// The unread part of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn next_is(&self, token: &str) -> bool {
        self.0.trim_start().starts_with(token)
    }

    fn take(&mut self, token: &str) -> Result<(), NpyError> {
        match self.0.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                Ok(())
            }
            None => self.unexpected(),
        }
    }

    fn string(&mut self) -> Result<&'a str, NpyError> {
        let quote = if self.next_is("\"") { "\"" } else { "'" };
        self.take(quote)?;
        let Some((string, rest)) = self.0.split_once(quote) else { return self.unexpected() };
        self.0 = rest;
        Ok(string)
    }

    fn shape(&mut self) -> Result<Vec<usize>, NpyError> {
        self.take("(")?;
        let Some((dims, rest)) = self.0.split_once(')') else { return self.unexpected() };
        let dims = dims.split(',').map(|dim| dim.trim().trim_end_matches('L')).filter(|dim| !dim.is_empty());
        match dims.map(str::parse).collect() {
            Ok(shape) => {
                self.0 = rest;
                Ok(shape)
            }
            Err(_) => self.unexpected(),
        }
    }

    fn unexpected<T>(&self) -> Result<T, NpyError> {
        form("a plain array's header", format!("`{}`", self.0.trim().chars().take(40).collect::<String>()))
    }
}
