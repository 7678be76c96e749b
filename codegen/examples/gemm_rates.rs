//! Prints how near products of matrices come to the machine's peak, through real calls with their steps.
//!
//! `gemm_rates [f32] [TILE [M K N]] [asm]`, a tile as `4x16`.

use std::error::Error;

use eightfold_codegen::llvm::rates::{Product, f32_peak, int8_peak, product};
use eightfold_codegen::program::Tile;
use eightfold_codegen::target::Target;
use eightfold_ir::DType;

/// Layers of ResNet-50.
const SHAPES: [[usize; 3]; 6] =
    [[3136, 64, 256], [3136, 256, 64], [784, 512, 128], [196, 1024, 256], [196, 256, 1024], [49, 2048, 512]];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let target = Target::native().ok_or("this machine runs no target")?;
    let input = if has("f32") { DType::F32 } else { DType::U8 };
    let kr = if has("f32") { 1 } else { 4 };
    let tile = args.iter().find_map(|arg| {
        let (mr, nr) = arg.split_once('x')?;
        Some(Tile { mr: mr.parse().ok()?, nr: nr.parse().ok()?, kr })
    });
    let numbers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let shapes = match numbers[..] {
        [m, k, n] => vec![[m, k, n]],
        _ => SHAPES.to_vec(),
    };
    let peak = if has("f32") { f32_peak(target)? } else { int8_peak(target)? };
    println!("{} {} peak {:.1} GMAC/s", target.name, input.name(), peak / 1e9);
    for [m, k, n] in shapes {
        let (rate, assembly) = product(target, Product { input, m, k, n, tile })?;
        println!("{m:5} x {k:4} x {n:4}  {:6.1} GMAC/s  {:3.0}%", rate / 1e9, 100.0 * rate / peak);
        if has("asm") {
            println!("{assembly}");
        }
    }
    Ok(())
}
