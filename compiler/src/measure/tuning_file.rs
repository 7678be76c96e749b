//! The file that measurements are kept in, and choosing by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use eightfold_codegen::tuning::Tuning;

use super::tune::{Kind, Measured, known, tune};
use crate::error::Error;
use crate::host::output_file::write_bytes;
use crate::stages::optimize::Optimized;
use crate::stages::progress::Progress;

/// Which measurements a model's choices are made by.
#[derive(Clone, Debug)]
pub struct TuningFile {
    /// The file.
    pub path: PathBuf,
    /// Whether what the file does not have is timed now, and added to it.
    pub measures: bool,
}

/// What was measured, and what of it is used.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The file.
    pub path: PathBuf,
    /// Of each kind, how many distinct decisions there are, and how many of them the file has.
    pub known: [[usize; 2]; Kind::ALL.len()],
    /// What was timed now.
    pub timed: Vec<Measured>,
    /// Seconds that all took.
    pub seconds: f64,
}

impl TuningFile {
    /// Times what is to be timed, writes the file, and has the graph's kernels chosen by it.
    ///
    /// # Errors
    /// The file does not fit the graph or this machine, or cannot be read or written.
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

/// A tuning file.
///
/// # Errors
/// It cannot be read, or does not parse.
pub fn read(path: &Path) -> Result<Tuning, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| Error::Tuning { path: path.to_owned(), source })
}
