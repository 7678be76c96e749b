//! The oracle: an ONNX implementation that shares no code with this one, for comparison.
//!
//! It exists only if the program is built with the feature `oracle`; otherwise a request for it is an error.

#[cfg(feature = "oracle")]
mod tract;

#[cfg(feature = "oracle")]
pub(crate) use self::tract::Oracle;

/// An oracle; without the feature `oracle` there is none.
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
