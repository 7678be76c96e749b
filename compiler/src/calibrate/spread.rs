//! Checks that calibration data varies: the range of constant data is useless.

use eightfold_ir::Tensor;

use crate::dataset::InputSpec;
use crate::error::Error;
use crate::report::similarity::to_f32;
use crate::stages::progress::Progress;

/// Minimum and maximum of each input with more than one element, over all samples.
pub(super) struct Spread<'m> {
    inputs: Vec<(&'m str, f32, f32)>,
}

impl<'m> Spread<'m> {
    pub(super) fn of(specs: &'m [InputSpec]) -> Self {
        let many = |spec: &&InputSpec| spec.shape.elements() > 1;
        let all = |spec: &'m InputSpec| (spec.name.as_str(), f32::INFINITY, f32::NEG_INFINITY);
        Spread { inputs: specs.iter().filter(many).map(all).collect() }
    }

    pub(super) fn observe(&mut self, specs: &[InputSpec], tensors: &[Tensor]) {
        for (name, least, greatest) in &mut self.inputs {
            let Some(position) = specs.iter().position(|spec| spec.name == *name) else { continue };
            for value in to_f32(tensors[position].data()) {
                (*least, *greatest) = (least.min(value), greatest.max(value));
            }
        }
    }

    /// Fails if all inputs are constant. If only some are, this may be intended: notes them.
    pub(super) fn check(&self, progress: &mut dyn Progress) -> Result<(), Error> {
        let constant: Vec<_> = self.inputs.iter().filter(|(_, least, greatest)| least == greatest).collect();
        match constant.first() {
            None => Ok(()),
            Some((input, value, _)) if constant.len() == self.inputs.len() => {
                Err(Error::ConstantData { input: (*input).to_owned(), value: *value })
            }
            Some(_) => {
                for (input, value, _) in constant {
                    progress.note(&format!("warning: calibration: all elements of input {input:?} are {value}"));
                }
                Ok(())
            }
        }
    }
}
