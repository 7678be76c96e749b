//! `eightfold run`: runs one inference.

use std::path::{Path, PathBuf};

use clap::Args;
use eightfold::dataset::{input_files, read_inputs, write_npy, write_npz};
use eightfold::report::similarity::top;
use eightfold::session::executable::real;
use eightfold::{Error, check_writable, declare_input};
use serde::Serialize;

use super::arguments::{ImportArguments, ReferenceArguments, ThreadArguments};
use super::destination::{Destination, check_extension, known_extension};
use super::output::{Format, table};
use super::progress::Terminal;

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eightfold run model.so --input image=image.npy -o out.npz
  eightfold run model.onnx --reference --input inputs.npz -o out.npz")]
pub(crate) struct Arguments {
    /// A compiled model (.so), or a model, which is compiled first (in f32 unless it is quantized).
    model: PathBuf,
    /// An input tensor: NAME=FILE.npy, or FILE.npz with an array for each input.
    #[arg(long = "input", value_name = "NAME=FILE")]
    inputs: Vec<String>,
    /// The file for the outputs: .npz, or .npy for a model with one output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<Destination>,
    #[command(flatten)]
    reference: ReferenceArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    #[command(flatten)]
    import: ImportArguments,
}

/// The outputs.
#[derive(Serialize)]
struct Report {
    target: String,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    /// The minimum; `None` if all are NaN or there are no elements.
    min: Option<f32>,
    max: Option<f32>,
    /// Index of the maximum, over all elements.
    greatest_at: Option<usize>,
}

impl Arguments {
    /// Runs the model.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::plain();
        let output = self.output.as_ref().map(|output| output.file("arrays")).transpose()?;
        if let Some(path) = output {
            check_extension(path, &["npz", "npy"])?;
            check_writable(path)?;
        }
        let mut executable = self.import.executable(&self.model, &self.reference, &self.threads, progress)?;
        let alone = output.is_some_and(|path| known_extension(path) == Some("npy"));
        if alone && executable.outputs().len() != 1 {
            let (count, path) = (executable.outputs().len(), output.unwrap_or(Path::new("")).display());
            return Err(Error::Usage(format!(
                "{path}: a .npy file holds one array, the model has {count} outputs: name a .npz"
            )));
        }
        input_files(&self.inputs, &executable.inputs()).try_for_each(declare_input)?;
        let inputs = read_inputs(&self.inputs, &executable.inputs())?;
        let outputs = executable.run(&inputs)?;
        progress.finish(&[])?;
        let named = executable.outputs().iter().zip(&outputs);
        if let Some(path) = output.filter(|_| alone) {
            write_npy(path, &outputs[0])?;
        } else if let Some(path) = output {
            write_npz(path, named.clone().map(|(description, tensor)| (description.name.as_str(), tensor)))?;
        }
        let described = named.map(|(description, tensor)| {
            let values = real(description, tensor);
            Output {
                name: description.name.clone(),
                dtype: description.dtype.to_string(),
                shape: description.dims.clone(),
                min: values.iter().copied().filter(|x| !x.is_nan()).reduce(f32::min),
                max: values.iter().copied().filter(|x| !x.is_nan()).reduce(f32::max),
                greatest_at: top(&values, 1).first().copied(),
            }
        });
        let report = Report { target: executable.variant().target.clone(), outputs: described.collect() };
        format.print(&report, || {
            let row = |o: &Output| {
                let shape: Vec<String> = o.shape.iter().map(usize::to_string).collect();
                let at = o.greatest_at.map_or_else(String::new, |at| at.to_string());
                let number = |number: Option<f32>| number.map_or_else(String::new, |x| x.to_string());
                let ty = format!("{}x{}", shape.join("x"), o.dtype);
                [o.name.clone(), ty, number(o.min), number(o.max), at]
            };
            let header = ["output", "type", "least", "greatest", "at"];
            table(header, report.outputs.iter().map(row), &[2, 3, 4])
        })
    }
}
