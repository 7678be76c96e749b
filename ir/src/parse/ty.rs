//! Parses types and quantization parameters.

use super::{ParseError, Parser, Reason, Result};
use crate::attr::{Attr, AttrValue, Floats, Sizes};
use crate::channel_order::ChannelOrder;
use crate::quant::{Granularity, QuantParams};
use crate::types::{DType, Layout, Shape, TensorType};

impl Parser<'_> {
    pub(super) fn dtype(&mut self) -> Result<DType> {
        let mut ahead = self.cursor;
        let Some(dtype) = ahead.word().and_then(DType::from_name) else {
            return Err(self.cursor.expected("an element type"));
        };
        self.cursor = ahead;
        Ok(dtype)
    }

    /// `1x3x8x8xf32` or `f32`, with an optional layout and quantization.
    pub(super) fn ty(&mut self) -> Result<TensorType> {
        let at = self.cursor.here();
        let mut ahead = self.cursor;
        let mut parts: Vec<&str> = ahead.letters().split('x').collect();
        let dtype = parts.pop().and_then(DType::from_name);
        let dims = parts.into_iter().map(|dim| dim.parse().ok()).collect::<Option<Shape>>();
        let (Some(shape), Some(dtype)) = (dims, dtype) else {
            return Err(self.cursor.expected("a type such as 1x3x8x8xf32"));
        };
        self.cursor = ahead;
        let mut ty = TensorType::new(dtype, shape);
        if !ty.is_addressable() {
            return Err(self.error_at(at, Reason::TooLarge { ty: Box::new(ty) }));
        }
        if self.cursor.eat_word("nhwc") {
            ty.layout = Layout::Nhwc;
        }
        if self.cursor.eat("#") {
            let at = self.cursor.here();
            let label = self.cursor.letters();
            let quant = self.quants.get(label).copied();
            let unknown = || Reason::UnknownQuant { label: label.to_owned() };
            ty.quant = Some(quant.ok_or_else(|| self.error_at(at, unknown()))?);
        }
        Ok(ty)
    }

    /// `ordered axis=1 from=[2, 0, 1]`, or nothing.
    pub(super) fn channel_order(&mut self) -> Result<Option<ChannelOrder>> {
        if !self.cursor.eat_word("ordered") {
            return Ok(None);
        }
        let axis = self.field("axis")?;
        let from: Sizes = self.field("from")?;
        Ok(Some(ChannelOrder { axis, from: from.into_iter().collect() }))
    }

    /// `#0 = u8 per_tensor scale=0.5 zero_point=3`.
    pub(super) fn qparams(&mut self) -> Result<()> {
        self.cursor.expect("#")?;
        let at = self.cursor.here();
        let label = self.cursor.letters();
        if label.is_empty() {
            return Err(self.cursor.expected("a label"));
        }
        self.cursor.expect("=")?;
        let storage = self.dtype()?;
        let granularity = if self.cursor.eat_word("per_tensor") {
            Granularity::PerTensor
        } else if self.cursor.eat_word("per_channel") {
            Granularity::PerChannel { axis: self.field("axis")? }
        } else if self.cursor.eat_word("blocked") {
            Granularity::Blocked { axis: self.field("axis")?, block: self.field("block")? }
        } else {
            return Err(self.cursor.expected("per_tensor, per_channel or blocked"));
        };
        let scale = self.field::<OneOrMore<f32>>("scale")?.list;
        let OneOrMore { list: mut zero_point, one } = self.field::<OneOrMore<i32>>("zero_point")?;
        if one {
            zero_point = vec![zero_point[0]; scale.len()];
        }
        let params = QuantParams { storage, granularity, scale: scale.into(), zero_point: zero_point.into() };
        let id = self.graph.add_qparams(params);
        match self.quants.insert(label, id) {
            None => Ok(()),
            Some(_) => Err(self.error_at(at, Reason::Redefined { name: format!("#{label}") })),
        }
    }

    /// `name=value`.
    fn field<T: AttrValue>(&mut self, name: &'static str) -> Result<T, ParseError> {
        if !self.cursor.eat_word(name) {
            return Err(self.cursor.expected(format!("{name}=")));
        }
        self.cursor.expect("=")?;
        let mut before = self.cursor;
        let attr = self.attr()?;
        T::from_attr(&attr).ok_or_else(|| before.expected(T::EXPECTED))
    }
}

/// One number per entry, or one number for all.
struct OneOrMore<T> {
    list: Vec<T>,
    one: bool,
}

impl AttrValue for OneOrMore<f32> {
    const EXPECTED: &'static str = "a number or a list of numbers";

    fn to_attr(&self) -> Attr {
        Attr::Floats(self.list.clone())
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match f32::from_attr(attr) {
            Some(x) => Some(OneOrMore { list: vec![x], one: true }),
            None => Floats::from_attr(attr).map(|list| OneOrMore { list: list.to_vec(), one: false }),
        }
    }
}

impl AttrValue for OneOrMore<i32> {
    const EXPECTED: &'static str = "an integer or a list of integers, of 32 bits";

    fn to_attr(&self) -> Attr {
        Attr::Ints(self.list.iter().map(|x| i64::from(*x)).collect())
    }

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Ints(list) => {
                let list = list.iter().map(|x| i32::try_from(*x).ok()).collect::<Option<_>>()?;
                Some(OneOrMore { list, one: false })
            }
            one => i32::from_attr(one).map(|x| OneOrMore { list: vec![x], one: true }),
        }
    }
}
