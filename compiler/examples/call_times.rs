//! Prints where a model's time goes: each kernel call with its shortest time, the slowest first.
//!
//! `call_times MODEL [int8] [ROWS]`: in f32, or in int8 with ranges found on noise, as only time is looked at.

use std::error::Error;
use std::path::Path;

use eightfold::dataset::Sample;
use eightfold::{CalibrateOptions, ImportOptions, Model, OptimizeOptions, PrecisionRequest};
use eightfold_codegen::llvm::profile::profile;
use eightfold_codegen::lower::lower;
use eightfold_codegen::program::{Call, Producer};
use eightfold_codegen::target::Target;
use eightfold_ir::{DType, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut path, mut precision, mut rows) = (None, PrecisionRequest::F32, 30);
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), argument.parse()) {
            ("int8", _) => precision = PrecisionRequest::Int8,
            (_, Ok(number)) => rows = number,
            _ => path = Some(argument),
        }
    }
    let path = path.ok_or("call_times wants a model")?;
    let target = Target::native().ok_or("this machine runs no target")?;
    let model = eightfold::load(Path::new(&path), &ImportOptions::default())?;
    let options = OptimizeOptions { precision, ..OptimizeOptions::new(target) };
    let calibrated = precision == PrecisionRequest::Int8 && !model.is_quantized();
    let table = match calibrated {
        true => {
            let samples = [Ok(noise(&model))].into_iter();
            Some(eightfold::calibrate(&model, samples, &CalibrateOptions::new(options.clone()), &mut ())?)
        }
        false => None,
    };
    let optimized = eightfold::optimize(&model, table, &options, &mut ())?;
    let program = lower(&optimized.graph, target)?;
    let times = profile(&program)?;
    let total: f64 = times.iter().map(|time| time.as_secs_f64()).sum();
    println!("{}: {} calls, {:.3} ms", model.name, times.len(), 1e3 * total);
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(times[*index]));
    for index in order.into_iter().take(rows) {
        let (call, seconds) = (&program.calls[index], times[index].as_secs_f64());
        let rate = macs(call).map_or(String::new(), |macs| format!("{:6.1} GMAC/s", macs as f64 / seconds / 1e9));
        let share = 100.0 * seconds / total;
        println!("{:9.1} us {share:5.1}%  {rate:>13}  {index:4}: {}", 1e6 * seconds, line(call));
    }
    Ok(())
}

/// Numbers without a pattern, from 0 to 1, or over a byte.
fn noise(model: &Model) -> Sample {
    let inputs = model.inputs().into_iter().map(|input| {
        let numbers = (0..input.shape.elements()).map(|at| (at * 7919 % 65_521) % 256);
        match input.dtype {
            DType::F32 => Tensor::f32(&input.shape, &numbers.map(|x| x as f32 / 256.0).collect::<Vec<_>>()),
            dtype => Tensor::int(dtype, &input.shape, &numbers.map(|x| x as i64 % 128).collect::<Vec<_>>()),
        }
    });
    Sample { inputs: inputs.collect(), labels: Vec::new(), rows: 1 }
}

fn macs(call: &Call) -> Option<usize> {
    match &call.producer {
        Producer::Gemm(gemm) => {
            let depth: usize = gemm.runs.iter().map(|run| run.length).sum();
            Some(gemm.pixels.iter().product::<usize>() * depth * gemm.n)
        }
        Producer::Depthwise(depthwise) => {
            Some(depthwise.pixels.iter().product::<usize>() * depthwise.taps.len() * depthwise.channels)
        }
        _ => None,
    }
}

fn line(call: &Call) -> String {
    let producer: String = match &call.producer {
        Producer::Gemm(g) => {
            let runs: Vec<usize> = g.runs.iter().map(|run| run.length).collect();
            format!(
                "gemm pixels {:?} runs {}x{} n {} tile {:?} block {}",
                g.pixels,
                runs.len(),
                runs[0],
                g.n,
                g.tile,
                g.row_block
            )
        }
        Producer::Depthwise(d) => {
            format!("depthwise pixels {:?} taps {} channels {}", d.pixels, d.taps.len(), d.channels)
        }
        other => format!("{other:?}"),
    };
    let grids: Vec<String> = call
        .operands
        .iter()
        .chain([&call.output])
        .map(|view| format!("{}{:?}/{:?}", view.dtype, view.grid.dims, view.grid.strides))
        .collect();
    let steps: Vec<String> = call.steps.iter().map(|step| format!("{step:?}").chars().take(40).collect()).collect();
    format!("{producer}; {}; {}; \"{:.60}\"", grids.join(" "), steps.join(" | "), call.origin)
}
