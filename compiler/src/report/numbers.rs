//! Numbers and bytes as text.

/// A number of bytes with a unit: `43.1 KiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut number = count as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "B" { format!("{count} B") } else { format!("{number:.1} {unit}") }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
