//! Images as data: decoding and preprocessing compared with Pillow, the table of labels, and the errors.

use std::fs;
use std::path::{Path, PathBuf};

use eightfold::dataset::{Dataset, DatasetError, DatasetOptions, InputSpec, Preprocess, PreprocessError, read_npz};
use eightfold_ir::{DType, Tensor};
use tempfile::TempDir;

const PP_A: &str =
    "resize=256,crop=224,color=rgb,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw,dtype=f32";
const PP_B: &str = "resize=256,crop=224,color=bgr,scale=1,mean=104:117:123,std=1,layout=nchw,dtype=f32";
const PP_U8: &str = "resize=256,crop=224,color=rgb,scale=1,mean=0,std=1,layout=nhwc,dtype=u8";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/dataset").join(name)
}

/// A folder with these fixtures under the given names, and a table if given.
fn folder(images: &[(&str, &str)], table: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, image) in images {
        fs::copy(fixture(image), folder.path().join(name)).unwrap();
    }
    if let Some(table) = table {
        fs::write(folder.path().join("labels.csv"), table).unwrap();
    }
    folder
}

fn options(preprocess: &str) -> DatasetOptions {
    DatasetOptions { preprocess: Some(preprocess.parse().unwrap()), label_offset: 0 }
}

fn input(dtype: DType, shape: &[usize]) -> [InputSpec; 1] {
    [InputSpec::new("image", dtype, shape)]
}

/// The tensor of one fixture.
fn load(image: &str, preprocess: &str, dtype: DType, shape: &[usize]) -> Tensor {
    let folder = folder(&[(image, image)], None);
    let data = Dataset::open(folder.path(), &input(dtype, shape), &options(preprocess)).unwrap();
    data.sample(0).unwrap().inputs[0].clone()
}

/// The message and its cause, without the folder, which differs between runs.
fn message<T>(result: Result<T, DatasetError>, folder: &TempDir) -> String {
    let error = result.err().expect("an error");
    let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
    let path = folder.path().display().to_string();
    format!("{error}{cause}").replace(&format!("{path}/"), "").replace(&path, "DIR")
}

/// The largest and the mean difference from Pillow's result for the same image.
fn against_pillow(case: &str, image: &str, preprocess: &str) -> (u8, f64) {
    let expected = &read_npz(&fixture("pillow.npz")).unwrap()[case];
    let shape = [&[1], &expected.shape()[..]].concat();
    let got = load(image, &format!("{preprocess},layout=nhwc,dtype=u8"), DType::U8, &shape);
    let differences: Vec<u8> = got.bytes().iter().zip(expected.bytes()).map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = differences.iter().map(|&difference| f64::from(difference)).sum();
    (*differences.iter().max().unwrap(), sum / differences.len() as f64)
}

#[test]
fn resizing_and_cropping_are_those_of_pillow() {
    assert_eq!(against_pillow("wide_crop_40", "wide.png", "crop=40"), (0, 0.0));
    // Pillow rounds to 8 bits between its two passes: some values differ by one.
    for (case, preprocess) in [("wide_resize_31", "resize=31"), ("wide_resize_60", "resize=60")] {
        let (most, mean) = against_pillow(case, "wide.png", preprocess);
        assert!(most <= 1 && mean < 0.2, "{case}: {most}, {mean}");
    }
    // JPEG decoders differ by one step in the inverse transform, and by more at sharp edges between colours, which are
    // stored at half resolution and interpolated differently. Mean over 500 photographs: 0.012.
    let cases =
        [("photo", "color=rgb"), ("photo_resize_40", "resize=40"), ("photo_resize_40_crop_33", "resize=40,crop=33")];
    for (case, preprocess) in cases {
        let (most, mean) = against_pillow(case, "photo.jpg", preprocess);
        assert!(most <= 20 && mean < 0.5, "{case}: {most}, {mean}");
    }
}

#[test]
fn channels_axes_and_numbers_are_as_asked() {
    let raw = load("wide.png", "crop=2,layout=nhwc,dtype=u8", DType::U8, &[1, 2, 2, 3]);
    let pixel = |y: usize, x: usize, channel: usize| raw.bytes()[(y * 2 + x) * 3 + channel];

    let recipe = "crop=2,scale=1/255,mean=0.1:0.2:0.3,std=0.5:0.25:2";
    let planes = load("wide.png", recipe, DType::F32, &[1, 3, 2, 2]).to_f32s().unwrap();
    for (at, number) in planes.iter().enumerate() {
        let (c, y, x) = (at / 4, at / 2 % 2, at % 2);
        // Like NumPy: each operation in f32.
        let expected = (f32::from(pixel(y, x, c)) / 255.0 - [0.1f32, 0.2, 0.3][c]) / [0.5f32, 0.25, 2.0][c];
        assert_eq!(*number, expected, "channel {c}, row {y}, column {x}");
    }

    let recipe = "crop=2,color=bgr,mean=104:117:123,layout=nhwc";
    let bgr = load("wide.png", recipe, DType::F32, &[1, 2, 2, 3]).to_f32s().unwrap();
    for (at, number) in bgr.iter().enumerate() {
        let (y, x, c) = (at / 6, at / 3 % 2, at % 3);
        assert_eq!(
            *number,
            f32::from(pixel(y, x, 2 - c)) - [104.0, 117.0, 123.0][c],
            "row {y}, column {x}, channel {c}"
        );
    }

    let half = load("wide.png", "crop=2,scale=1/255,dtype=f16", DType::F16, &[1, 3, 2, 2]).to_f32s().unwrap();
    assert_eq!(half[3], half::f16::from_f32(f32::from(pixel(1, 1, 0)) / 255.0).to_f32());
    let signed = load("wide.png", "crop=2,mean=128,layout=nhwc,dtype=i8", DType::I8, &[1, 2, 2, 3]).to_ints().unwrap();
    assert_eq!(signed[5], i64::from(pixel(0, 1, 2)) - 128);
}

#[test]
fn the_table_gives_order_and_labels() {
    let table = "\u{feff}file,name,class_index\nb.jpg,\"a, quoted\",7\n a.png , x, 3\nb.jpg,again,9\n";
    let folder = folder(&[("a.png", "wide.png"), ("b.jpg", "photo.jpg"), ("unlisted.png", "wide.png")], Some(table));
    let options = DatasetOptions { label_offset: 1, ..options("crop=8,layout=nhwc,dtype=u8") };
    let data = Dataset::open(folder.path(), &input(DType::U8, &[2, 8, 8, 3]), &options).unwrap();
    assert_eq!((data.len(), data.labels()), (2, Some(&[8, 4, 10][..])));
    let samples: Vec<_> = data.iter().map(Result::unwrap).collect();
    let image = 8 * 8 * 3;
    let (first, second) = (samples[0].inputs[0].bytes().split_at(image), samples[1].inputs[0].bytes().split_at(image));
    assert_eq!(first.0, second.0, "b.jpg is listed twice");
    assert_ne!(first.0, first.1);
    assert_eq!(second.0, second.1, "the last image fills the batch");
    assert_eq!((&samples[1].labels[..], samples[1].rows), (&[10][..], 1));
}

/// Folders of classes are numbered by name; if all names are numbers, these are the numbers.
#[test]
fn a_folder_for_each_class_is_read_as_labels() {
    for (folders, expected) in [(["cat", "dog", "ant"], [0, 1, 1, 2]), (["10", "9", "0"], [0, 9, 10, 10])] {
        let folder = folder(&[], None);
        for (name, images) in folders.iter().zip([&["a.png", "b.jpg"][..], &["c.png"], &["d.bmp"]]) {
            fs::create_dir(folder.path().join(name)).unwrap();
            for image in images {
                fs::copy(fixture("wide.png"), folder.path().join(name).join(image)).unwrap();
            }
        }
        fs::create_dir(folder.path().join(".cache")).unwrap();
        let data = Dataset::open(folder.path(), &input(DType::F32, &[1, 3, 8, 8]), &options("crop=8")).unwrap();
        assert_eq!((data.len(), data.labels()), (4, Some(&expected[..])));
        data.sample(3).unwrap();
    }
    let empty = folder(&[], None);
    let message = message(Dataset::open(empty.path(), &input(DType::F32, &[1, 3, 8, 8]), &options("crop=8")), &empty);
    assert_eq!(message, "DIR: expected a .npz or .npy file, or a folder of images");
}

#[test]
fn a_folder_without_a_table_is_read_by_name_and_has_no_labels() {
    let folder = folder(&[("b.PNG", "wide.png"), ("a.jpeg", "photo.jpg")], None);
    fs::write(folder.path().join("notes.txt"), "no image").unwrap();
    let data = Dataset::open(folder.path(), &input(DType::F32, &[1, 3, 8, 8]), &options("crop=8")).unwrap();
    assert_eq!((data.len(), data.labels()), (2, None));
    assert_eq!(data.sample(1).unwrap().inputs[0], load("wide.png", "crop=8", DType::F32, &[1, 3, 8, 8]));
}

#[test]
fn errors_of_tables_name_file_and_line() {
    let error = |table: &str| {
        let folder = folder(&[("a.png", "wide.png")], Some(table));
        message(Dataset::open(folder.path(), &input(DType::F32, &[1, 3, 8, 8]), &options("crop=8")), &folder)
    };
    assert_eq!(error("file,class\na.png,1\n"), "labels.csv: expected a column `class_index`, got `file`, `class`");
    assert_eq!(error("class_index\n1\n"), "labels.csv: expected a column `file`, got `class_index`");
    assert_eq!(error("file,class_index\na.png,1\na.png,dog\n"), "labels.csv, line 3: expected an integer, got `dog`");
    assert_eq!(
        error("file,class_index\na.png,1\na.png,2\nb.png,2\n"),
        "labels.csv, line 4: expected the name of a file in the same folder, got `b.png`"
    );
    assert!(error("file,class_index\na.png\n").starts_with("cannot read labels.csv: CSV error: record 1 (line: 2"));
    assert_eq!(error("file,class_index\n"), "DIR: expected at least one sample, got none");
}

#[test]
fn images_that_cannot_be_used_are_errors() {
    let first = |name: &str, contents: &[u8], preprocess: &str| {
        let folder = folder(&[], None);
        fs::write(folder.path().join(name), contents).unwrap();
        let data = Dataset::open(folder.path(), &input(DType::F32, &[1, 3, 8, 8]), &options(preprocess));
        message(data.and_then(|data| data.sample(0)), &folder)
    };
    let wide = fs::read(fixture("wide.png")).unwrap();
    assert!(first("a.png", &wide[..2000], "crop=8").starts_with("cannot decode a.png: "));
    assert!(first("a.jpg", b"GIF89a", "crop=8").starts_with("cannot decode a.jpg: "));
    assert_eq!(
        first("a.png", &wide, "resize=4,crop=8"),
        "cannot preprocess a.png: expected at least 8 x 8 pixels to crop from, got 6 x 4"
    );
    assert_eq!(first("a.png", &wide, "resize=8"), "a.png: array `image`: expected shape 1x3x8x8, got Nx3x8x12");
}

#[test]
fn recipes_that_do_not_fit_the_model_are_errors() {
    let folder = folder(&[("a.png", "wide.png")], None);
    let one = input(DType::F32, &[1, 3, 8, 8]);
    let error = |preprocess: &str, inputs: &[InputSpec]| {
        message(Dataset::open(folder.path(), inputs, &options(preprocess)), &folder)
    };
    assert_eq!(error("crop=9", &one), "DIR: array `image`: expected shape 1x3x8x8, got Nx3x9x9");
    assert_eq!(error("crop=8,dtype=u8", &one), "DIR: array `image`: expected elements of type f32, got u8");
    let two = [one.clone(), input(DType::F32, &[1])].concat();
    assert_eq!(error("crop=8", &two), "DIR: expected a model with one input, got `image`, `image`");
    let none = message(Dataset::open(folder.path(), &one, &DatasetOptions::default()), &folder);
    assert_eq!(none, format!("DIR: images need --preprocess, for most ImageNet models --preprocess {PP_A}"));
}

#[test]
fn the_three_usual_recipes_can_be_said() {
    let planes = (DType::F32, Some([3, 224, 224]));
    for (recipe, expected) in [(PP_A, planes), (PP_B, planes), (PP_U8, (DType::U8, Some([224, 224, 3])))] {
        let preprocess: Preprocess = recipe.parse().unwrap();
        assert_eq!((preprocess.dtype(), preprocess.shape()), expected);
        assert_eq!(preprocess.to_string(), recipe);
    }
    let defaults: Preprocess = "crop=1".parse().unwrap();
    assert_eq!(defaults.to_string(), "crop=1,color=rgb,scale=1,mean=0,std=1,layout=nchw,dtype=f32");
}

#[test]
fn errors_of_recipes_say_what_a_key_takes() {
    let error = |recipe: &str| recipe.parse::<Preprocess>().unwrap_err().to_string();
    let keys = "expected KEY=VALUE with one of the keys resize, crop, color, scale, mean, std, layout, dtype; got ";
    assert_eq!(error(""), format!("{keys}``"));
    assert_eq!(error("crop=8,flip=1"), format!("{keys}`flip=1`"));
    assert_eq!(error("mean=0.4,0.5,0.6"), format!("{keys}`0.5`"));
    assert_eq!(error("crop=8,crop=9"), "expected `crop` once, got it twice");
    assert_eq!(error("crop=0"), "crop: expected a number of pixels, 1 to 4096, got `0`");
    assert_eq!(error("color=gray"), "color: expected rgb or bgr, got `gray`");
    assert_eq!(error("scale=1/0"), "scale: expected a number such as 1/255, got `1/0`");
    assert_eq!(error("mean=1:2"), "mean: expected a number or three with colons, such as 0.485:0.456:0.406, got `1:2`");
    assert_eq!(error("std=0:1:1"), "std: expected numbers other than 0, got `0:1:1`");
    assert_eq!(error("layout=hwc"), "layout: expected nchw or nhwc, got `hwc`");
    assert_eq!(error("dtype=i16"), "dtype: expected f32, f16, u8 or i8, got `i16`");
    assert_eq!(
        "scale=1/255,dtype=u8".parse::<Preprocess>(),
        Err(PreprocessError::NotRepresentable { dtype: DType::U8, pixel: 1, got: 1.0 / 255.0 })
    );
    assert_eq!(error("dtype=i8"), "dtype: expected all pixels to be integers of type i8, got 128 for pixel 128");
}
