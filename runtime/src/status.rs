//! The status codes that functions of an artifact return, and their messages.

use core::ffi::CStr;
use core::fmt;

/// The result of a call into an artifact: `eightfold_status`.
///
/// A number and not an enum, because a newer artifact can return a code that this library does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
#[must_use]
pub struct Status(pub i32);

impl Status {
    /// Success.
    pub const OK: Status = Status(0);
    /// A null pointer, a `struct_size` that is too small, or an index out of range.
    pub const INVALID_ARGUMENT: Status = Status(1);
    /// The model was made for another version of the ABI.
    pub const ABI_MISMATCH: Status = Status(2);
    /// The CPU, or its operating system, lacks features that the code needs.
    pub const UNSUPPORTED_CPU: Status = Status(3);
    /// The variant's threads must wait for each other, but the call has no host.
    pub const UNSUPPORTED_THREADS: Status = Status(4);
    /// The memory has fewer bytes than `session_size` returns.
    pub const MEMORY_TOO_SMALL: Status = Status(5);
    /// The arena's address is not a multiple of `arena_align`.
    pub const MISALIGNED_ARENA: Status = Status(6);
    /// The system could not create the threads that the variant needs.
    pub const THREADS_UNAVAILABLE: Status = Status(7);
    /// An index of a lookup in the model is outside its table. The outputs were written, but are meaningless.
    pub const INDEX_OUT_OF_RANGE: Status = Status(8);

    /// Returns the message of the status, in English and lower case.
    #[must_use]
    pub const fn message(self) -> &'static CStr {
        match self {
            Status::OK => c"ok",
            Status::INVALID_ARGUMENT => c"invalid argument: null pointer, struct size too small or index out of range",
            Status::ABI_MISMATCH => c"the model was made for another version of the abi",
            Status::UNSUPPORTED_CPU => c"this cpu lacks features that the model's code needs",
            Status::UNSUPPORTED_THREADS => {
                c"the variant runs on several threads, but the call has no host for them to wait on"
            }
            Status::MEMORY_TOO_SMALL => c"the memory is smaller than the session's size",
            Status::MISALIGNED_ARENA => c"the arena's address is not a multiple of its alignment",
            Status::THREADS_UNAVAILABLE => c"the threads that the variant needs could not be created",
            Status::INDEX_OUT_OF_RANGE => {
                c"an index, given as an input or computed by the model, is outside the axis that it selects from"
            }
            _ => c"unknown status",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message().to_str() {
            Ok(message) => write!(f, "{message} (status {})", self.0),
            Err(_) => write!(f, "status {}", self.0),
        }
    }
}
