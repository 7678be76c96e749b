//! Prints how near products of matrices come to the machine's peak, through real calls with their steps.
//!
//! `gemm_rates [f32] [M K N] [asm]`: integers of 8 bits or floats, six layers of ResNet-50 or this one, with its assembly.

use std::error::Error;

use eightfold_codegen::measure::rates::{Product, measure};
use eightfold_codegen::target::Target;
use eightfold_ir::DType;

/// Layers of ResNet-50.
const SHAPES: [[usize; 3]; 6] =
    [[3136, 64, 256], [3136, 256, 64], [784, 512, 128], [196, 1024, 256], [196, 256, 1024], [49, 2048, 512]];

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = Vec::new();
    let (mut input, mut assembly) = (DType::U8, false);
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "f32" => input = DType::F32,
            "asm" => assembly = true,
            number => numbers.push(number.parse().map_err(|_| format!("`{number}` is none of f32, asm, a number"))?),
        }
    }
    let shapes = match numbers[..] {
        [] => SHAPES.to_vec(),
        [m, k, n] if m * k * n > 0 => vec![[m, k, n]],
        _ => return Err("a product wants three numbers, M K N, of at least 1".into()),
    };
    let products: Vec<_> = shapes.iter().map(|&[m, k, n]| Product { m, k, n }).collect();
    let target = Target::native().ok_or("this machine runs no target")?;
    let rates = measure(target, input, &products)?;
    println!("{}, {}: peak {:.1} GMAC/s", target.name, input.name(), rates.peak / 1e9);
    println!("{:>20}  {:>7}  {:>5}", "M x K x N", "GMAC/s", "share");
    for ([m, k, n], rate) in shapes.into_iter().zip(&rates.products) {
        let shape = format!("{m} x {k} x {n}");
        println!("{shape:>20}  {:7.1}  {:4.0}%", rate / 1e9, 100.0 * rate / rates.peak);
    }
    if assembly {
        println!("{}", rates.assembly);
    }
    Ok(())
}
