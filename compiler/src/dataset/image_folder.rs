//! Folders of images.
//!
//! The classes are in `labels.csv`, a table with the columns `file` (relative to the folder) and `class_index`; other
//! columns are ignored, and its rows are the samples in order. Without a table, the images of the folder are the
//! samples in the order of their names, without labels. If the folder contains no images but folders of images, each of
//! these is a class. Its number is its name if all names are whole numbers; otherwise its index in the order of names,
//! like torchvision's `ImageFolder`. Images are decoded on demand, one at a time.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{DatasetError, list};
use super::preprocess::Preprocess;

const TABLE: &str = "labels.csv";
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "bmp"];

/// The images of a folder, and their preprocessing.
#[derive(Debug)]
pub(super) struct ImageFolder {
    pub(super) images: Vec<PathBuf>,
    /// The label of each image, in the order of the table.
    pub(super) labels: Option<Vec<i64>>,
    pub(super) preprocess: Preprocess,
    /// The path of the table, which may not exist.
    pub(super) table: PathBuf,
}

impl ImageFolder {
    /// Whether a folder contains images.
    pub(super) fn is_at(folder: &Path) -> bool {
        let has_images = |folder: &Path| image_files(folder).is_ok_and(|images| !images.is_empty());
        folder.join(TABLE).is_file()
            || has_images(folder)
            || class_folders(folder).is_ok_and(|classes| classes.iter().any(|(_, folder)| has_images(folder)))
    }

    pub(super) fn open(folder: &Path, preprocess: &Preprocess) -> Result<Self, DatasetError> {
        let table = folder.join(TABLE);
        let (images, labels) = if table.is_file() {
            let (images, labels) = read_table(folder, &table)?;
            (images, Some(labels))
        } else {
            let read = |source| DatasetError::Read { file: folder.to_owned(), source };
            let images = image_files(folder).map_err(read)?;
            if images.is_empty() {
                let (images, labels) = classes(folder).map_err(read)?;
                (images, Some(labels))
            } else {
                (images, None)
            }
        };
        Ok(ImageFolder { images, labels, preprocess: preprocess.clone(), table })
    }

    /// The preprocessed image's bytes and shape.
    pub(super) fn load(&self, index: usize) -> Result<(Vec<u8>, [usize; 3]), DatasetError> {
        let file = &self.images[index];
        let image = image::ImageReader::open(file)
            .and_then(image::ImageReader::with_guessed_format)
            .map_err(|source| DatasetError::Read { file: file.clone(), source })?
            .decode()
            .map_err(|source| DatasetError::Image { file: file.clone(), source })?
            .into_rgb8();
        self.preprocess.apply(&image).map_err(|source| DatasetError::ImageSize { file: file.clone(), source })
    }
}

/// The images in a folder, sorted by name.
fn image_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if EXTENSIONS.contains(&extension.as_str()) {
            images.push(file);
        }
    }
    images.sort();
    Ok(images)
}

/// The images of all classes, class by class, and the class of each image.
fn classes(folder: &Path) -> std::io::Result<(Vec<PathBuf>, Vec<i64>)> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (class, folder) in class_folders(folder)? {
        let of_class = image_files(&folder)?;
        labels.extend(std::iter::repeat_n(class, of_class.len()));
        images.extend(of_class);
    }
    Ok((images, labels))
}

/// The folders in a folder with their class numbers, sorted by number.
fn class_folders(folder: &Path) -> std::io::Result<Vec<(i64, PathBuf)>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            folders.push(path);
        }
    }
    folders.sort();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<i64>().ok();
    let numbers: Option<Vec<i64>> = folders.iter().map(number).collect();
    let numbers = numbers.unwrap_or_else(|| (0..folders.len() as i64).collect());
    let mut classes: Vec<(i64, PathBuf)> = numbers.into_iter().zip(folders).collect();
    classes.sort();
    Ok(classes)
}

fn read_table(folder: &Path, table: &Path) -> Result<(Vec<PathBuf>, Vec<i64>), DatasetError> {
    let csv_error = |source| DatasetError::Csv { file: table.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(table).map_err(csv_error)?;
    let columns = reader.headers().map_err(csv_error)?.clone();
    let column = |expected: &'static str| {
        // Spreadsheets put a byte order mark before the first column.
        let position = columns.iter().position(|column| column.trim_start_matches('\u{feff}') == expected);
        position.ok_or_else(|| DatasetError::MissingColumn { file: table.to_owned(), expected, got: list(&columns) })
    };
    let (file_column, class_column) = (column("file")?, column("class_index")?);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column, expected| {
            let got = record.get(column).unwrap_or_default();
            (got, DatasetError::Cell { file: table.to_owned(), line, expected, got: got.to_owned() })
        };
        let (name, error) = cell(file_column, "the name of a file in the same folder");
        let image = folder.join(name);
        // Check now rather than after an hour of calibration.
        if name.is_empty() || !image.is_file() {
            return Err(error);
        }
        let (class, error) = cell(class_column, "an integer");
        labels.push(class.parse().map_err(|_| error)?);
        images.push(image);
    }
    Ok((images, labels))
}
