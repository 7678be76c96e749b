//! Reads calibration tables and checks that they fit the model.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use eightfold_ir::Graph;
use eightfold_ir::Precision;
use eightfold_passes::calibrate::CalibrationTable;
use eightfold_passes::{PassOptions, SIMPLIFY, channel_axes, tensor_name};

use crate::error::Error;
use crate::host::output_file::declare_input;
use crate::options::OptimizeOptions;
use crate::stages::load::Model;
use crate::stages::optimize::run_passes;
use crate::stages::progress::Progress;

/// Reads a calibration table, which must fit the model. Warns if it was made from another file.
///
/// # Errors
/// If the file cannot be read, does not parse, or belongs to another model.
pub fn read_table(
    path: &Path,
    model: &Model,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<CalibrationTable, Error> {
    declare_input(path)?;
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let table: CalibrationTable = text.parse().map_err(|source| Error::Table { path: path.to_owned(), source })?;
    check_table(model, path, &table, options)?;
    if table.hash != model.sha256 {
        let (path, of) = (path.display(), &table.model);
        progress.note(&format!("warning: {path}: the table was made of another model file ({of})"));
    }
    Ok(table)
}

/// Checks that a table fits the model: all its tensors exist, and its means have the right number of channels.
///
/// # Errors
/// [`Error::ForeignTable`], or the error of a pass.
fn check_table(model: &Model, path: &Path, table: &CalibrationTable, options: &OptimizeOptions) -> Result<(), Error> {
    let mut graph = model.graph.clone();
    let names = |graph: &Graph| -> Vec<String> {
        let outputs = graph.nodes().map(|node| tensor_name(graph, node.output()));
        outputs.chain(graph.inputs().iter().map(|id| tensor_name(graph, *id))).collect()
    };
    let mut known: BTreeSet<String> = names(&graph).into_iter().collect();
    // The table was made without a limit on rewrites.
    let passes = PassOptions { limit: None, ..options.for_passes(Precision::Int8, None) };
    run_passes(SIMPLIFY, &mut graph, &passes, &mut ())?;
    known.extend(names(&graph));
    let named = table.ranges.keys().chain(table.means.keys());
    let unknown: BTreeSet<&String> = named.filter(|name| !known.contains(*name)).collect();
    if !unknown.is_empty() {
        let unknown = unknown.into_iter().cloned().collect();
        return Err(Error::ForeignTable { path: path.to_owned(), model: table.model.clone(), unknown });
    }
    for (id, axis) in channel_axes(&graph) {
        let (name, expected) = (tensor_name(&graph, id), graph.ty(id).shape[axis]);
        if let Some(got) = table.means.get(&name).map(Vec::len).filter(|got| *got != expected) {
            return Err(Error::TableMeans { path: path.to_owned(), tensor: name, expected, got });
        }
    }
    Ok(())
}
