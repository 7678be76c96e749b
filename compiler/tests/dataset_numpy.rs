//! NumPy's file formats: reading, writing, and errors of damaged files.

use std::fs;
use std::path::Path;

use eightfold::dataset::{Dataset, DatasetOptions, InputSpec, read_npy, read_npz, write_npy, write_npz};
use eightfold::host::output_file::write_file;
use eightfold_ir::{DType, Data, Shape, Tensor};
use proptest::prelude::*;

/// A .npy file with this header.
fn npy(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(dictionary.len()).unwrap();
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], dictionary.as_bytes(), data].concat()
}

fn read_bytes(bytes: &[u8]) -> Result<Tensor, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.npy");
    fs::write(&file, bytes).unwrap();
    read_npy(&file).map_err(|error| error.to_string().replace(&format!("{}: array `a`: ", file.display()), ""))
}

#[test]
fn files_of_other_machines_and_orders_are_read() {
    let big = npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }", &[1, 2, 255, 255]);
    assert_eq!(read_bytes(&big), Ok(Tensor::int(DType::I16, &[2], &[258, -1])));
    // The first axis is innermost: column by column.
    let fortran = npy("{\"shape\": (2L, 3L), 'fortran_order':True,'descr':'|u1'}  \n", &[1, 4, 2, 5, 3, 6]);
    assert_eq!(read_bytes(&fortran), Ok(Tensor::int(DType::U8, &[2, 3], &[1, 2, 3, 4, 5, 6])));
    let scalar = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", &1.5f32.to_le_bytes());
    assert_eq!(read_bytes(&scalar), Ok(Tensor::f32(&[], &[1.5])));
    let bfloat16 = npy("{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }", &[0x80, 0x3f]);
    let one = read_bytes(&bfloat16).unwrap();
    assert_eq!((one.dtype(), one.to_f32s()), (DType::Bf16, Some(vec![1.0])));
    let mut version2 = b"\x93NUMPY\x02\x00\x37\x00\x00\x00".to_vec();
    version2.extend(b"{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}\x01");
    assert_eq!(read_bytes(&version2), Ok(Tensor::int(DType::Bool, &[1], &[1])));
}

#[test]
fn damaged_files_are_errors() {
    let error = |dictionary: &str, data: &[u8]| read_bytes(&npy(dictionary, data)).unwrap_err();
    let f4 = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
    let size = "expected as many bytes as type and shape ask for";
    assert_eq!(error(&f4("(3,)"), &[0; 8]), format!("{size}, got 8 bytes for shape [3]"));
    assert_eq!(error(&f4("(1,)"), &[0; 8]), format!("{size}, got more for shape [1]"));
    assert!(error(&f4("(1099511627776,)"), &[]).starts_with(size));
    assert!(error(&f4("(4294967296, 4294967296)"), &[]).starts_with("expected an array that fits in memory"));
    assert_eq!(error(&f4("(-1,)"), &[]), "expected a plain array's header, got `-1,)}`");
    assert_eq!(
        error("{'descr': '<U8', 'fortran_order': False, 'shape': (1,)}", &[0; 32]),
        "expected elements that are numbers or truth values, got NumPy type `<U8`"
    );
    let keys = "expected the keys descr, fortran_order and shape, got ";
    assert_eq!(error("{'descr': '<f4', 'shape': (1,)}", &[0; 4]), format!("{keys}not all of them"));
    assert_eq!(error("{'descr': '<f4', 'order': (1,)}", &[0; 4]), format!("{keys}`order`"));
    assert_eq!(error("{'descr': [('a', '<f4')], ", &[]), "expected a plain array's header, got `[('a', '<f4')],`");
    assert_eq!(
        error("{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", &[2]),
        "expected truth values 0 and 1, got another number"
    );
    let version = read_bytes(b"\x93NUMPY\x09\x00").unwrap_err();
    assert_eq!(version, "expected version 1, 2 or 3 of the .npy format, got 9");
    let header = read_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").unwrap_err();
    assert_eq!(header, "expected a header of at most 65536 bytes, got 4294967295");
}

#[test]
fn every_type_is_written_as_numpy_knows_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npy");
    for &dtype in DType::ALL {
        let values = if dtype.is_float() {
            Data::Float(vec![-1.5, 0.0, 2.0, 1.0, 0.5, -0.25])
        } else {
            Data::Int(vec![0, 1, 1, 0, 1, if dtype == DType::Bool { 0 } else { 7 }])
        };
        write_npy(&file, &Tensor::from_array(dtype, Shape::new(&[2, 3]), &values)).unwrap();
        let expected = match dtype {
            DType::Bf16 => DType::F32,
            DType::I4 => DType::I8,
            DType::U4 => DType::U8,
            same => same,
        };
        let read = read_npy(&file).unwrap();
        assert_eq!((read.dtype(), read.data()), (expected, values), "{dtype}");
    }
}

#[test]
fn a_file_is_byte_for_byte_what_numpy_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.npy");
    for (shape, text) in [(&[][..], "()"), (&[3], "(3,)"), (&[2, 1], "(2, 1)")] {
        let tensor = Tensor::from_array(DType::F16, Shape::new(shape), &Data::Float(vec![1.0; shape.iter().product()]));
        write_npy(&file, &tensor).unwrap();
        // np.save pads its header with spaces to 128 bytes; the last byte is a line feed.
        let header = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': {text}, }}");
        let expected = [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), tensor.bytes()].concat();
        assert_eq!(fs::read(&file).unwrap(), expected, "{text}");
    }
}

#[test]
fn equal_tensors_are_equal_archives() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1.npz"), folder.path().join("2.npz"));
    let (a, b) = (Tensor::f32(&[], &[1.0]), Tensor::int(DType::U8, &[2], &[3, 4]));
    for file in [&first, &second] {
        write_npz(file, [("b/ü", &b), ("a", &a)]).unwrap();
    }
    assert_eq!(fs::read(&first).unwrap(), fs::read(second).unwrap());
    let read: Vec<_> = read_npz(&first).unwrap().into_iter().collect();
    assert_eq!(read, [("a".to_owned(), a), ("b/ü".to_owned(), b)]);
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.npz");
    let tensor = Tensor::f32(&[], &[1.0]);
    fs::write(&file, "before").unwrap();
    let failure = write_file(&file, |output| {
        output.write_all(b"half")?;
        Err(std::io::Error::other("interrupted"))
    });
    assert_eq!(failure.unwrap_err().to_string(), "interrupted");
    assert_eq!(fs::read(&file).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left behind");
    for target in [&folder.path().join("no/such/folder/out.npy"), folder.path()] {
        let error = write_npy(target, &tensor).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", target.display()));
    }
    write_npy(&file, &tensor).unwrap();
    assert_eq!(read_npy(&file).unwrap(), tensor);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let plain = folder.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode(&file), mode(&plain), "not as readable as other new files");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_headers_never_panic(
        text in "[{}()':, a-z0-9<>|_\\-]{0,80}",
        cut in 0usize..60,
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
        let _ = read_bytes(&npy(&text, &data));
        let _ = read_bytes(&npy(&format!("{}{text}", &header[..cut.min(header.len())]), &data));
        let _ = read_bytes(&data);
    }

    #[test]
    fn damaged_archives_never_panic(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("d.npz");
        write_npz(&file, [("x", &Tensor::f32(&[3, 2], &[0.0; 6]))]).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let length = bytes.len();
        let read = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let data = Dataset::open(&file, &[InputSpec::new("x", DType::F32, &[1, 2])], &DatasetOptions::default());
            let _ = data.and_then(|data| data.iter().collect::<Result<Vec<_>, _>>());
        };
        read(&bytes[..cut % length]);
        bytes[at % length] = byte;
        read(&bytes);
    }
}
