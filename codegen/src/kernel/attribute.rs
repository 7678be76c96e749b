//! Attributes of kernels: the data of a call that its views do not hold, printed between braces and parsed back.
//!
//! `attributes!` lists the fields of a family's struct once and derives printing and parsing. The text of a value
//! contains no `, ` and no braces.

use eightfold_ir::DType;

use crate::view::FARTHEST;

/// A value that can be printed and parsed.
pub(crate) trait Attribute: Sized {
    /// The value as text.
    fn text(&self) -> String;

    /// Parses a value; `None` if the text is malformed.
    fn parse(text: &str) -> Option<Self>;

    /// The default if the attribute is left out; `None` if it is required.
    fn absent() -> Option<Self> {
        None
    }

    /// The text of the value in keys of measurements; `None` if the value is the default or does not affect the time.
    fn key(&self) -> Option<String> {
        let text = self.text();
        let absent = Self::absent().is_some_and(|absent| absent.text() == text);
        (!absent).then_some(text)
    }
}

/// The attributes of a call as names and texts.
pub(crate) trait Attributes {
    /// Each attribute's name and text, without attributes that have their default value.
    fn attributes(&self) -> Vec<(&'static str, String)>;

    /// The attributes that affect the time of the call, with their [`Attribute::key`] as text.
    fn key_attributes(&self) -> Vec<(&'static str, String)>;

    /// Parses a call's data.
    ///
    /// # Errors
    /// Fails if an attribute is missing or malformed.
    fn parse(fields: &mut Fields<'_>) -> Result<Self, String>
    where
        Self: Sized;
}

/// Parsed `name=value` pairs; [`Fields::take`] removes one at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'t>(Vec<(&'t str, &'t str)>);

impl<'t> Fields<'t> {
    /// Splits a text such as `axis=1, fold=max`.
    ///
    /// # Errors
    /// Fails at a part without `=`.
    pub(crate) fn of(text: &'t str) -> Result<Fields<'t>, String> {
        let parts = text.split(", ").filter(|part| !part.is_empty());
        let field = |part: &'t str| part.split_once('=').ok_or_else(|| format!("expected name=value, got {part:?}"));
        parts.map(field).collect::<Result<_, _>>().map(Fields)
    }

    /// Removes the attribute with this name and parses its value.
    ///
    /// # Errors
    /// Fails if the attribute is missing and has no default, or if its text is malformed.
    pub(crate) fn take<T: Attribute>(&mut self, name: &str) -> Result<T, String> {
        let Some(at) = self.0.iter().position(|(own, _)| *own == name) else {
            return T::absent().ok_or_else(|| format!("attribute {name} is missing"));
        };
        let (_, text) = self.0.remove(at);
        T::parse(text).ok_or_else(|| format!("attribute {name} cannot be {text:?}"))
    }

    /// Checks that all attributes were taken.
    ///
    /// # Errors
    /// Fails with the name of the first attribute that was not taken.
    pub(crate) fn done(&self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("unknown attribute {name}")),
            None => Ok(()),
        }
    }
}

/// Lists all fields of a family's struct as attributes. `not in keys` lists the attributes that keys leave out:
/// choices, and values that affect results but not the time.
macro_rules! attributes {
    ($kernel:ident { $($field:ident),* $(,)? } $(, not in keys { $($free:ident),* })?) => {
        impl $crate::kernel::attribute::Attributes for $kernel {
            fn attributes(&self) -> Vec<(&'static str, String)> {
                let written: Vec<Option<(&'static str, String)>> =
                    vec![$($crate::kernel::attribute::written(stringify!($field), &self.$field)),*];
                written.into_iter().flatten().collect()
            }

            fn key_attributes(&self) -> Vec<(&'static str, String)> {
                $($(let _ = &self.$free;)*)?
                let free: &[&str] = &[$($(stringify!($free)),*)?];
                let keys: Vec<(&'static str, Option<String>)> = vec![$((stringify!($field), $crate::kernel::attribute::Attribute::key(&self.$field))),*];
                let keys = keys.into_iter().filter(|(name, _)| !free.contains(name));
                keys.filter_map(|(name, key)| Some((name, key?))).collect()
            }

            fn parse(fields: &mut $crate::kernel::attribute::Fields<'_>) -> Result<Self, String> {
                let kernel = $kernel { $($field: fields.take(stringify!($field))?),* };
                fields.done()?;
                Ok(kernel)
            }
        }
    };
}
pub(crate) use attributes;

/// The printed attribute; `None` if it has its default value.
pub(crate) fn written<T: Attribute>(name: &'static str, value: &T) -> Option<(&'static str, String)> {
    let text = value.text();
    let absent = T::absent().is_some_and(|absent| absent.text() == text);
    (!absent).then_some((name, text))
}

/// Joins the texts of the values with `between`.
pub(crate) fn join<T: Attribute>(values: &[T], between: &str) -> String {
    values.iter().map(T::text).collect::<Vec<_>>().join(between)
}

/// Parses values separated by `between`; an empty text has no values.
pub(crate) fn split<T: Attribute>(text: &str, between: char) -> Option<Vec<T>> {
    if text.is_empty() { Some(Vec::new()) } else { text.split(between).map(T::parse).collect() }
}

/// Numbers: printed by `Display`.
macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl Attribute for $ty {
            fn text(&self) -> String {
                self.to_string()
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

plain!(i32);

/// Extents and distances. Values beyond [`FARTHEST`] are rejected, because they address no memory.
macro_rules! extents {
    ($($ty:ty),*) => {$(
        impl Attribute for $ty {
            fn text(&self) -> String {
                self.to_string()
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok().filter(|number: &$ty| (*number as i128).abs() <= FARTHEST)
            }
        }
    )*};
}

extents!(usize, isize);

impl Attribute for bool {
    fn text(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn absent() -> Option<Self> {
        Some(false)
    }
}

impl Attribute for DType {
    fn text(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        DType::from_name(text)
    }
}

/// Extents: `1x14x14`.
impl<const N: usize> Attribute for [usize; N] {
    fn text(&self) -> String {
        join(self, "x")
    }

    fn parse(text: &str) -> Option<Self> {
        split(text, 'x')?.try_into().ok()
    }
}

/// Distances: `784,56,-4`.
impl<const N: usize> Attribute for [isize; N] {
    fn text(&self) -> String {
        join(self, ",")
    }

    fn parse(text: &str) -> Option<Self> {
        split(text, ',')?.try_into().ok()
    }
}

/// Numbers: `0,128`.
impl<const N: usize> Attribute for [i32; N] {
    fn text(&self) -> String {
        join(self, ",")
    }

    fn parse(text: &str) -> Option<Self> {
        split(text, ',')?.try_into().ok()
    }
}

/// Distances: `0,64,128`.
impl Attribute for Vec<isize> {
    fn text(&self) -> String {
        join(self, ",")
    }

    fn parse(text: &str) -> Option<Self> {
        split(text, ',')
    }
}

/// Lists of distances; each list ends with `;`: `0,64;;128;`.
impl Attribute for Vec<Vec<isize>> {
    fn text(&self) -> String {
        self.iter().map(|list| list.text() + ";").collect()
    }

    fn parse(text: &str) -> Option<Self> {
        text.split_terminator(';').map(Vec::parse).collect()
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    /// `some` if any list has an element: the key does not say how many there are.
    fn key(&self) -> Option<String> {
        self.iter().any(|list| !list.is_empty()).then(|| "some".to_owned())
    }
}

/// The bytes as a decimal number.
impl Attribute for [u8; 8] {
    fn text(&self) -> String {
        i64::from_le_bytes(*self).to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(i64::to_le_bytes)
    }
}

/// `none`, or the value.
impl<T: Attribute> Attribute for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::text)
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "none" { Some(None) } else { T::parse(text).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Blocks, Fold};

    #[derive(Debug, PartialEq)]
    struct Kernel {
        strides: [isize; 2],
        extra: Vec<Vec<isize>>,
        fold: Fold,
        blocks: Option<Blocks>,
        joined: bool,
    }

    attributes! { Kernel { strides, extra, fold, blocks, joined } }

    fn text(kernel: &Kernel) -> String {
        let fields = kernel.attributes();
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_is_printed_parses_back() {
        let blocks = Some(Blocks { size: 8, distance: -64 });
        let fold = Fold::DequantizedMean { scale: 1e-7, zero_point: -3 };
        let full = Kernel { strides: [64, -4], extra: vec![vec![1, 2], vec![], vec![3]], fold, blocks, joined: true };
        assert_eq!(text(&full), "strides=64,-4, extra=1,2;;3;, fold=mean/1e-7/-3, blocks=8@-64, joined=true");
        let empty = Kernel { extra: vec![vec![]], ..full };
        assert_eq!(text(&empty), "strides=64,-4, extra=;, fold=mean/1e-7/-3, blocks=8@-64, joined=true");
        let short = Kernel { extra: vec![], blocks: None, joined: false, fold: Fold::Max, ..empty };
        assert_eq!(text(&short), "strides=64,-4, fold=max");
        for text in
            ["strides=64,-4, extra=1,2;;3;, fold=mean/1e-7/-3, blocks=8@-64, joined=true", "strides=64,-4, fold=max"]
        {
            let kernel = Kernel::parse(&mut Fields::of(text).expect("fields")).expect("parses");
            assert_eq!(super::tests::text(&kernel), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| Fields::of(text).and_then(|mut fields| Kernel::parse(&mut fields)).expect_err("is wrong");
        assert_eq!(error("fold=max"), "attribute strides is missing");
        assert_eq!(error("strides=1, fold=max"), "attribute strides cannot be \"1\"");
        assert_eq!(error("strides=1,2, fold=max, axis=1"), "unknown attribute axis");
        assert_eq!(error("strides"), "expected name=value, got \"strides\"");
    }
}
