//! Eightfold: an ahead-of-time compiler from ONNX to eight-bit machine code.
//!
//! [`load`] imports a model, [`calibrate`] finds the ranges of its tensors on sample data, [`optimize`] brings it into the
//! precision asked for, and [`compile`] makes machine code of it; what comes out can be linked into a shared library
//! that [`Artifact`](artifact::Artifact) loads and a C program runs. [`driver`] is these steps in a row; the `eightfold`
//! command line is made of nothing else.
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
mod calibrate;
mod coverage;
pub mod dataset;
pub mod driver;
mod error;
pub mod executable;
mod keep_float;
mod layers;
pub mod limit;
pub mod machine;
mod model;
mod nodes;
pub mod onnx;
pub mod output_file;
pub mod profile;
pub mod provenance;
pub mod recipe;
pub mod roofline;
mod saturation;
pub mod similarity;
pub mod tune;

pub use calibrate::{CalibrateOptions, DEFAULT_CALIBRATOR, calibrate, check_table};
pub use coverage::{Coverage, FloatNode, grouped, node_macs, node_precision};
pub use driver::{
    Compiled, OptimizeOptions, Optimized, PrecisionRequest, Progress, ReduceRange, Stage, compile, export, optimize,
    optimize_owned, quantize,
};
pub use error::{Error, Fault};
pub use executable::Executable;
pub use keep_float::kept_nodes;
pub use layers::{Layer, compare_layers};
pub use limit::MemoryLimit;
pub use model::{Model, load};
pub use onnx::ImportOptions;
pub use output_file::{check_writable, declare_input, write_bytes};
pub use provenance::Provenance;
pub use saturation::Saturation;
