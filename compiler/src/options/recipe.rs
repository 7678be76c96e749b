//! The passes and options that a graph in text form names, in lines `; key: value` before the graph.
//!
//! | key | value |
//! |---|---|
//! | `run` | passes, or the pipelines `simplify`, `f32`, `bf16`, `int8`, `weight-int8`, with commas between them |
//! | `precision` | `f32`, `bf16`, `int8` or `weight-int8` |
//! | `activations` | `affine` or `symmetric`, and `u8` or `i8` |
//! | `weights` | `per_channel` or `per_tensor`; `i8`, `i7` or `u8` |
//! | `keep` | an ONNX node to keep in floats |
//! | `limit` | the maximum number of rewrites of all passes |
//! | `target` | the target that the graph is lowered for |
//! | `range` | a tensor's name, its minimum and its maximum, for `insert_qdq`; or `reduced`, for the range of weights |
//! | `mean` | a tensor's name, and the means of its channels |
//!
//! Other lines that begin with `;` are comments.

use eightfold_codegen::target::Target;
use eightfold_ir::{DType, Precision, Symmetry};
use eightfold_passes::calibrate::{CalibrationTable, Range};
use eightfold_passes::{BF16, F32, INT8, PassOptions, SIMPLIFY, WEIGHT_INT8, WeightScales, WeightType};

use super::target::pair_sums;

/// Pipelines that can be used as names of passes.
pub const PIPELINES: &[(&str, &[&str])] =
    &[("simplify", SIMPLIFY), ("f32", F32), ("bf16", BF16), ("int8", INT8), ("weight-int8", WEIGHT_INT8)];

/// Passes and options for a graph.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Names of passes, in order.
    pub passes: Vec<String>,
    /// The options for the passes.
    pub options: PassOptions,
    /// The target that the graph is lowered for.
    pub target: Option<&'static Target>,
}

/// The names of passes, with pipelines expanded.
pub fn expanded<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let pipeline = |name: &str| PIPELINES.iter().find(|(pipeline, _)| *pipeline == name);
    let passes = names.into_iter().flat_map(|name| match pipeline(name) {
        Some((_, passes)) => passes.to_vec(),
        None => vec![name],
    });
    passes.map(str::to_owned).collect()
}

impl Recipe {
    /// Parses the recipe in the text of the graph `name`; `None` if the text names no passes.
    ///
    /// # Errors
    /// Fails at the first invalid line.
    pub fn read(text: &str, name: &str) -> Result<Option<Recipe>, String> {
        let mut recipe = Recipe { passes: Vec::new(), options: PassOptions::default(), target: None };
        let mut table = CalibrationTable {
            model: name.to_owned(),
            hash: String::new(),
            calibrator: "by hand".to_owned(),
            samples: 0,
            ranges: Default::default(),
            means: Default::default(),
        };
        if !text.lines().any(|line| line.starts_with("; run:")) {
            return Ok(None);
        }
        for line in text.lines().map_while(|line| line.strip_prefix("; ")) {
            let is_key = |(key, _): &(&str, &str)| key.chars().all(|c| c.is_ascii_lowercase());
            let Some((key, value)) = line.split_once(": ").filter(is_key) else { continue };
            recipe.line(&mut table, key, value).ok_or_else(|| line.to_owned())?;
        }
        recipe.options.calibration = (!table.ranges.is_empty()).then_some(table);
        Ok(Some(recipe))
    }

    /// Parses one line; `None` if it is invalid.
    fn line(&mut self, table: &mut CalibrationTable, key: &str, value: &str) -> Option<()> {
        let words: Vec<&str> = value.split_whitespace().collect();
        let options = &mut self.options;
        match (key, words.as_slice()) {
            ("run", _) => self.passes = expanded(value.split(',').map(str::trim)),
            ("precision", [name]) => options.precision = Precision::from_name(name)?,
            ("target", [name]) => {
                let target = Target::find(name)?;
                options.target_features = target.features.iter().map(|&feature| feature.to_owned()).collect();
                options.pair_sums = pair_sums(target);
                self.target = Some(target);
            }
            ("weights", ["per_channel"]) => options.weight_scales = WeightScales::PerChannel,
            ("weights", ["per_tensor"]) => options.weight_scales = WeightScales::PerTensor,
            ("weights", [name]) => options.weight_type = WeightType::from_name(name)?,
            ("range", ["reduced"]) => options.reduce_range = true,
            ("keep", [name]) => _ = options.keep_float.insert((*name).to_owned()),
            ("limit", [limit]) => options.limit = Some(limit.parse().ok()?),
            ("activations", [symmetry, storage]) => {
                options.activation_symmetry = match *symmetry {
                    "affine" => Symmetry::Affine,
                    "symmetric" => Symmetry::Symmetric,
                    _ => return None,
                };
                options.activation_storage = DType::from_name(storage)?;
            }
            ("range", [name, min, max]) => {
                let range = Range { min: min.parse().ok()?, max: max.parse().ok()? };
                table.ranges.insert((*name).to_owned(), range);
            }
            ("mean", [name, means @ ..]) => {
                let means = means.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
                table.means.insert((*name).to_owned(), means);
            }
            _ => return None,
        }
        Some(())
    }
}
