//! The arguments `--input`, which name a tensor for each input of a model.

use std::path::Path;

use eightfold_ir::Tensor;

use super::InputSpec;
use super::error::{DatasetError, list};
use super::npz::{read_npy, read_npz};

/// Reads the arguments of `--input` and returns the tensors in the order of the model's inputs.
///
/// An argument is `NAME=FILE.npy`, or `FILE.npz` with an array for each name. Types and shapes must equal those of the
/// inputs. NaN and infinities are allowed: masks contain them.
///
/// # Errors
/// If an argument, a name, a type or a shape is wrong, or a file cannot be read.
pub fn read_inputs(arguments: &[String], inputs: &[InputSpec]) -> Result<Vec<Tensor>, DatasetError> {
    let mut given: Vec<Vec<(&Path, Tensor)>> = vec![Vec::new(); inputs.len()];
    let mut give = |name: &str, file, tensor| {
        let position = inputs.iter().position(|input| input.name == name);
        let position = position.ok_or_else(|| DatasetError::InputName {
            expected: list(inputs.iter().map(|input| &input.name)),
            got: name.to_owned(),
        })?;
        given[position].push((file, tensor));
        Ok::<(), DatasetError>(())
    };
    for argument in arguments {
        let (name, file) = split(argument, inputs);
        match (name, file.extension().and_then(|extension| extension.to_str())) {
            (Some(name), Some("npy")) => give(name, file, read_npy(file)?)?,
            (None, Some("npz")) => {
                for (name, tensor) in read_npz(file)? {
                    give(&name, file, tensor)?;
                }
            }
            _ => return Err(DatasetError::InputArgument { got: argument.clone() }),
        }
    }
    let mut tensors = Vec::new();
    for (input, mut given) in inputs.iter().zip(given) {
        let count = given.len();
        let (Some((file, tensor)), 1) = (given.pop(), count) else {
            return Err(DatasetError::InputCount { name: input.name.clone(), count });
        };
        input.check(&tensor, file)?;
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// The files that the arguments name.
pub fn input_files<'a>(arguments: &'a [String], inputs: &'a [InputSpec]) -> impl Iterator<Item = &'a Path> {
    arguments.iter().map(|argument| split(argument, inputs).1)
}

/// Splits an argument into the name, if any, and the file.
fn split<'a>(argument: &'a str, inputs: &'a [InputSpec]) -> (Option<&'a str>, &'a Path) {
    // Names and paths may both contain `=`: the longest existing name wins.
    let named = |input: &&InputSpec| argument.strip_prefix(&input.name).is_some_and(|rest| rest.starts_with('='));
    let known = inputs.iter().filter(named).max_by_key(|input| input.name.len());
    let split = match known {
        Some(input) => Some((input.name.as_str(), &argument[input.name.len() + 1..])),
        None => argument.split_once('='),
    };
    let (name, file) = split.map_or((None, argument), |(name, file)| (Some(name), file));
    (name, Path::new(file))
}
