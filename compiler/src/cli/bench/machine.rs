//! `eightfold bench --machine`: the peak rates of one core.

use eightfold::measure::machine::{Level, MachinePeaks};

use crate::cli::output::{bytes, table};

/// The peaks as text.
pub(super) fn text(machine: &MachinePeaks) -> String {
    let giga = |rate: f64| format!("{:.1}", rate / 1e9);
    let mut rows = vec![
        ["int8".to_owned(), giga(machine.int8_macs_per_second), "GMAC/s".to_owned(), String::new()],
        ["f32".to_owned(), giga(machine.f32_macs_per_second), "GMAC/s".to_owned(), String::new()],
    ];
    rows.extend(
        machine.bf16_macs_per_second.map(|rate| ["bf16".to_owned(), giga(rate), "GMAC/s".to_owned(), String::new()]),
    );
    let operations = "32-bit operations".to_owned();
    rows.push(["epilogue".to_owned(), giga(machine.operations_per_second), "G/s".to_owned(), operations]);
    rows.extend(machine.levels.iter().map(|level| {
        let Level { name, bytes: size, read_bytes_per_second } = level;
        [name.clone(), giga(*read_bytes_per_second), "GB/s".to_owned(), size.map_or_else(String::new, bytes)]
    }));
    let cpu = if machine.cpu.is_empty() { "this cpu" } else { &machine.cpu };
    format!("one core of {cpu}, {}\n{}", machine.target, table(["", "peak", "", ""], rows, &[1]))
}
