//! Tests the feature table: its bits, and its detection against that of the standard library.

use eightfold_runtime::features::{AARCH64_FEATURES, FeatureSet, X86_FEATURES, detect};

#[test]
fn rows_stand_in_the_order_of_their_bits_and_names_differ() {
    for table in [X86_FEATURES, AARCH64_FEATURES] {
        for (position, feature) in table.iter().enumerate() {
            assert_eq!(feature.bit as usize, position, "{}", feature.name);
            assert_eq!(table.iter().filter(|other| other.name == feature.name).count(), 1);
        }
    }
}

#[test]
fn a_set_knows_what_it_has_and_what_it_lacks() {
    let v3 = FeatureSet::from_names(X86_FEATURES, &["avx2", "fma"]).unwrap();
    assert_eq!(v3, FeatureSet([1 << 15 | 1 << 10, 0, 0, 0]));
    let vnni = FeatureSet::from_names(X86_FEATURES, &["fma", "avx512vnni"]).unwrap();
    assert!(v3.contains(v3) && v3.contains(FeatureSet::EMPTY) && !v3.contains(vnni));
    assert_eq!(v3.missing(vnni).names(X86_FEATURES).collect::<Vec<_>>(), ["avx512vnni"]);
    assert_eq!(v3.names(X86_FEATURES).collect::<Vec<_>>(), ["fma", "avx2"]);
    assert_eq!(FeatureSet::from_names(X86_FEATURES, &["avx2", "neon"]), Err("neon"));
    assert_eq!(FeatureSet::EMPTY.with(200), FeatureSet([0, 0, 0, 1 << 8]));
    assert_eq!(FeatureSet::EMPTY.with(256), FeatureSet::EMPTY);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn detection_agrees_with_the_standard_library() {
    let found = detect();
    macro_rules! agree {
        ($($ours:literal = $theirs:tt),* $(,)?) => {$(
            let ours = found.contains(FeatureSet::from_names(X86_FEATURES, &[$ours]).unwrap());
            assert_eq!(ours, std::arch::is_x86_feature_detected!($theirs), $ours);
        )*};
    }
    agree! {
        "sse3" = "sse3", "ssse3" = "ssse3", "cx16" = "cmpxchg16b", "sse4.1" = "sse4.1",
        "sse4.2" = "sse4.2", "popcnt" = "popcnt", "xsave" = "xsave", "avx" = "avx",
        "f16c" = "f16c", "fma" = "fma", "movbe" = "movbe", "lzcnt" = "lzcnt", "bmi" = "bmi1",
        "bmi2" = "bmi2", "avx2" = "avx2", "avx512f" = "avx512f", "avx512cd" = "avx512cd",
        "avx512bw" = "avx512bw", "avx512dq" = "avx512dq", "avx512vl" = "avx512vl",
        "avx512vnni" = "avx512vnni", "avx512vbmi" = "avx512vbmi", "avxvnni" = "avxvnni",
        "avx512bf16" = "avx512bf16",
    }
    assert!(found.contains(FeatureSet::from_names(X86_FEATURES, &["sse3", "sahf"]).unwrap()));
}
