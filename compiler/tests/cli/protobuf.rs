//! Writes small ONNX models byte by byte, so that tests can break them.

/// A field of bytes: text, or a message.
pub(crate) fn field(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field with a number.
pub(crate) fn number(number: u8, value: u64) -> Vec<u8> {
    [vec![number << 3], varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A node: operator, name, inputs, output.
pub(crate) fn node(op: &str, name: &str, reads: &[&str], makes: &str) -> Vec<u8> {
    let reads: Vec<u8> = reads.iter().flat_map(|read| field(1, read)).collect();
    field(1, [reads, field(2, makes), field(3, name), field(4, op)].concat())
}

/// The initializer `w` of two floats, stored in the file at `location`.
pub(crate) fn external(location: &str) -> Vec<u8> {
    let entry = field(13, [field(1, "location"), field(2, location)].concat());
    field(5, [number(1, 2), number(2, 1), field(8, "w"), entry, number(14, 1)].concat())
}

/// A model with these nodes and initializers, from the input `x` to the output `y`, two floats each.
pub(crate) fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    let shape = field(2, field(1, number(1, 2)));
    let ty = field(2, field(1, [number(1, 1), shape].concat()));
    let port = |name: &str| [field(1, name), ty.clone()].concat();
    let graph = [parts.concat(), field(2, "g"), field(11, port("x")), field(12, port("y"))].concat();
    [number(1, 8), field(7, graph), field(8, number(2, 17))].concat()
}
