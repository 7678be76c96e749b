//! Prints and parses the numbers and names of the text form.
//!
//! Floats print in the shortest form that reads back to the same bits, and always with a point or an exponent, so `1.0`
//! and `1` are different literals. Infinities and NaN are the words `inf`, `-inf` and `nan`.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use smallvec::SmallVec;

use crate::types::DType;

/// Returns true if `text` needs no quotes in the text form: `[A-Za-z_][A-Za-z0-9_.]*`.
pub(crate) fn is_word(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(rest)
}

/// Returns true if the character changes how the text around it is displayed: control characters, line breaks, and
/// characters that change the writing direction.
#[must_use]
pub fn misleads(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Prints a string in quotes. Escapes quotes, backslashes and characters for which [`misleads`] is true.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if misleads(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Prints a word without quotes, and any other string in quotes.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_word(self.0) { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

/// Prints a float in the shortest form that reads back to it, with a point or an exponent.
pub(crate) fn float(x: impl fmt::Debug + Into<f64> + Copy) -> String {
    if x.into().is_nan() { "nan".to_owned() } else { format!("{x:?}") }
}

/// The stored bytes of one element, at most eight.
pub(crate) type Bytes = SmallVec<[u8; 8]>;

/// Prints one element.
pub(crate) fn element(dtype: DType, bytes: &[u8]) -> String {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    match dtype {
        DType::F32 => float(f32::from_bits(bits as u32)),
        DType::F64 => float(f64::from_bits(bits)),
        DType::F16 => float(f16::from_bits(bits as u16).to_f32()),
        DType::Bf16 => float(bf16::from_bits(bits as u16).to_f32()),
        DType::U64 => bits.to_string(),
        DType::Bool => (bits != 0).to_string(),
        _ => dtype.wrap(bits as i64).to_string(),
    }
}

/// Parses one element. Rounds floats to nearest. `None` if the type cannot hold the number.
pub(crate) fn parse_element(dtype: DType, text: &str) -> Option<Bytes> {
    let in_range = |x: i64| match dtype.integer_range() {
        Some((min, max)) => (min..=max).contains(&x),
        None => true,
    };
    let bits = match dtype {
        DType::F32 => u64::from(parse_float::<f32>(text)?.to_bits()),
        DType::F64 => parse_float::<f64>(text)?.to_bits(),
        DType::F16 => u64::from(f16::from_f32(parse_float(text)?).to_bits()),
        DType::Bf16 => u64::from(bf16::from_f32(parse_float(text)?).to_bits()),
        DType::U64 => text.parse().ok()?,
        DType::Bool => match text {
            "true" | "1" => 1,
            "false" | "0" => 0,
            _ => return None,
        },
        _ => text.parse::<i64>().ok().filter(|x| in_range(*x))? as u64,
    };
    Some(SmallVec::from_slice(&bits.to_le_bytes()[..dtype.byte_size()]))
}

/// Parses a float: a number, or one of the words above.
pub(crate) fn parse_float<T: FromStr>(text: &str) -> Option<T> {
    // Rust also accepts other words, which the text form does not have.
    let known = matches!(text, "inf" | "-inf" | "nan") || text.ends_with(|c: char| c.is_ascii_digit());
    if known { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_carry_a_point_or_an_exponent() {
        for (x, text) in [(1.0, "1.0"), (-0.0, "-0.0"), (1e20, "1e20"), (0.018_658_4, "0.0186584"), (1e-9, "1e-9")] {
            assert_eq!(float(x as f32), text);
            assert_eq!(parse_float::<f32>(text).map(f32::to_bits), Some((x as f32).to_bits()));
        }
        for (x, text) in [(f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf"), (f32::NAN, "nan"), (-f32::NAN, "nan")] {
            assert_eq!(float(x), text);
        }
        assert_eq!(parse_float::<f32>("infinity"), None);
    }

    #[test]
    fn every_element_of_sixteen_bits_reads_back() {
        for dtype in [DType::F16, DType::Bf16, DType::I16, DType::U16] {
            for bits in 0..=u16::MAX {
                let text = element(dtype, &bits.to_le_bytes());
                let read = parse_element(dtype, &text).unwrap();
                assert!(read.as_slice() == bits.to_le_bytes() || text == "nan", "{dtype} {bits:#x} {text}");
            }
        }
    }

    #[test]
    fn elements_outside_the_type_are_refused() {
        assert_eq!(parse_element(DType::I8, "128"), None);
        assert_eq!(parse_element(DType::U4, "-1"), None);
        assert_eq!(parse_element(DType::I32, "1.0"), None);
        assert_eq!(parse_element(DType::I8, "-128").as_deref(), Some(&[0x80][..]));
        assert_eq!(parse_element(DType::U64, "18446744073709551615").as_deref(), Some(&[0xff; 8][..]));
    }

    #[test]
    fn names_that_are_no_words_are_quoted() {
        assert_eq!(Name("conv1.weight").to_string(), "conv1.weight");
        assert_eq!(Name("0").to_string(), "\"0\"");
        assert_eq!(Name("").to_string(), "\"\"");
        assert_eq!(Name("/a \"b\"\\\n\u{1}é").to_string(), "\"/a \\\"b\\\"\\\\\\n\\u{1}é\"");
        assert_eq!(Name("a\u{202e}b").to_string(), "\"a\\u{202e}b\"");
    }
}
