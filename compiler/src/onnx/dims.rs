//! Resolves the dimensions of all inputs to numbers.

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::Shape;

use super::ImportRemark;
use super::error::{OnnxError, UnboundDim};
use super::model::{Declared, Dim};

/// The maximum number of elements of a tensor; products of extents below it do not overflow.
pub(crate) const MOST_ELEMENTS: usize = 1 << 40;

/// The shape of each of `inputs`. `dims` gives extents by symbol or by `input.axis`; leading dimensions that it lacks
/// are 1.
pub(crate) fn bind(
    inputs: &[&Declared],
    dims: &BTreeMap<String, usize>,
) -> Result<(Vec<Shape>, Vec<ImportRemark>), OnnxError> {
    let mut known = BTreeSet::new();
    let mut remarks = Vec::new();
    // A symbol that is the leading dimension of some input is 1 wherever it appears.
    let mut leading: BTreeSet<&str> = BTreeSet::new();
    for input in inputs {
        for (axis, dim) in input.shape.iter().flatten().enumerate() {
            let positional = format!("{}.{axis}", input.name);
            match dim {
                Dim::Number(_) => continue,
                Dim::Symbol(symbol) => {
                    known.insert(symbol.clone());
                    let bound = dims.contains_key(symbol) || dims.contains_key(&positional);
                    if axis == 0 && !bound && leading.insert(symbol) {
                        remarks.push(defaulted(input, dim, symbol));
                    }
                }
                Dim::Unknown if axis == 0 && !dims.contains_key(&positional) => {
                    remarks.push(defaulted(input, dim, &positional));
                }
                Dim::Unknown => {}
            }
            known.insert(positional);
        }
    }
    let mut unbound: Vec<UnboundDim> = Vec::new();
    let mut shapes = Vec::with_capacity(inputs.len());
    for input in inputs {
        let Some(declared) = &input.shape else {
            let given = unranked(input, dims);
            known.extend(given.iter().enumerate().map(|(axis, _)| format!("{}.{axis}", input.name)));
            if given.is_empty() {
                unbound.push(UnboundDim { input: input.name.clone(), axis: None, key: format!("{}.AXIS", input.name) });
            }
            shapes.push(Shape::new(&given));
            continue;
        };
        let mut shape = Vec::with_capacity(declared.len());
        for (axis, dim) in declared.iter().enumerate() {
            let positional = format!("{}.{axis}", input.name);
            let (key, symbol) = match dim {
                Dim::Number(n) => {
                    shape.push(*n);
                    continue;
                }
                Dim::Symbol(symbol) => (symbol.clone(), Some(symbol.as_str())),
                Dim::Unknown => (positional.clone(), None),
            };
            let bound = dims.get(&positional).or_else(|| dims.get(symbol?)).copied();
            let defaulted = symbol.map_or(axis == 0, |s| leading.contains(s));
            if bound.is_none() && !defaulted && unbound.iter().all(|u| u.key != key) {
                unbound.push(UnboundDim { input: input.name.clone(), axis: Some(axis), key });
            }
            shape.push(bound.unwrap_or(1));
        }
        if shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > MOST_ELEMENTS) {
            return Err(OnnxError::Tensor { tensor: input.name.clone(), reason: format!("is too large: {shape:?}") });
        }
        shapes.push(Shape::new(&shape));
    }
    if let Some(name) = dims.keys().find(|d| !known.contains(*d)) {
        return Err(OnnxError::UnknownDim { name: name.clone(), known: known.into_iter().collect() });
    }
    if !unbound.is_empty() {
        return Err(OnnxError::UnboundDims(unbound));
    }
    Ok((shapes, remarks))
}

fn defaulted(input: &Declared, dim: &Dim, key: &str) -> ImportRemark {
    ImportRemark::DefaultedDim { input: input.name.clone(), symbol: dim.to_string(), key: key.to_owned() }
}

/// The extents that the user gives an input of unknown rank: axes 0, 1, … up to the first that is missing.
fn unranked(input: &Declared, dims: &BTreeMap<String, usize>) -> Vec<usize> {
    (0..).map_while(|axis| dims.get(&format!("{}.{axis}", input.name)).copied()).collect()
}
