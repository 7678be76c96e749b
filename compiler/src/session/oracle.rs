//! An implementation of ONNX that shares nothing with this one, to compare results with.
//!
//! It is there if the program is built with the feature `oracle`. Else nothing of it is compiled in, and asking for it is an
//! error.

#[cfg(feature = "oracle")]
mod tract;

#[cfg(feature = "oracle")]
pub(crate) use self::tract::Oracle;

/// An oracle, of which there is none without the feature `oracle`.
#[cfg(not(feature = "oracle"))]
#[derive(Debug)]
pub(crate) enum Oracle {}

#[cfg(not(feature = "oracle"))]
impl Oracle {
    /// Loads the model in a file.
    ///
    /// # Errors
    /// [`Error::NoOracle`](crate::Error::NoOracle).
    pub(crate) fn load(_: &std::path::Path, _: &crate::stages::load::Model) -> Result<Oracle, crate::error::Error> {
        Err(crate::error::Error::NoOracle)
    }

    /// Runs the model once.
    pub(crate) fn run(&self, _: &[eightfold_ir::Tensor]) -> Result<Vec<eightfold_ir::Tensor>, crate::error::Error> {
        match *self {}
    }
}
