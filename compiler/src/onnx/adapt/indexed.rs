//! GatherElements, GatherND, ScatterElements and ScatterND of constants, computed at import.
//!
//! Models use them to compute position biases, masks and index tables from constants and shapes. There are no kernels
//! for them, so operands that depend on an input are rejected.

use eightfold_ir::scalar::Meaning;
use eightfold_ir::{DType, Data, Function, Shape, Tensor};

use super::{Adapt, AdaptError, Outputs, axis, broken, unsupported};
use crate::onnx::importer::Operand;

/// `y[i, j] = x[indices[i, j], j]` for axis 0.
pub(super) fn gather_elements(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, indices) = (a.constant(0, "data")?, indices(a)?);
    let axis = axis(a.int("axis")?.unwrap_or(0), x.shape().rank())?;
    let shape = indices.shape.clone();
    let places = along_axis(x.shape(), &indices, axis)?;
    result(a, x.dtype(), shape, x.data().gather(places.into_iter()))
}

/// `y[i] = x[indices[i, 0], indices[i, 1], …]`, separately for each index of the first `batch_dims` axes.
pub(super) fn gather_nd(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, indices) = (a.constant(0, "data")?, indices(a)?);
    let batch = usize::try_from(a.int("batch_dims")?.unwrap_or(0)).map_err(|_| broken("batch_dims is negative"))?;
    let (shape, rank) = (x.shape(), indices.shape.rank());
    let depth = indices.shape.last().copied().unwrap_or(0);
    if rank == 0 || rank <= batch || batch + depth > shape.rank() || shape[..batch] != indices.shape[..batch] {
        return Err(broken(format!("indices of shape {} do not fit data of shape {shape}", indices.shape)));
    }
    let batches: usize = shape[..batch].iter().product();
    let blocks = blocks(&shape[batch..], &indices, depth)?;
    let each = blocks.len().checked_div(batches).unwrap_or(0);
    let (size, volume): (usize, usize) = (shape[batch + depth..].iter().product(), shape[batch..].iter().product());
    let places = blocks.iter().enumerate().flat_map(|(i, block)| {
        let start = i.checked_div(each).unwrap_or(0) * volume + block;
        start..start + size
    });
    let y = indices.shape[..rank - 1].iter().chain(&shape[batch + depth..]).copied().collect();
    result(a, x.dtype(), y, x.data().gather(places))
}

/// `y = x`, then `y[indices[i, j], j] = updates[i, j]` for axis 0.
pub(super) fn scatter_elements(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, indices, updates) = (a.constant(0, "data")?, indices(a)?, a.constant(2, "updates")?);
    let axis = axis(a.int("axis")?.unwrap_or(0), x.shape().rank())?;
    if *updates.shape() != indices.shape {
        return Err(broken(format!("updates of shape {} for indices of shape {}", updates.shape(), indices.shape)));
    }
    let places = along_axis(x.shape(), &indices, axis)?;
    scattered(a, &x, &places, &updates)
}

/// `y = x`, then `y[indices[i, 0], indices[i, 1], …] = updates[i]`.
pub(super) fn scatter_nd(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, indices, updates) = (a.constant(0, "data")?, indices(a)?, a.constant(2, "updates")?);
    let (shape, rank) = (x.shape(), indices.shape.rank());
    let depth = indices.shape.last().copied().unwrap_or(0);
    let fits = rank > 0 && depth <= shape.rank() && {
        let expected: Shape = indices.shape[..rank - 1].iter().chain(&shape[depth..]).copied().collect();
        *updates.shape() == expected
    };
    if !fits {
        let shapes = format!("indices of shape {} and updates of shape {}", indices.shape, updates.shape());
        return Err(broken(format!("{shapes} do not fit data of shape {shape}")));
    }
    let size: usize = shape[depth..].iter().product();
    let blocks = blocks(shape, &indices, depth)?;
    let places: Vec<usize> = blocks.into_iter().flat_map(|start| start..start + size).collect();
    scattered(a, &x, &places, &updates)
}

/// Indices; negative ones count from the end.
struct Indices {
    shape: Shape,
    numbers: Vec<i64>,
}

fn indices(a: &mut Adapt<'_, '_>) -> Result<Indices, AdaptError> {
    let tensor = a.constant(1, "indices")?;
    let numbers = tensor.to_ints().filter(|_| matches!(tensor.dtype(), DType::I32 | DType::I64));
    let numbers = numbers.ok_or_else(|| broken(format!("indices of type {}", tensor.dtype())))?;
    Ok(Indices { shape: tensor.shape().clone(), numbers })
}

fn absolute(index: i64, extent: usize) -> Result<usize, AdaptError> {
    let counted = if index < 0 { index.saturating_add(extent as i64) } else { index };
    usize::try_from(counted)
        .ok()
        .filter(|i| *i < extent)
        .ok_or_else(|| broken(format!("index {index} on an axis of extent {extent}")))
}

/// For each index, the flat position in a tensor of `shape`: the index applies to `axis`, and its own position to the
/// other axes.
fn along_axis(shape: &Shape, indices: &Indices, axis: usize) -> Result<Vec<usize>, AdaptError> {
    let fits = |a: usize| a == axis || indices.shape[a] <= shape[a];
    if indices.shape.rank() != shape.rank() || !(0..shape.rank()).all(fits) {
        return Err(broken(format!("indices of shape {} do not fit data of shape {shape}", indices.shape)));
    }
    let (own, strides) = (indices.shape.strides(), shape.strides());
    let place = |(i, index): (usize, &i64)| {
        let others = (0..shape.rank()).filter(|a| *a != axis).map(|a| i / own[a] % indices.shape[a] * strides[a]);
        Ok(others.sum::<usize>() + absolute(*index, shape[axis])? * strides[axis])
    };
    indices.numbers.iter().enumerate().map(place).collect()
}

/// For each row of `depth` indices, the flat position of the first element of the block that it selects in a tensor of
/// `shape`.
fn blocks(shape: &[usize], indices: &Indices, depth: usize) -> Result<Vec<usize>, AdaptError> {
    let strides = Shape::new(shape).strides();
    if depth == 0 {
        return Ok(vec![0; indices.shape[..indices.shape.rank() - 1].iter().product()]);
    }
    let block = |row: &[i64]| {
        row.iter()
            .enumerate()
            .try_fold(0, |at, (a, index)| Ok::<usize, AdaptError>(at + absolute(*index, shape[a])? * strides[a]))
    };
    indices.numbers.chunks_exact(depth).map(block).collect()
}

/// `x` with `updates` applied at `places`, combined by the node's `reduction`.
fn scattered(a: &mut Adapt<'_, '_>, x: &Tensor, places: &[usize], updates: &Tensor) -> Result<Outputs, AdaptError> {
    if updates.dtype() != x.dtype() {
        return Err(broken(format!("updates of type {} for data of type {}", updates.dtype(), x.dtype())));
    }
    let function = match a.string("reduction")?.as_deref() {
        None | Some("none") => None,
        Some("add") => Some(Function::Add),
        Some("mul") => Some(Function::Mul),
        Some("max") => Some(Function::Max),
        Some("min") => Some(Function::Min),
        Some(other) => return Err(unsupported(format!("reduction {other:?}"))),
    };
    let combine = match function.map(Function::meaning) {
        None => None,
        Some(Meaning::Arithmetic { float, int: Some(int), .. }) => Some((float, int)),
        Some(_) => unreachable!("these functions are arithmetic on floats and integers"),
    };
    let mut data = x.data();
    match (&mut data, updates.data()) {
        (Data::Float(y), Data::Float(updates)) => places.iter().zip(updates).for_each(|(place, update)| {
            y[*place] = combine.map_or(update, |(float, _)| float(y[*place], update, 0.0));
        }),
        (Data::Int(y), Data::Int(updates)) => places.iter().zip(updates).for_each(|(place, update)| {
            y[*place] = combine.map_or(update, |(_, int)| int(y[*place], update, 0));
        }),
        _ => unreachable!("both are of one type"),
    }
    result(a, x.dtype(), x.shape().clone(), data)
}

fn result(a: &mut Adapt<'_, '_>, dtype: DType, shape: Shape, data: Data) -> Result<Outputs, AdaptError> {
    a.afford(shape.elements().saturating_mul(dtype.byte_size()))?;
    Ok(vec![Operand::constant("", Tensor::from_array(dtype, shape, &data))])
}
