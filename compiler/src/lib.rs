//! Eightfold: an ahead-of-time compiler from ONNX to 8-bit machine code.
//!
//! [`load`] imports a model, [`calibrate()`] finds the ranges of its tensors on sample data, [`optimize`] converts it
//! to the requested precision, and [`compile`] generates machine code. The code can be linked into a shared library,
//! which [`Artifact`](artifact::Artifact) loads and C programs run. [`driver::build`] runs all these steps; the
//! `eightfold` command line uses only this crate.
//!
//! # Examples
//! ```
//! use eightfold::dataset::{Dataset, DatasetOptions};
//! use eightfold::{CalibrateOptions, ImportOptions, OptimizeOptions, PrecisionRequest};
//! use eightfold_codegen::target::Target;
//! # let digits = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/models/digits");
//!
//! let model = eightfold::load(&digits.join("digits.onnx"), &ImportOptions::default())?;
//! let target = Target::find("x86-64-v3").expect("listed");
//! let options = OptimizeOptions { precision: PrecisionRequest::Int8, ..OptimizeOptions::new(target) };
//! let images = Dataset::open(&digits.join("digits_calibration.npz"), &model.inputs(), &DatasetOptions::default())?;
//! let table = eightfold::calibrate(&model, images.iter(), &CalibrateOptions::new(options.clone()), &mut ())?;
//!
//! let optimized = eightfold::optimize(&model, Some(table), &options, &mut ())?;
//! assert!(optimized.coverage.int8_share() > 0.95);
//!
//! let compiled = eightfold::compile(&optimized, "digits", Default::default())?;
//! let header = compiled.header()?;
//! assert!(header.contains("const eightfold_model *digits_query(void);"));
//! # Ok::<(), eightfold::Error>(())
//! ```

pub mod artifact;
pub mod calibrate;
pub mod dataset;
pub mod driver;
mod error;
pub mod host;
pub mod measure;
pub mod onnx;
pub mod options;
pub mod report;
pub mod session;
pub mod stages;

pub use artifact::provenance::Provenance;
pub use calibrate::{CalibrateOptions, calibrate};
pub use error::{Error, Fault};
pub use host::memory_limit::MemoryLimit;
pub use host::output_file::{check_writable, declare_input, write_bytes};
pub use onnx::ImportOptions;
pub use options::{OptimizeOptions, PrecisionRequest, ReduceRange};
pub use report::coverage::{Coverage, FloatNode, grouped, node_macs, node_precision};
pub use report::saturation::Saturation;
pub use session::executable::Executable;
pub use session::layers::{TensorSimilarity, compare_layers};
pub use stages::emit::{Compiled, compile};
pub use stages::load::{Model, load};
pub use stages::optimize::{Optimized, optimize, optimize_owned, quantize};
pub use stages::progress::{Progress, Stage};
