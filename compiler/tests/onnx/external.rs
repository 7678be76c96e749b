//! External data is read from the model's folder, and never from elsewhere.

use std::fs;
use std::path::Path;

use eightfold::onnx::{self, ErrorKind, ImportOptions};

use crate::making::{bytes, external, model, node};

/// Imports a model in `folder/model.onnx` that squares its weight `w` of two floats, stored as `entries` say.
fn imported(folder: &Path, entries: &[(&str, &str)]) -> Result<onnx::Imported, onnx::OnnxError> {
    let path = folder.join("model.onnx");
    let made = model(vec![node("Mul", "w w", "y")], vec![external("w", &[2], entries)]);
    fs::write(&path, bytes(&made)).expect("the model is written");
    onnx::load(&path, &ImportOptions::default())
}

fn refusal(folder: &Path, entries: &[(&str, &str)]) -> String {
    let error = imported(folder, entries).expect_err("data that cannot be had");
    assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
    error.to_string()
}

/// A folder with `model/weights.bin` (five floats), and with `secret.bin` beside the folder `model`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let numbers: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0, 5.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::create_dir_all(folder.path().join("model/parts")).expect("folders are made");
    fs::write(folder.path().join("model/weights.bin"), &numbers).expect("data is written");
    fs::write(folder.path().join("model/parts/inner.bin"), &numbers).expect("data is written");
    fs::write(folder.path().join("secret.bin"), &numbers).expect("data is written");
    folder
}

#[test]
fn data_within_the_folder_is_read() {
    let folder = folder();
    for location in ["weights.bin", "./weights.bin", "parts/inner.bin"] {
        let entries = [("location", location), ("offset", "8"), ("length", "8")];
        let graph = imported(&folder.path().join("model"), &entries).expect("the data is there").graph;
        let y = graph.constant(graph.outputs()[0].value).expect("computed at import");
        assert_eq!(y.to_f32s().as_deref(), Some(&[9.0, 16.0][..]), "{location}");
    }
}

#[test]
fn data_elsewhere_is_not_opened() {
    let folder = folder();
    let within = folder.path().join("model");
    let absolute = folder.path().join("secret.bin");
    let absolute = absolute.to_str().expect("a path of text");
    for location in ["../secret.bin", "parts/../../secret.bin", "parts/../weights.bin", absolute, "..\\secret.bin", ""]
    {
        let text = refusal(&within, &[("location", location), ("length", "8")]);
        assert_eq!(text, format!("external data of tensor \"w\" at {location:?}: the path leaves the model's folder"));
    }
    let text = refusal(&within, &[]);
    assert!(text.ends_with("the path leaves the model's folder"), "{text}");
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let within = folder.path().join("model");
    symlink("../secret.bin", within.join("link.bin")).expect("a link is made");
    symlink("..", within.join("up")).expect("a link is made");
    symlink("weights.bin", within.join("same.bin")).expect("a link is made");
    for location in ["link.bin", "up/secret.bin"] {
        let text = refusal(&within, &[("location", location), ("length", "8")]);
        assert!(text.ends_with("the path leaves the model's folder"), "{location}: {text}");
    }
    assert!(imported(&within, &[("location", "same.bin"), ("length", "8")]).is_ok());
}

#[cfg(unix)]
#[test]
fn a_cache_may_link_a_model_and_its_data_into_one_folder() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let [blobs, snapshot] = ["blobs", "snapshots/one"].map(|name| folder.path().join(name));
    fs::create_dir_all(&blobs).expect("folders are made");
    fs::create_dir_all(&snapshot).expect("folders are made");
    let load = |location: &str| {
        let entries = [("location", location), ("length", "8")];
        let made = model(vec![node("Mul", "w w", "y")], vec![external("w", &[2], &entries)]);
        fs::write(blobs.join("1f2e"), bytes(&made)).expect("the model is written");
        onnx::load(&snapshot.join("model.onnx"), &ImportOptions::default())
    };
    fs::copy(folder.path().join("secret.bin"), blobs.join("3d4c")).expect("data is copied");
    symlink("../../blobs/1f2e", snapshot.join("model.onnx")).expect("a link is made");
    symlink("../../blobs/3d4c", snapshot.join("model.onnx_data")).expect("a link is made");
    symlink("../../secret.bin", snapshot.join("elsewhere")).expect("a link is made");
    let graph = load("model.onnx_data").expect("the data is there").graph;
    let y = graph.constant(graph.outputs()[0].value).expect("computed at import");
    assert_eq!(y.to_f32s().as_deref(), Some(&[1.0, 4.0][..]));
    for location in ["elsewhere", "../../blobs/3d4c", blobs.join("3d4c").to_str().expect("a path of text")] {
        let text = load(location).expect_err("data that the model may not choose").to_string();
        assert!(text.ends_with("the path leaves the model's folder"), "{location}: {text}");
    }
}

#[test]
fn data_that_is_not_there_is_named() {
    let folder = folder();
    let within = folder.path().join("model");
    let at = |offset, length| [("location", "weights.bin"), ("offset", offset), ("length", length)];
    for (entries, says) in [
        (at("16", "8"), "bytes 16..24 of a file of 20 bytes"),
        (at("18446744073709551615", "8"), "bytes 18446744073709551615..18446744073709551615 of a file of 20 bytes"),
        (at("0", "99999999999999999"), "bytes 0..99999999999999999 of a file of 20 bytes"),
        (at("-8", "8"), "offset is \"-8\", expected a number"),
        (at("0", "all"), "length is \"all\", expected a number"),
        ([("location", "gone.bin"), ("offset", "0"), ("length", "8")], "No such file"),
        ([("location", "parts"), ("offset", "0"), ("length", "8")], "not a regular file"),
    ] {
        let text = refusal(&within, &entries);
        assert!(text.starts_with("external data of tensor \"w\" at ") && text.contains(says), "{text}");
    }
    let text = refusal(&within, &at("0", "12"));
    assert_eq!(text, "tensor \"w\": [2] of f32 takes 8 bytes, got 12");
    let made = model(vec![node("Mul", "x w", "y")], vec![external("w", &[2], &at("0", "8"))]);
    let error = onnx::from_bytes(&bytes(&made), &ImportOptions::default()).expect_err("bytes have no folder");
    assert!(error.to_string().ends_with("a model given as bytes has no folder"), "{error}");
}
