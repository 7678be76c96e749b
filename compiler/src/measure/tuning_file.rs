//! The tuning file: stores measurements, and applies them to a model.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use eightfold_codegen::tuning::Tuning;

use super::tune::{Kind, Measured, known, tune};
use crate::error::Error;
use crate::host::output_file::write_bytes;
use crate::stages::optimize::Optimized;
use crate::stages::progress::Progress;

/// A tuning file, and whether to add measurements to it.
#[derive(Clone, Debug)]
pub struct TuningFile {
    /// The path.
    pub path: PathBuf,
    /// Whether to time decisions that the file lacks, and add them.
    pub measures: bool,
}

/// The result of applying a tuning file.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The path of the file.
    pub path: PathBuf,
    /// For each kind, the number of distinct decisions, and how many of them the file has.
    pub known: [[usize; 2]; Kind::ALL.len()],
    /// The decisions that were timed now.
    pub timed: Vec<Measured>,
    /// Total seconds.
    pub seconds: f64,
}

impl TuningFile {
    /// Times missing decisions if requested, writes the file, and applies its choices to the graph's kernels.
    ///
    /// # Errors
    /// If the file does not fit the graph or this machine, or cannot be read or written.
    pub fn choose(&self, optimized: &mut Optimized, progress: &mut dyn Progress) -> Result<Tuned, Error> {
        let begin = Instant::now();
        let path = &self.path;
        let (tuning, timed) = match self.measures {
            false => (read(path)?, Vec::new()),
            true => {
                let known = if path.exists() { Some(read(path)?) } else { None };
                let tuned = tune(optimized, known, progress)?;
                write_bytes(path, tuned.0.to_string().as_bytes())?;
                tuned
            }
        };
        optimized.tune_by(&tuning)?;
        let known = known(optimized, &tuning)?;
        Ok(Tuned { path: path.clone(), known, timed, seconds: begin.elapsed().as_secs_f64() })
    }
}

/// Reads a tuning file.
///
/// # Errors
/// If it cannot be read or does not parse.
pub fn read(path: &Path) -> Result<Tuning, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| Error::Tuning { path: path.to_owned(), source })
}
