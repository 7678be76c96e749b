//! Reads a model without the contents of its tensors, which are most of its bytes. Each is replaced by its position in
//! the file.
//!
//! So only a small message is decoded, and each tensor is later read once, directly into its final memory.

use std::ops::Range;

use super::entries::{self, Message, holds};
use super::source::Source;
use crate::onnx::error::OnnxError;

/// Field of a TensorProto with the raw elements.
const RAW_DATA: u64 = 9;

/// The maximum nesting of messages that the decoder accepts.
const DEEPEST: usize = 100;

/// The model with a [`place`] for the elements of each tensor; `None` if the bytes are not a model.
pub(super) fn skim(source: &mut Source<'_>) -> Result<Option<Vec<u8>>, OnnxError> {
    source.go_to(0)?;
    let end = source.size();
    message(source, Message::Model, end, 0)
}

/// The position of a tensor's elements, decoded from the bytes that replace them.
pub(super) fn place(bytes: &[u8]) -> Option<Range<u64>> {
    let (start, rest) = bytes.split_first_chunk()?;
    let end = rest.try_into().ok()?;
    Some(u64::from_le_bytes(*start)..u64::from_le_bytes(end))
}

/// Copies the fields of a message of this kind, up to `end`.
fn message(source: &mut Source<'_>, kind: Message, end: u64, depth: usize) -> Result<Option<Vec<u8>>, OnnxError> {
    let mut skimmed = Vec::new();
    if depth > DEEPEST {
        return Ok(None);
    }
    while source.position() < end {
        let Some(key) = varint(source, end, &mut skimmed)? else { return Ok(None) };
        let (field, wire) = (key >> 3, key & 7);
        let fixed = match wire {
            0 => {
                if varint(source, end, &mut skimmed)?.is_none() {
                    return Ok(None);
                }
                continue;
            }
            1 => Some(8),
            5 => Some(4),
            2 => None,
            _ => return Ok(None),
        };
        let length = match fixed {
            Some(length) => length,
            None => match varint(source, end, &mut Vec::new())? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        let start = source.position();
        let Some(behind) = start.checked_add(length).filter(|behind| *behind <= end) else { return Ok(None) };
        let contents = match (fixed, holds(kind, field)) {
            (None, Some(inner)) => match message(source, inner, behind, depth + 1)? {
                Some(contents) => contents,
                None => return Ok(None),
            },
            (None, None) if kind == Message::Tensor && field == RAW_DATA && length > 0 => {
                source.go_to(behind)?;
                [start.to_le_bytes(), behind.to_le_bytes()].concat()
            }
            _ => source.read(start..behind)?,
        };
        if fixed.is_none() {
            put_varint(&mut skimmed, contents.len() as u64);
        }
        skimmed.extend(contents);
    }
    Ok(Some(skimmed))
}

/// Reads a varint, and appends its bytes to `copy`; `None` if it does not end before `end`.
pub(super) fn varint(source: &mut Source<'_>, end: u64, copy: &mut Vec<u8>) -> Result<Option<u64>, OnnxError> {
    let start = copy.len();
    for _ in 0..10 {
        let Some(byte) = source.byte(end)? else { return Ok(None) };
        copy.push(byte);
        if byte & 0x80 == 0 {
            return Ok(entries::varint(&mut &copy[start..]));
        }
    }
    Ok(None)
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use prost::Message as _;

    use super::super::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
    use super::*;

    const ELEMENTS: usize = 300;

    /// A model with a tensor among its initializers and another in an attribute.
    fn model() -> ModelProto {
        let tensor = |fill: u8| TensorProto {
            name: format!("t{fill}"),
            dims: vec![ELEMENTS as i64],
            raw_data: vec![fill; ELEMENTS],
            ..Default::default()
        };
        let attribute = AttributeProto { t: Some(tensor(7)), ..Default::default() };
        let node = NodeProto { attribute: vec![attribute], ..Default::default() };
        let graph = GraphProto { node: vec![node], initializer: vec![tensor(5).encode_to_vec()], ..Default::default() };
        ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() }
    }

    fn skimmed(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut source = Source::new(Cursor::new(bytes), None).expect("memory can be read");
        skim(&mut source).expect("memory can be read")
    }

    #[test]
    fn elements_are_replaced_by_where_they_are_and_the_rest_stays() {
        let bytes = model().encode_to_vec();
        let mut small = ModelProto::decode(&*skimmed(&bytes).expect("a model")).expect("a model still");
        let graph = small.graph.as_mut().expect("a graph");
        let attribute = graph.node[0].attribute[0].t.as_mut().expect("a tensor");
        let mut initializer = TensorProto::decode(&*graph.initializer[0]).expect("a tensor");
        for (tensor, fill) in [(attribute, 7), (&mut initializer, 5)] {
            let place = place(&tensor.raw_data).expect("a place");
            tensor.raw_data = bytes[place.start as usize..place.end as usize].to_vec();
            assert_eq!(tensor.raw_data, [fill; ELEMENTS]);
        }
        graph.initializer[0] = initializer.encode_to_vec();
        assert_eq!(small, model());
    }

    #[test]
    fn what_is_cut_off_is_no_model() {
        let bytes = model().encode_to_vec();
        for length in 1..bytes.len() {
            let whole_fields = length == 2;
            assert_eq!(skimmed(&bytes[..length]).is_some(), whole_fields, "{length} bytes");
        }
    }
}
