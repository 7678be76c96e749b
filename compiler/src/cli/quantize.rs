//! `eightfold quantize`: writes a quantized ONNX model, from a model and samples.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use eightfold::calibrate::Ranges;
use eightfold::options::target::target;
use eightfold::{Error, OptimizeOptions, ReduceRange, Saturation, write_bytes};
use eightfold_ir::Op;
use eightfold_passes::WeightType;
use serde::Serialize;

use super::arguments::{CalibrationArguments, ImportArguments, SchemeArguments};
use super::destination::Destination;
use super::output::{Format, bytes};
use super::progress::{PassArguments, Terminal};

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
The resulting model has QuantizeLinear and DequantizeLinear around each operator to be computed in int8, for ONNX \
Runtime or eightfold compile.

On x86 CPUs without VNNI, ONNX Runtime adds pairs of u8 x i8 products in 16 bits, which saturates: results can be far \
off. --weight-type u8 avoids this at the same accuracy, but is slower there; --weight-type i7 avoids it at the same \
speed, but is less accurate. Code from eightfold is exact with all of them.

Example:
  eightfold quantize model.onnx --calibration-data images.npz -o model_qdq.onnx
  eightfold quantize model.onnx --calibration-data images.npz --weight-type u8 -o for_any_cpu.onnx
  eightfold compile model_qdq.onnx -o model.so")]
pub(crate) struct Arguments {
    /// An ONNX model, or a graph in text form (.ir).
    model: PathBuf,
    /// The ONNX model to write.
    #[arg(short, long, value_name = "FILE")]
    output: Destination,
    #[command(flatten)]
    calibration: CalibrationArguments,
    #[command(flatten)]
    scheme: SchemeArguments,
    /// Integer type of weights: i8 (-127 to 127), i7 (i8 from -64 to 64), or u8 (zero point 128). ONNX Runtime is exact
    /// with i8 on CPUs with VNNI, and with i7 and u8 on all CPUs.
    #[arg(long, value_name = "TYPE", default_value = "i8")]
    #[arg(value_parser = PossibleValuesParser::new(WeightType::ALL.map(|(name, _)| name)))]
    weight_type: String,
    #[command(flatten)]
    import: ImportArguments,
    #[command(flatten)]
    passes: PassArguments,
}

/// The result.
#[derive(Serialize)]
struct Report {
    output: String,
    bytes: u64,
    calibrator: String,
    samples: u64,
    /// Quantized tensors without constants.
    quantized_tensors: usize,
    /// Convolutions and matrix products on integers.
    products: usize,
    /// Those of them that may saturate in ONNX Runtime on x86 CPUs without VNNI.
    products_that_saturate_without_vnni: usize,
}

impl Arguments {
    /// Quantizes.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::new(&self.passes)?;
        let output = self.output.file("an ONNX model")?;
        self.output.check(&["onnx"])?;
        let ranges = self.calibration.ranges()?;
        let model = self.import.load(&self.model, progress)?;
        if matches!(ranges, Ranges::Model) {
            return Err(Error::NothingToQuantizeBy);
        }
        // The quantized model must not depend on this machine: the target is only a default.
        let options = self.scheme.apply(OptimizeOptions::new(target("native")?));
        let options = options.keeping_float(&model.graph, &self.scheme.keep_float)?;
        let reduce_range = match options.reduce_range {
            ReduceRange::Auto => ReduceRange::Never,
            asked => asked,
        };
        let weight_type = WeightType::from_name(&self.weight_type);
        let weight_type = weight_type.unwrap_or_else(|| unreachable!("clap takes no other names"));
        let options = OptimizeOptions { reduce_range, weight_type, pass_limit: self.passes.pass_limit, ..options };
        let table = ranges.calibrate(&model, &options, progress)?.ok_or(Error::NothingToQuantizeBy)?;
        let (calibrator, samples) = (table.calibrator.clone(), table.samples);
        let (graph, outcome) = eightfold::quantize(&model, table, &options, progress)?;
        let onnx = eightfold::onnx::export(&graph).map_err(Error::Export)?;
        write_bytes(output, &onnx)?;
        progress.finish(&outcome.reports)?;
        let Saturation { products, saturating } = Saturation::of(&graph);
        if saturating > 0 {
            anstream::eprintln!(
                "warning: {saturating} of {products} products have i8 weights beyond +-64 and saturate in ONNX Runtime \
                 on x86 CPUs without VNNI; quantize with --weight-type u8 or i7 for these"
            );
        }
        let report = Report {
            output: self.output.name(),
            bytes: onnx.len() as u64,
            calibrator,
            samples,
            quantized_tensors: graph.nodes().filter(|node| matches!(node.op, Op::QuantizeLinear(_))).count(),
            products,
            products_that_saturate_without_vnni: saturating,
        };
        format.print(&report, || {
            let Report { output, calibrator, samples, quantized_tensors, .. } = &report;
            let size = bytes(report.bytes);
            format!("{output}  {size}, {quantized_tensors} tensors quantized by {calibrator} on {samples} samples")
        })
    }
}
