//! A range of samples, as given on the command line.

use std::ops::Range;
use std::str::FromStr;

use super::error::DatasetError;

/// `0..128`, `128..`, `..128`; by default all samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleRange {
    /// The first, from 0.
    pub begin: usize,
    /// The end (exclusive); `None` for the end of the data.
    pub end: Option<usize>,
}

impl FromStr for SampleRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "expected BEGIN..END, two positions counted from 0, either of which may be left out".to_owned();
        let (begin, end) = text.split_once("..").ok_or_else(expected)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| expected());
        let begin = if begin.is_empty() { 0 } else { number(begin)? };
        let end = if end.is_empty() { None } else { Some(number(end)?) };
        Ok(SampleRange { begin, end })
    }
}

impl SampleRange {
    /// The indices in data of `count` samples.
    pub(super) fn of(&self, count: usize) -> Result<Range<usize>, DatasetError> {
        let (begin, end) = (self.begin, self.end.unwrap_or(count));
        match begin < end && end <= count {
            true => Ok(begin..end),
            false => Err(DatasetError::NoSuchSamples { begin, end, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_may_be_left_out() {
        assert_eq!("128..".parse(), Ok(SampleRange { begin: 128, end: None }));
        assert_eq!("..7".parse::<SampleRange>().unwrap().of(9).unwrap(), 0..7);
        assert!("128".parse::<SampleRange>().is_err());
        let error = SampleRange { begin: 3, end: Some(10) }.of(9).unwrap_err();
        assert_eq!(error.to_string(), "samples 3..10 do not exist: there are 9 samples");
    }
}
