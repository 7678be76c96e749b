//! Tests the text form of calibration tables: its syntax, its round trip, and its error messages.

use eightfold_ir::quant::Symmetry;
use eightfold_passes::calibrate::{CalibrationTable, Calibrator, OBSERVERS, Range};
use proptest::prelude::*;

fn table() -> CalibrationTable {
    let mut calibrator = Calibrator::new(&OBSERVERS[0], None).unwrap();
    calibrator.observe("/features/1/Conv:0", &[0.1, 6.25]).unwrap();
    calibrator.observe("data", &[-2.117_904, 2.64]).unwrap();
    calibrator.observe("a \"b\" \\ é #1", &[-1e-30, 3e38]).unwrap();
    let table =
        CalibrationTable::new("squeezenet 1.1.onnx", "d4bccbe6f0df", 128, &calibrator, Symmetry::Affine).unwrap();
    CalibrationTable { means: [("data".to_owned(), vec![0.5, -0.25, 0.0])].into(), ..table }
}

const TEXT: &str = r##"eightfold calibration table 1
model "squeezenet 1.1.onnx"
hash d4bccbe6f0df
calibrator minmax
samples 128

# tensor  min  max
tensor /features/1/Conv:0 0.0 6.25
tensor "a \"b\" \\ é #1" -1e-30 3e38
tensor data -2.117904 2.64

# tensor  mean of each channel
mean data 0.5 -0.25 0.0
"##;

#[test]
fn prints_one_tensor_a_line_in_the_order_of_names() {
    assert_eq!(table().to_string(), TEXT);
    assert_eq!(TEXT.parse(), Ok(table()));
}

#[test]
fn reads_what_a_person_may_have_edited() {
    let edited = "\n# mine\n  eightfold calibration table 1 # first\r\nsamples 128\ncalibrator by-hand\n\ttensor  \"x\"\t-1 +2.5e0# tight\nhash 0\nmodel m\n\n";
    let table: CalibrationTable = edited.parse().unwrap();
    assert_eq!((table.samples, table.calibrator.as_str()), (128, "by-hand"));
    assert_eq!(table.ranges["x"], Range { min: -1.0, max: 2.5 });
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    let error = |from: &str, to: &str| {
        assert!(TEXT.contains(from));
        TEXT.replacen(from, to, 1).parse::<CalibrationTable>().unwrap_err().to_string()
    };
    assert_eq!(error("table 1", "table 2"), "line 1: expected version 1, got 2");
    assert_eq!(
        error("eightfold", "tensorrt"),
        "line 1: expected `eightfold calibration table` and its version, got `tensorrt`"
    );
    assert_eq!(error("samples 128", "samples many"), "line 5: expected the number of samples, got `many`");
    assert_eq!(error("samples 128\n", ""), "expected a line `samples`, got none");
    assert_eq!(error("hash d4", "hash d4 e5"), "line 3: expected end of line, got `e5bccbe6f0df`");
    assert_eq!(
        error("hash", "hsah"),
        "line 3: expected `model`, `hash`, `calibrator`, `samples`, `tensor` or `mean`, got `hsah`"
    );
    assert_eq!(error("hash d4bccbe6f0df", "samples 1"), "line 5: expected `samples` once, got it on line 3 too");
    assert_eq!(error(" 6.25", ""), "line 8: expected the range's upper end, got `end of line`");
    assert_eq!(error(" 6.25", " 6,25"), "line 8: expected a finite number, got `6,25`");
    assert_eq!(error(" 6.25", " inf"), "line 8: expected a finite number, got `inf`");
    assert_eq!(error(" 6.25", " 6.25 7"), "line 8: expected end of line, got `7`");
    assert_eq!(
        error(" 0.0 6.25", " 1.0 6.25"),
        "line 8: tensor `/features/1/Conv:0`: expected min <= 0 <= max, got min 1.0 and max 6.25"
    );
    assert_eq!(error("#1\"", "#1"), r#"line 9: expected a closing quote, got `"a \"b\" \\ é #1 -1e-30 3e38`"#);
    assert_eq!(error(" 0.5 -0.25 0.0", ""), "line 13: expected the mean of a channel, got `end of line`");
    assert_eq!(error("-0.25", "-0,25"), "line 13: expected a finite number, got `-0,25`");
    assert_eq!(error("0.0\n", "0.0\nmean data 1\n"), "line 14: expected `data` once, got it on line 13 too");
    assert!(error(r"\\ ", r"\q ").starts_with(r#"line 9: expected one of \" \\ \n \r \t \u{hex}, got "#));
    assert_eq!(
        error("tensor data", "tensor /features/1/Conv:0"),
        "line 10: expected `/features/1/Conv:0` once, got it on line 8 too"
    );
    assert_eq!(
        "# nothing\n".parse::<CalibrationTable>().unwrap_err().to_string(),
        "expected a line `eightfold calibration table`, got none"
    );
}

#[test]
fn marks_that_do_not_show_are_escaped() {
    let mut table = table();
    table.model = "a\u{202e}b\u{feff}\u{2028}\n\u{1b}é\u{a0}".to_owned();
    let text = table.to_string();
    assert!(text.contains(r#"model "a\u{202e}b\u{feff}\u{2028}\n\u{1b}é\u{a0}""#), "{text}");
    assert_eq!(text.parse(), Ok(table));
}

proptest! {
    #[test]
    fn round_trips(
        model in any::<String>(),
        samples in any::<u64>(),
        ranges in prop::collection::btree_map(
            prop_oneof![any::<String>(), "[ -~]{0,12}", "[\\\\\"# \t\r\n:/é]{0,6}"],
            (any::<f32>(), any::<f32>()).prop_filter("finite", |(a, b)| a.is_finite() && b.is_finite()),
            0..20,
        ),
        means in prop::collection::btree_map(
            any::<String>(),
            prop::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| x + 0.0), 1..5),
            0..5,
        ),
    ) {
        let ranges = ranges.into_iter().map(|(name, (a, b))| (name, Range { min: -a.abs(), max: b.abs() })).collect();
        let table = CalibrationTable { model: model.clone(), hash: model.clone(), calibrator: model, samples, ranges, means };
        let text = table.to_string();
        prop_assert_eq!(text.parse(), Ok(table));
        prop_assert_eq!(text.parse::<CalibrationTable>().unwrap().to_string(), text.replace(" -0.0 ", " 0.0 "));
    }

    #[test]
    fn never_panics(text in any::<String>(), cut in 0..TEXT.len()) {
        let _ = text.parse::<CalibrationTable>();
        let _ = format!("{}{text}", TEXT.get(..cut).unwrap_or("")).parse::<CalibrationTable>();
    }
}
