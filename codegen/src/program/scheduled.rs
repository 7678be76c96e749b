//! Programs that are ready for emission.

use std::fmt::{self, Display, Formatter};
use std::ops::Deref;

use super::{PlanError, Program, ProgramError, check, verify};

/// A program that schedule passes have produced, or that has passed [`verify`](super::verify()) and
/// [`check`](super::check()).
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled(Program);

impl Deref for Scheduled {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl Display for Scheduled {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Scheduled {
    /// Wraps the result of schedule passes, without checks.
    pub(crate) fn trusted(program: Program) -> Scheduled {
        Scheduled(program)
    }

    /// Checks a program that somebody else has scheduled.
    ///
    /// # Errors
    /// Fails if the program breaks a rule, loses data, or has plain constants.
    pub fn proven(program: Program) -> Result<Scheduled, ScheduleError> {
        verify(&program)?;
        check(&program)?;
        let plain = program.calls().into_iter().position(|call| call.producer.def().plain().is_some());
        if let Some(call) = plain {
            return Err(ScheduleError::Plain { call });
        }
        Ok(Scheduled(program))
    }

    /// The program.
    #[must_use]
    pub fn into_program(self) -> Program {
        self.0
    }
}

/// A program that must not run as it is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The program breaks a rule.
    #[error(transparent)]
    Rule(#[from] ProgramError),
    /// The program loses data.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A call reads constants that are not packed.
    #[error("call {call}: the constants are not packed; the pass `pack` has not run")]
    Plain {
        /// Number of the call.
        call: usize,
    },
}
