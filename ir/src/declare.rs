//! Declarations of operators: `op!`, and attributes and bodies in text form.

use crate::attr::{Attr, AttrValue};
use crate::body::Body;

/// Why a list of attributes does not fit an operator.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttrError {
    /// The operator has no attribute with this name.
    #[error("{op} has no attribute {name}; it has: {known}")]
    Unknown {
        /// The operator's text name.
        op: &'static str,
        /// The given name.
        name: String,
        /// All names.
        known: String,
    },
    /// The value of an attribute has the wrong kind.
    #[error("attribute {name} of {op} must be {expected}")]
    Kind {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        name: &'static str,
        /// The expected kind.
        expected: &'static str,
    },
    /// An attribute without a default is missing.
    #[error("{op} needs attribute {name}: {expected}")]
    Missing {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        name: &'static str,
        /// The expected kind.
        expected: &'static str,
    },
    /// The operator has other bodies.
    #[error("{op} has {expected}, got {got}")]
    Bodies {
        /// The operator's text name.
        op: &'static str,
        /// The names of its bodies.
        expected: String,
        /// The names given.
        got: String,
    },
}

/// Attributes and bodies in text form, in declaration order. Printer and parser are built on this trait.
pub trait Attributes: Sized {
    /// Returns the name and value of each attribute that differs from its default.
    fn to_attrs(&self) -> Vec<(&'static str, Attr)>;

    /// Creates the operator with these attributes and bodies. Other attributes get their defaults.
    ///
    /// # Errors
    /// If a name is unknown, a value has the wrong kind, or an attribute without a default or a body is missing.
    fn from_attrs(attrs: &[(String, Attr)], bodies: &[(String, Body)]) -> Result<Self, AttrError>;

    /// Returns the name and graph of each body.
    fn bodies(&self) -> Vec<(&'static str, &Body)>;

    /// The same, to be changed.
    fn bodies_mut(&mut self) -> Vec<(&'static str, &mut Body)>;
}

/// Returns the bodies, which must have these names, in this order. Used by `op!`.
pub(crate) fn read_bodies(
    op: &'static str,
    names: &[&str],
    bodies: &[(String, Body)],
) -> Result<std::vec::IntoIter<Body>, AttrError> {
    if bodies.iter().map(|(name, _)| name.as_str()).eq(names.iter().copied()) {
        return Ok(bodies.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>().into_iter());
    }
    let list = |names: Vec<&str>| match &*names {
        [] => "no bodies".to_owned(),
        [name] => format!("the body `{name}`"),
        names => format!("the bodies `{}`", names.join("`, `")),
    };
    let got = bodies.iter().map(|(name, _)| name.as_str()).collect();
    Err(AttrError::Bodies { op, expected: list(names.to_vec()), got: list(got) })
}

/// Returns the attribute `name`, its default, or an error. Used by `op!`.
pub(crate) fn read_attr<T: AttrValue>(
    op: &'static str,
    name: &'static str,
    attrs: &[(String, Attr)],
    default: Option<T>,
) -> Result<T, AttrError> {
    match attrs.iter().find(|(n, _)| n == name) {
        Some((_, attr)) => T::from_attr(attr).ok_or(AttrError::Kind { op, name, expected: T::EXPECTED }),
        None => default.ok_or(AttrError::Missing { op, name, expected: T::EXPECTED }),
    }
}

/// Declares the struct of an operator, with its attributes and their defaults (`= value`), and its bodies. An attribute
/// without a default is required.
macro_rules! op {
    ($(#[$doc:meta])* pub struct $name:ident = $text:literal {
        $($(#[$adoc:meta])* $attr:ident: $ty:ty $(= $default:expr)?,)*
    } $(bodies { $($(#[$bdoc:meta])* $body:ident,)* })?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$adoc])* pub $attr: $ty,)*
            $($($(#[$bdoc])* pub $body: $crate::body::Body,)*)?
        }

        impl $crate::declare::Attributes for $name {
            fn to_attrs(&self) -> Vec<(&'static str, $crate::attr::Attr)> {
                let attrs: Vec<Option<(&'static str, $crate::attr::Attr)>> = vec![$({
                    let default: Option<$ty> = $crate::declare::first_of!($(Some($default),)? None);
                    let differs = default.as_ref() != Some(&self.$attr);
                    differs.then(|| (stringify!($attr), $crate::attr::AttrValue::to_attr(&self.$attr)))
                },)*];
                attrs.into_iter().flatten().collect()
            }

            fn from_attrs(
                attrs: &[(String, $crate::attr::Attr)],
                bodies: &[(String, $crate::body::Body)],
            ) -> Result<Self, $crate::declare::AttrError> {
                let known: &[&'static str] = &[$(stringify!($attr)),*];
                if let Some((name, _)) = attrs.iter().find(|(n, _)| !known.contains(&n.as_str())) {
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err($crate::declare::AttrError::Unknown { op: $text, name: name.clone(), known });
                }
                let names: &[&str] = &[$($(stringify!($body)),*)?];
                let _bodies = &mut $crate::declare::read_bodies($text, names, bodies)?;
                Ok($name {
                    $($attr: $crate::declare::read_attr($text, stringify!($attr), attrs, $crate::declare::first_of!($(Some($default),)? None))?,)*
                    $($($body: _bodies.next().unwrap_or_else(|| unreachable!("as many as names")),)*)?
                })
            }

            fn bodies(&self) -> Vec<(&'static str, &$crate::body::Body)> {
                vec![$($((stringify!($body), &self.$body)),*)?]
            }

            fn bodies_mut(&mut self) -> Vec<(&'static str, &mut $crate::body::Body)> {
                vec![$($((stringify!($body), &mut self.$body)),*)?]
            }
        }
    };
}

/// Expands to the first of one or two expressions, to use a default if there is one.
macro_rules! first_of {
    ($first:expr, $second:expr) => {
        $first
    };
    ($only:expr) => {
        $only
    };
}
pub(crate) use first_of;
