//! Options as names and values in an artifact's provenance, and back: one row per option.
//!
//! An option at its default is omitted, unless it affects every model of that precision. So provenance from before an
//! option was added still parses, with the same meaning.

use eightfold_codegen::choice::Prefer;
use eightfold_codegen::target::Target;
use eightfold_ir::Precision;
use eightfold_ir::{DType, Symmetry};
use eightfold_passes::{WeightScales, WeightType};

use super::{OptimizeOptions, PrecisionRequest, ReduceRange};
use crate::artifact::provenance::Provenance;

/// Prefix of the options for inputs that are constants.
pub(crate) const CONSTANT: &str = "constant.";

/// An option in the provenance.
struct Row {
    name: &'static str,
    /// The value to write; `None` if the option is omitted.
    write: fn(&OptimizeOptions, Precision) -> Option<String>,
    /// Sets the option from a written value; `None` if the value is invalid.
    read: fn(&mut OptimizeOptions, &str) -> Option<()>,
}

const ROWS: &[Row] = &[
    Row {
        name: "precision",
        write: |_, precision| Some(precision.to_string()),
        read: |options, text| set(&mut options.precision, value_of(PRECISIONS, text)),
    },
    Row {
        name: "weights",
        write: |options, precision| int8(precision).then(|| name_of(WEIGHT_SCALES, options.weight_scales).to_owned()),
        read: |options, text| set(&mut options.weight_scales, value_of(WEIGHT_SCALES, text)),
    },
    Row {
        name: "weight_type",
        write: |options, precision| {
            let told = int8(precision) && options.weight_type != WeightType::I8;
            told.then(|| options.weight_type.name().to_owned())
        },
        read: |options, text| set(&mut options.weight_type, WeightType::from_name(text)),
    },
    Row {
        name: "activations",
        write: |options, precision| {
            let symmetry = name_of(SYMMETRIES, options.activation_symmetry);
            int8(precision).then(|| format!("{symmetry}-{}", options.activation_storage))
        },
        read: |options, text| {
            let (symmetry, storage) = text.split_once('-')?;
            set(&mut options.activation_symmetry, value_of(SYMMETRIES, symmetry))?;
            set(&mut options.activation_storage, DType::from_name(storage))
        },
    },
    Row {
        name: "bias_correction",
        write: |options, precision| int8(precision).then(|| options.bias_correction.to_string()),
        read: |options, text| set(&mut options.bias_correction, text.parse().ok()),
    },
    Row {
        name: "reduce_range",
        write: |options, precision| int8(precision).then(|| options.reduces_range().to_string()),
        read: |options, text| set(&mut options.reduce_range, value_of(REDUCED, text)),
    },
    Row {
        name: "keep_float",
        write: |options, _| {
            let kept = &options.keep_float;
            (!kept.is_empty()).then(|| serde_json::json!(kept).to_string())
        },
        read: |options, text| set(&mut options.keep_float, serde_json::from_str(text).ok()),
    },
    Row {
        name: "threads",
        write: |options, _| (options.threads != 1).then(|| options.threads.to_string()),
        read: |options, text| set(&mut options.threads, text.parse().ok().filter(|count| *count > 0)),
    },
    Row {
        name: "bands",
        write: |options, _| (!options.bands).then(|| options.bands.to_string()),
        read: |options, text| set(&mut options.bands, text.parse().ok()),
    },
    Row {
        name: "prefer",
        write: |options, _| PREFERENCES.iter().find(|(_, p)| *p == options.prefer).map(|(name, _)| (*name).to_owned()),
        read: |options, text| set(&mut options.prefer, value_of(PREFERENCES, text)),
    },
    Row {
        name: "pass_limit",
        write: |options, _| options.pass_limit.map(|limit| limit.to_string()),
        read: |options, text| set(&mut options.pass_limit, text.parse().ok().map(Some)),
    },
];

const PRECISIONS: &[(&str, PrecisionRequest)] = &[
    ("f32", PrecisionRequest::F32),
    ("bf16", PrecisionRequest::Bf16),
    ("int8", PrecisionRequest::Int8),
    ("weight-int8", PrecisionRequest::WeightInt8),
];

const WEIGHT_SCALES: &[(&str, WeightScales)] =
    &[("per-channel", WeightScales::PerChannel), ("per-tensor", WeightScales::PerTensor)];

const SYMMETRIES: &[(&str, Symmetry)] = &[("symmetric", Symmetry::Symmetric), ("affine", Symmetry::Affine)];

/// `auto` is resolved for the target when the option is written, so it is never read back.
const REDUCED: &[(&str, ReduceRange)] = &[("true", ReduceRange::Always), ("false", ReduceRange::Never)];

/// Speed is the default and has no name.
const PREFERENCES: &[(&str, Prefer)] = &[("size", Prefer::Size)];

/// The name of a value in a table, which contains all values.
fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    let row = table.iter().find(|(_, other)| *other == value);
    row.map(|(name, _)| *name).unwrap_or_else(|| unreachable!("the table has every value"))
}

/// The value of a name in a table, if any.
fn value_of<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
}

fn set<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn int8(precision: Precision) -> bool {
    precision == Precision::Int8
}

impl OptimizeOptions {
    /// The options by name, for the provenance; the target has a field of its own.
    pub(crate) fn named(&self, precision: Precision) -> impl Iterator<Item = (String, String)> {
        let row = move |row: &Row| Some((row.name.to_owned(), (row.write)(self, precision)?));
        ROWS.iter().filter_map(row)
    }

    /// The options that an artifact was compiled with; `None` if another version wrote the provenance.
    #[must_use]
    pub fn from_provenance(provenance: &Provenance) -> Option<Self> {
        let mut options = OptimizeOptions::new(Target::find(&provenance.target)?);
        for (name, value) in &provenance.options {
            match ROWS.iter().find(|row| row.name == name) {
                Some(row) => (row.read)(&mut options, value)?,
                // Import options are not restored: whoever imports the model gives them again.
                None if name.starts_with(CONSTANT) => {}
                None => return None,
            }
        }
        Some(options)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eightfold_codegen::target::TARGETS;

    use super::*;

    fn read(options: BTreeMap<String, String>) -> Option<OptimizeOptions> {
        let provenance = serde_json::json!({
            "eightfold": "", "target": TARGETS[0].name, "model_sha256": "", "options": options,
            "coverage": { "macs": 0, "int8_macs": 0, "float_nodes": [] }, "weight_bytes": 0, "arena_bound_bytes": 0,
        });
        OptimizeOptions::from_provenance(&Provenance::parse(&provenance.to_string()).expect("a provenance"))
    }

    #[test]
    fn every_option_is_written_and_read_back() {
        let options = OptimizeOptions {
            weight_scales: WeightScales::PerTensor,
            weight_type: WeightType::U8,
            activation_storage: DType::I8,
            activation_symmetry: Symmetry::Symmetric,
            keep_float: ["a".to_owned(), "b, \"c\"".to_owned()].into(),
            bias_correction: false,
            reduce_range: ReduceRange::Always,
            threads: 2,
            bands: false,
            prefer: Prefer::Size,
            pass_limit: Some(7),
            ..OptimizeOptions::new(&TARGETS[0])
        };
        let written: BTreeMap<_, _> = options.named(Precision::Int8).collect();
        assert_eq!(written.len(), ROWS.len(), "{written:?}");
        let again = read(written.clone()).expect("our own options");
        assert_eq!(again.precision, PrecisionRequest::Int8);
        assert_eq!(again.named(Precision::Int8).collect::<BTreeMap<_, _>>(), written);
    }

    #[test]
    fn options_of_another_version_are_refused() {
        let one = |name: &str, value: &str| read([(name.to_owned(), value.to_owned())].into()).is_some();
        assert!(one("constant.mask", "0") && one("threads", "3"));
        assert!(!one("precision", "int4") && !one("threads", "0") && !one("speed", "high"));
    }
}
