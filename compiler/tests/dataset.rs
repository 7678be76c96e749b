//! Arrays as data: how they are split into samples, and the errors. NumPy's file formats and images have their own
//! tests.

use std::fs;
use std::path::{Path, PathBuf};

use eightfold::dataset::{Dataset, DatasetError, DatasetOptions, InputSpec, read_inputs, write_npy, write_npz};
use eightfold_ir::{DType, Data, Shape, Tensor};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file_in(folder: &TempDir, name: &str, tensors: &[(&str, Tensor)]) -> PathBuf {
    let file = folder.path().join(name);
    write_npz(&file, tensors.iter().map(|(name, tensor)| (*name, tensor))).unwrap();
    file
}

/// `0, 1, 2, …` in the given shape.
fn counting(shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    Tensor::f32(shape, &(0..count).map(|i| i as f32).collect::<Vec<_>>())
}

fn ints(dtype: DType, values: &[i64]) -> Tensor {
    Tensor::int(dtype, &[values.len()], values)
}

fn open(file: &Path, inputs: &[InputSpec]) -> Result<Dataset, DatasetError> {
    Dataset::open(file, inputs, &DatasetOptions::default())
}

/// The message without the folder, which differs between runs.
fn message<T>(result: Result<T, DatasetError>, folder: &TempDir) -> String {
    let error = result.err().expect("an error");
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn x(shape: &[usize]) -> Vec<InputSpec> {
    vec![InputSpec::new("x", DType::F32, shape)]
}

#[test]
fn samples_are_the_rows_of_an_array() {
    let folder = folder();
    let file = file_in(&folder, "d.npz", &[("x", counting(&[3, 2, 2])), ("labels", ints(DType::I32, &[5, 6, 7]))]);
    let options = DatasetOptions { label_offset: 1, ..DatasetOptions::default() };
    let data = Dataset::open(&file, &x(&[1, 2, 2]), &options).unwrap();
    assert_eq!(data.labels(), Some(&[6, 7, 8][..]));
    let samples: Vec<_> = data.iter().map(Result::unwrap).collect();
    assert_eq!(samples.len(), 3);
    assert_eq!(samples[2].inputs, [Tensor::f32(&[1, 2, 2], &[8.0, 9.0, 10.0, 11.0])]);
    assert_eq!((&samples[2].labels[..], samples[2].rows), (&[8][..], 1));
}

#[test]
fn samples_may_carry_the_batch_axis() {
    let folder = folder();
    let labels = Tensor::int(DType::I64, &[3, 2], &[1, 2, 3, 4, 5, 6]);
    let file = file_in(&folder, "d.npz", &[("x", counting(&[3, 2, 2])), ("labels", labels)]);
    let data = open(&file, &x(&[2, 2])).unwrap();
    assert_eq!(data.len(), 3);
    let sample = data.sample(1).unwrap();
    assert_eq!(sample.inputs, [Tensor::f32(&[2, 2], &[4.0, 5.0, 6.0, 7.0])]);
    assert_eq!((&sample.labels[..], sample.rows), (&[3, 4][..], 2));
}

#[test]
fn the_last_batch_is_filled_with_its_last_row() {
    let folder = folder();
    let file = file_in(&folder, "d.npz", &[("x", counting(&[5, 1])), ("labels", ints(DType::U8, &[0, 1, 2, 3, 4]))]);
    let data = open(&file, &x(&[3, 1])).unwrap();
    assert_eq!(data.len(), 2);
    let last = data.sample(1).unwrap();
    assert_eq!(last.inputs, [Tensor::f32(&[3, 1], &[3.0, 4.0, 4.0])]);
    assert_eq!((&last.labels[..], last.rows), (&[3, 4][..], 2));
}

#[test]
fn several_inputs_come_in_the_order_of_the_model() {
    let folder = folder();
    let rate = ints(DType::I64, &[16_000, 8_000]);
    let arrays = [("state", counting(&[2, 2, 1, 3])), ("rate", rate), ("x", counting(&[2, 4]))];
    let file = file_in(&folder, "d.npz", &arrays);
    let inputs = [
        InputSpec::new("x", DType::F32, &[1, 4]),
        InputSpec::new("state", DType::F32, &[2, 1, 3]),
        InputSpec::new("rate", DType::I64, &[]),
    ];
    let data = open(&file, &inputs).unwrap();
    let sample = data.sample(1).unwrap();
    assert_eq!(sample.inputs[0], Tensor::f32(&[1, 4], &[4.0, 5.0, 6.0, 7.0]));
    assert_eq!(sample.inputs[1], Tensor::f32(&[2, 1, 3], &[6.0, 7.0, 8.0, 9.0, 10.0, 11.0]));
    assert_eq!(sample.inputs[2], Tensor::int(DType::I64, &[], &[8_000]));
    assert_eq!((data.labels(), sample.labels.len()), (None, 0));
}

#[test]
fn an_input_may_itself_be_called_labels() {
    let folder = folder();
    let file = file_in(&folder, "d.npz", &[("labels", counting(&[2, 3]))]);
    let data = open(&file, &[InputSpec::new("labels", DType::F32, &[1, 3])]).unwrap();
    assert_eq!((data.len(), data.labels()), (2, None));
}

#[test]
fn a_npy_file_is_data_for_a_single_input() {
    let folder = folder();
    let file = folder.path().join("d.npy");
    write_npy(&file, &counting(&[4, 2])).unwrap();
    assert_eq!(open(&file, &x(&[1, 2])).unwrap().sample(3).unwrap().inputs, [Tensor::f32(&[1, 2], &[6.0, 7.0])]);
    let two = [x(&[1, 2]), vec![InputSpec::new("y", DType::F32, &[1])]].concat();
    assert_eq!(message(open(&file, &two), &folder), "d.npy: expected a model with one input, got `x`, `y`");
}

#[test]
fn errors_name_file_array_and_what_was_expected() {
    let folder = folder();
    let file = file_in(&folder, "d.npz", &[("x", counting(&[3, 2])), ("y", counting(&[2, 2]))]);
    let error = |inputs: &[InputSpec]| message(open(&file, inputs), &folder);
    let input = |name: &str, dtype, shape: &[usize]| InputSpec::new(name, dtype, shape);
    assert_eq!(
        error(&[input("x", DType::F32, &[1, 2]), input("data", DType::F32, &[1, 2])]),
        "d.npz: expected an array for each input (`x`, `data`), got `x`, `y`"
    );
    assert_eq!(error(&[input("x", DType::U8, &[1, 2])]), "d.npz: array `x`: expected elements of type u8, got f32");
    assert_eq!(error(&x(&[1, 3, 2])), "d.npz: array `x`: expected shape Nx3x2 or Nx1x3x2, got 3x2");
    assert_eq!(
        error(&[input("x", DType::F32, &[1, 2]), input("y", DType::F32, &[1, 2])]),
        "d.npz: array `y`: expected 3 samples as in `x`, got 2"
    );

    let error = |tensors: &[(&str, Tensor)]| message(open(&file_in(&folder, "e.npz", tensors), &x(&[1, 2])), &folder);
    assert_eq!(error(&[("x", counting(&[0, 2]))]), "e.npz: expected at least one sample, got none");
    assert_eq!(
        error(&[("x", counting(&[3, 2])), ("labels", counting(&[3]))]),
        "e.npz: array `labels`: expected elements of type an integer, got f32"
    );
    assert_eq!(
        error(&[("x", counting(&[3, 2])), ("labels", ints(DType::I64, &[0; 4]))]),
        "e.npz: array `labels`: expected 3 samples as in `x`, got 4"
    );
}

#[test]
fn numbers_that_are_not_finite_are_found_in_every_float_type() {
    let folder = folder();
    for dtype in [DType::F32, DType::F64, DType::F16] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let values = Data::Float(vec![0.0, 1.0, 2.0, 3.0, bad, 5.0]);
            let file = file_in(&folder, "n.npz", &[("x", Tensor::from_array(dtype, Shape::new(&[3, 2]), &values))]);
            let data = open(&file, &[InputSpec::new("x", dtype, &[1, 2])]).unwrap();
            data.sample(1).unwrap();
            let expected = format!("n.npz: array `x`, sample 2: expected finite numbers, got {bad}");
            assert_eq!(message(data.sample(2), &folder), expected);
        }
    }
}

#[test]
fn what_is_no_data_is_told_apart() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let error = |name: &str| message(open(&at(name), &x(&[1, 2])), &folder);
    fs::write(at("a.txt"), "1 2 3").unwrap();
    fs::write(at("b.npz"), "not a zip archive").unwrap();
    fs::write(at("c.npy"), "not an array").unwrap();
    fs::create_dir(at("empty")).unwrap();
    let form = "expected a .npz or .npy file, or a folder of images";
    assert_eq!(error("a.txt"), format!("a.txt: {form}"));
    assert_eq!(error("empty"), format!("empty: {form}"));
    assert_eq!(error("none.npz"), "cannot read none.npz");
    assert_eq!(error("none"), "cannot read none");
    assert_eq!(error("b.npz"), "cannot read b.npz");
    assert_eq!(error("c.npy"), "c.npy: array `c`: expected the .npy format's first bytes, got others");
    let file = file_in(&folder, "d.npz", &[("x", counting(&[3, 2]))]);
    let options = DatasetOptions { preprocess: Some("crop=8".parse().unwrap()), ..DatasetOptions::default() };
    assert_eq!(
        message(Dataset::open(&file, &x(&[1, 2]), &options), &folder),
        "d.npz: --preprocess is for folders of images, got arrays"
    );
}

#[test]
fn input_arguments_are_brought_into_the_models_order() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write_npy(Path::new(&at("x.npy")), &counting(&[1, 2])).unwrap();
    write_npy(Path::new(&at("y=1.npy")), &counting(&[3])).unwrap();
    file_in(&folder, "both.npz", &[("x", counting(&[1, 2])), ("y=0:0", counting(&[3]))]);
    let inputs = [InputSpec::new("y=0:0", DType::F32, &[3]), InputSpec::new("x", DType::F32, &[1, 2])];
    let (x, y) = (format!("x={}", at("x.npy")), format!("y=0:0={}", at("y=1.npy")));
    let read = |arguments: &[&String]| {
        let arguments: Vec<String> = arguments.iter().copied().cloned().collect();
        read_inputs(&arguments, &inputs)
    };
    let expected = vec![counting(&[3]), counting(&[1, 2])];
    assert_eq!(read(&[&x, &y]).unwrap(), expected);
    assert_eq!(read(&[&at("both.npz")]).unwrap(), expected);

    let error = |arguments: &[&String]| message(read(arguments), &folder);
    let z = format!("z={}", at("x.npy"));
    assert_eq!(error(&[&z]), "--input: expected one of `y=0:0`, `x`, got `z`");
    assert_eq!(error(&[&at("both.npz"), &x]), "--input: expected `x` once, got it 2 times");
    assert_eq!(error(&[&x]), "--input: expected `y=0:0` once, got it 0 times");
    assert_eq!(error(&[&"x".to_owned()]), "--input: expected NAME=FILE.npy or FILE.npz, got `x`");
    let wrong_shape = format!("x={}", at("y=1.npy"));
    assert_eq!(error(&[&wrong_shape, &y]), "y=1.npy: array `x`: expected shape 1x2, got 3");
    let mask = Tensor::f32(&[1, 2], &[0.0, f32::NEG_INFINITY]);
    write_npy(Path::new(&at("x.npy")), &mask).unwrap();
    assert_eq!(read(&[&x, &y]).unwrap()[1], mask, "masks hold infinities");
}
