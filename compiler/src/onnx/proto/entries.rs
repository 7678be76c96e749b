//! Counts the messages in a file before it is decoded: a message of two bytes can become a struct of hundreds of bytes.

/// Messages that contain messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
}

/// Fields that contain messages: the containing message, the field's number, and the contained message if it is one of
/// [`Message`].
const FIELDS: &[(Message, u64, Option<Message>)] = &[
    (Message::Model, 7, Some(Message::Graph)),
    (Message::Model, 8, None),
    (Message::Model, 14, None),
    (Message::Model, 25, Some(Message::Function)),
    (Message::Graph, 1, Some(Message::Node)),
    // Initializers, inputs, outputs, types of values, sparse initializers.
    (Message::Graph, 5, Some(Message::Tensor)),
    (Message::Graph, 11, None),
    (Message::Graph, 12, None),
    (Message::Graph, 13, None),
    (Message::Graph, 15, None),
    (Message::Function, 7, Some(Message::Node)),
    (Message::Function, 11, Some(Message::Attribute)),
    (Message::Node, 5, Some(Message::Attribute)),
    // A tensor, a graph, lists of both.
    (Message::Attribute, 5, Some(Message::Tensor)),
    (Message::Attribute, 6, Some(Message::Graph)),
    (Message::Attribute, 10, Some(Message::Tensor)),
    (Message::Attribute, 11, Some(Message::Graph)),
];

/// The kind of the messages in this field, if they contain messages.
pub(super) fn holds(message: Message, field: u64) -> Option<Message> {
    FIELDS.iter().find(|(of, number, _)| *of == message && *number == field).and_then(|(_, _, holds)| *holds)
}

/// The number of messages in a model. Invalid bytes end the count: decoding reports the error.
pub(super) fn count_entries(bytes: &[u8]) -> u64 {
    let mut count = 0;
    let mut work = vec![(Message::Model, bytes)];
    while let Some((message, mut rest)) = work.pop() {
        while let Some((field, contents)) = next_field(&mut rest) {
            let known = FIELDS.iter().find(|(of, number, _)| *of == message && *number == field);
            let Some((_, _, holds)) = known else { continue };
            count += 1;
            // A tensor contains no messages that count.
            work.extend(holds.filter(|holds| *holds != Message::Tensor).map(|holds| (holds, contents)));
        }
    }
    count
}

/// The number of the next field and its contents, which are empty unless the field has a length.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = varint(rest)?;
    let length = match key & 7 {
        0 => {
            varint(rest)?;
            0
        }
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some((key >> 3, if key & 7 == 2 { contents } else { &[] }))
}

/// Reads a varint and removes it from `bytes`; `None` if it does not end.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_at_any_depth() {
        // A graph of a node with an attribute that holds a graph of two initializers, and one more initializer.
        let inner: &[u8] = &[0x2a, 0, 0x2a, 0];
        let attribute = [&[0x32, inner.len() as u8][..], inner].concat();
        let node = [&[0x2a, attribute.len() as u8][..], &attribute].concat();
        let graph = [&[0x0a, node.len() as u8][..], &node, &[0x2a, 0]].concat();
        let model = [&[0x08, 8, 0x3a, graph.len() as u8][..], &graph].concat();
        // The graph, the node, the attribute, its graph, two initializers, and one.
        assert_eq!(count_entries(&model), 7);
        assert!(count_entries(&model[..model.len() - 1]) < 7);
    }
}
