//! The programs that code is emitted for.

use std::fmt::{self, Display, Formatter};
use std::ops::Deref;

use super::{PlanError, Program, ProgramError, check, verify};

/// A program that schedule passes have seen, or that is proven to be as sound as theirs.
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
    /// What schedule passes have made.
    pub(crate) fn trusted(program: Program) -> Scheduled {
        Scheduled(program)
    }

    /// A program that somebody else has scheduled, proven to keep all rules and to lose no data.
    ///
    /// # Errors
    /// A rule that it breaks, or data that it loses.
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

/// A program that cannot be run as it is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// It breaks a rule.
    #[error(transparent)]
    Rule(#[from] ProgramError),
    /// It loses data.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A call reads constants as the model has them.
    #[error("call {call}: the constants are not packed; the pass `pack` has not run")]
    Plain {
        /// Number of the call.
        call: usize,
    },
}
