//! Attribute values of operators, as the text form and the importer represent them.

use smallvec::SmallVec;

use crate::types::DType;

/// The value of an attribute in a form that the parser and printer understand.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// An f32.
    Float(f32),
    /// `true` or `false`.
    Bool(bool),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of f32.
    Floats(Vec<f32>),
    /// A bare word, such as `max`.
    Word(String),
}

/// A field type that an attribute can have.
pub trait AttrValue: Sized {
    /// The expected value, for error messages.
    const EXPECTED: &'static str;

    /// Converts the field to an attribute value.
    fn to_attr(&self) -> Attr;

    /// Converts an attribute value to the field; `None` if the kind is wrong or the number out of range.
    fn from_attr(attr: &Attr) -> Option<Self>;
}

impl AttrValue for i64 {
    const EXPECTED: &'static str = "an integer";

    fn to_attr(&self) -> Attr {
        Attr::Int(*self)
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Int(x) => Some(*x),
            _ => None,
        }
    }
}

impl AttrValue for i32 {
    const EXPECTED: &'static str = "an integer of 32 bits";

    fn to_attr(&self) -> Attr {
        Attr::Int(i64::from(*self))
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        i64::from_attr(attr)?.try_into().ok()
    }
}

impl AttrValue for usize {
    const EXPECTED: &'static str = "an integer of at least 0";

    fn to_attr(&self) -> Attr {
        Attr::Int(*self as i64)
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        i64::from_attr(attr)?.try_into().ok()
    }
}

impl AttrValue for f32 {
    const EXPECTED: &'static str = "a number";

    fn to_attr(&self) -> Attr {
        Attr::Float(*self)
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Float(x) => Some(*x),
            Attr::Int(x) => Some(*x as f32),
            _ => None,
        }
    }
}

impl AttrValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn to_attr(&self) -> Attr {
        Attr::Bool(*self)
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Bool(x) => Some(*x),
            _ => None,
        }
    }
}

/// A short list of sizes, one per axis.
pub type Sizes = SmallVec<[usize; 4]>;

impl AttrValue for Sizes {
    const EXPECTED: &'static str = "a list of integers of at least 0";

    fn to_attr(&self) -> Attr {
        Attr::Ints(self.iter().map(|x| *x as i64).collect())
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Ints(xs) => xs.iter().map(|x| usize::try_from(*x).ok()).collect(),
            _ => None,
        }
    }
}

/// A short list of integers, which may be negative.
pub type Ints = SmallVec<[i64; 4]>;

impl AttrValue for Ints {
    const EXPECTED: &'static str = "a list of integers";

    fn to_attr(&self) -> Attr {
        Attr::Ints(self.to_vec())
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Ints(xs) => Some(xs.iter().copied().collect()),
            _ => None,
        }
    }
}

/// A short list of f32.
pub type Floats = SmallVec<[f32; 4]>;

impl AttrValue for Floats {
    const EXPECTED: &'static str = "a list of numbers";

    fn to_attr(&self) -> Attr {
        Attr::Floats(self.to_vec())
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Floats(xs) => Some(xs.iter().copied().collect()),
            Attr::Ints(xs) => Some(xs.iter().map(|x| *x as f32).collect()),
            _ => None,
        }
    }
}

impl AttrValue for DType {
    const EXPECTED: &'static str = "an element type";

    fn to_attr(&self) -> Attr {
        Attr::Word(self.name().to_owned())
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Word(word) => DType::from_name(word),
            _ => None,
        }
    }
}

/// Declares an enum whose variants are bare words in the text form.
macro_rules! attr_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $crate::attr::AttrValue for $name {
            const EXPECTED: &'static str = concat!("one of", $(" ", $word),*);

            fn to_attr(&self) -> $crate::attr::Attr {
                $crate::attr::Attr::Word(match self { $(Self::$variant => $word,)* }.to_owned())
            }

            fn from_attr(attr: &$crate::attr::Attr) -> Option<Self> {
                match attr {
                    $crate::attr::Attr::Word(word) => match word.as_str() {
                        $($word => Some(Self::$variant),)*
                        _ => None,
                    },
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use attr_enum;
