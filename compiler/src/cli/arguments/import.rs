//! Import options: dimensions, inputs that become constants, the memory limit.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use clap::Args;
use eightfold::dataset::read_npy;
use eightfold::onnx::Constant;
use eightfold::stages::load::import;
use eightfold::{Error, Executable, ImportOptions, MemoryLimit, Model, Progress, declare_input};

use super::{ReferenceArguments, ThreadArguments, is_artifact};

/// Import options.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArguments {
    /// Value of a symbolic dimension, by its symbol (batch=1) or by input and axis (image.0=1).
    #[arg(long = "dim", value_name = "NAME=N")]
    dims: Vec<Dim>,
    /// Make an input a constant; the compiled model does not have it as an input. The value is a number for all
    /// elements (sr=16000) or an array (mask=mask.npy).
    #[arg(long = "constant", value_name = "INPUT=VALUE")]
    constants: Vec<ConstantArgument>,
    /// Greatest number of turns of a Loop that has no constant trip count, by the name of its node (/Loop=100).
    #[arg(long = "max-trip", value_name = "NAME=N")]
    max_trip: Vec<Dim>,
    /// Limit on the memory of a tensor and of the compiled model: 8G, 500M; three quarters of this machine's memory by
    /// default.
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemoryLimit>,
}

/// `sr=16000` or `mask=mask.npy`
#[derive(Clone, Debug)]
struct ConstantArgument {
    input: String,
    value: String,
}

impl FromStr for ConstantArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('=') {
            Some((input, value)) if !input.is_empty() && !value.is_empty() => {
                Ok(ConstantArgument { input: input.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected INPUT=NUMBER or INPUT=FILE.npy".to_owned()),
        }
    }
}

impl ConstantArgument {
    fn read(&self) -> Result<Constant, Error> {
        if Path::new(&self.value).extension().is_some_and(|extension| extension == "npy") {
            declare_input(Path::new(&self.value))?;
            return Ok(Constant::Tensor(read_npy(Path::new(&self.value))?));
        }
        Ok(Constant::Literal(self.value.clone()))
    }
}

/// `batch=1`
#[derive(Clone, Debug)]
struct Dim(String, usize);

impl FromStr for Dim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NAME=N with a whole number N of at least 0".to_owned();
        let (name, number) = text.rsplit_once('=').ok_or_else(expected)?;
        match number.parse() {
            Ok(number) if !name.is_empty() => Ok(Dim(name.to_owned(), number)),
            _ => Err(expected()),
        }
    }
}

impl ImportArguments {
    /// Imports a model; warnings go to `progress`.
    pub(crate) fn load(&self, path: &Path, progress: &mut dyn Progress) -> Result<Model, Error> {
        import(path, &self.options()?, progress)
    }

    /// The options for the importer.
    pub(crate) fn options(&self) -> Result<ImportOptions, Error> {
        let mut dims = BTreeMap::new();
        for Dim(name, number) in &self.dims {
            if let Some(first) = dims.insert(name.clone(), *number) {
                return Err(Error::Usage(format!(
                    "--dim {name}: expected once, got {name}={first} and {name}={number}"
                )));
            }
        }
        let mut constants = BTreeMap::new();
        for argument in &self.constants {
            if constants.insert(argument.input.clone(), argument.read()?).is_some() {
                return Err(Error::Usage(format!("--constant {} is given twice", argument.input)));
            }
        }
        let max_trip = self.max_trip.iter().map(|Dim(name, number)| (name.clone(), *number)).collect();
        Ok(ImportOptions { dims, constants, max_trip, memory: self.max_memory.unwrap_or_default() })
    }

    /// The model in `path`, ready to run. An artifact is loaded; a model is compiled, or evaluated with `--reference`.
    pub(crate) fn executable(
        &self,
        path: &Path,
        reference: &ReferenceArguments,
        threads: &ThreadArguments,
        progress: &mut dyn Progress,
    ) -> Result<Executable, Error> {
        declare_input(path)?;
        let compiled = is_artifact(path)?;
        if compiled && reference.given() {
            return Err(Error::Usage("--reference is for models, not for compiled models".to_owned()));
        }
        if threads.given() && (compiled || reference.given()) {
            let what = if compiled { "a compiled model has its own" } else { "the reference evaluator runs on one" };
            return Err(Error::Usage(format!("--threads is for models that are compiled first; {what}")));
        }
        threads.check(progress);
        if compiled {
            let given = [
                ("--dim", !self.dims.is_empty()),
                ("--constant", !self.constants.is_empty()),
                ("--max-trip", !self.max_trip.is_empty()),
            ];
            if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
                return Err(compiled_already(option, path));
            }
            return Executable::load(path);
        }
        let model = self.load(path, progress)?;
        match reference.executable(&model, progress) {
            Some(evaluated) => evaluated,
            None => Executable::compile_for_threads(&model, threads.count(), progress),
        }
    }
}

/// The error for a compile option that is given together with an artifact.
pub(crate) fn compiled_already(option: &str, path: &Path) -> Error {
    let path = path.display();
    Error::Usage(format!("{option} is for models that are compiled first, {path} is compiled already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_parse() {
        let Dim(name, number) = "a=b=3".parse().unwrap();
        assert_eq!((name.as_str(), number), ("a=b", 3));
        assert!(["x", "x=", "=1", "x=-1"].iter().all(|text| text.parse::<Dim>().is_err()));
    }
}
