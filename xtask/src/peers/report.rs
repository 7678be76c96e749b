//! The tables of a run, as Markdown that is readable on a terminal.

use super::goals::{self, GOALS, Goal, Limit, MEAN_MOST, MEAN_OF};
use super::run::{Group, Model, Run};
use crate::table;

/// If wall time exceeds CPU time by this factor, the machine counts as busy.
const BUSY: f64 = 1.1;
const MIB: f64 = (1 << 20) as f64;

/// All tables.
pub(crate) fn report(run: &Run) -> String {
    let mut sections = vec![head(run)];
    for threads in threads(run) {
        let of = count(threads);
        if threads == 1 {
            sections.push(format!("## Goals, {of}\n\n{}", ratios(run, threads)));
            sections.push(format!("## Other goals\n\n{}", requirements(run)));
        } else {
            sections.push(format!("## {of}\n\n{}", ratios(run, threads)));
        }
    }
    for threads in threads(run) {
        let of = count(threads);
        let shares = shares(run, threads);
        sections.push(format!("## Milliseconds and share of the int8 peak, {of}\n\n{shares}"));
    }
    for threads in threads(run) {
        sections.push(format!("## Every program, {}\n\n{}", count(threads), programs(run, threads)));
    }
    sections.extend(absent(run));
    sections.join("\n\n") + "\n"
}

fn head(run: &Run) -> String {
    let cpu = &run.cpu;
    let versions: Vec<_> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut peaks: Vec<_> = run.models.iter().filter_map(|model| model.peak_gmacs.get("int8").copied()).collect();
    peaks.sort_by(f64::total_cmp);
    let peak = peaks.get(peaks.len() / 2).copied().unwrap_or(0.0);
    let mut text = format!(
        "# Eightfold and its peers, {}\n\n\
         {} (family {}, model {}; {}), {} CPUs; {}. Batch 1, f32 in and out, {} s a program in alternating rounds; \
         medians. The int8 peak of one thread is {peak:.0} GMAC/s. One thread by the CPU's clock, more by the clock on \
         the wall.",
        run.date,
        cpu.name,
        cpu.family,
        cpu.model,
        cpu.features.join(" "),
        cpu.count,
        versions.join(", "),
        run.seconds,
    );
    if let Some(waiting) = waiting(run).filter(|&waiting| waiting > BUSY) {
        text += &format!(
            "\n\n**Other work ran meanwhile**: by the wall one thread took {waiting:.1} times as long as by the CPU's \
             clock, so figures by the wall (more threads, loading) are not to be relied on."
        );
    }
    text
}

/// Median ratio of wall time to CPU time over runs with one thread.
fn waiting(run: &Run) -> Option<f64> {
    let programs = run.models.iter().filter_map(|model| model.group(1)).flat_map(|group| &group.programs);
    let mut ratios: Vec<_> =
        programs.filter_map(|program| Some(program.wall_ms?.median / program.cpu_ms?.median)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// The thread counts of the run, in order.
fn threads(run: &Run) -> Vec<usize> {
    let mut all: Vec<_> = run.models.iter().flat_map(|model| &model.groups).map(|group| group.threads).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn count(threads: usize) -> String {
    match threads {
        1 => "one thread".to_owned(),
        2 => "two threads".to_owned(),
        more => format!("{more} threads"),
    }
}

/// Our int8 with `--reduce-range=never`: the full range of weights, which needs extra products on CPUs without VNNI.
const FULL: &str = "int8 full range";

/// Our times against the fastest peer in any precision, and our f32 against the fastest f32; with the goals for one
/// thread.
fn ratios(run: &Run, threads: usize) -> String {
    let mut header = vec!["model", "best peer", "ms", "our int8", "ratio"];
    if threads == 1 {
        header.extend(["goal", "met"]);
    }
    header.extend(["full range", "ratio", "best f32 peer", "ms", "our f32", "ratio"]);
    let mut rows: Vec<Vec<String>> = models(run, threads)
        .map(|(goal, _, group)| {
            let ratio = group.ratio("int8", None);
            let mut row = vec![goal.model.to_owned()];
            row.extend(best(group, None));
            row.extend([ours(group, "int8"), figure(ratio)]);
            if threads == 1 {
                row.extend([format!("{:.2}", goal.most), verdict(Limit::AtMost(goal.most), ratio)]);
            }
            row.extend([ours(group, FULL), figure(group.ratio(FULL, None))]);
            row.extend(best(group, Some("f32")));
            row.extend([ours(group, "f32"), figure(group.ratio("f32", Some("f32")))]);
            row
        })
        .collect();
    let mean = goals::geometric_mean(run, threads, "int8").ok();
    let mut row = vec![format!("geometric mean of the first {MEAN_OF}")];
    row.extend(["", "", ""].map(str::to_owned));
    row.push(figure(mean));
    if threads == 1 {
        row.extend([format!("{MEAN_MOST:.2}"), verdict(Limit::AtMost(MEAN_MOST), mean)]);
    }
    row.extend([String::new(), figure(goals::geometric_mean(run, threads, FULL).ok())]);
    row.resize(header.len(), String::new());
    rows.push(row);
    let mut text = table::markdown(&header, &rows);
    let single = |(_, _, group): (_, _, &Group)| group.ours("int8").is_some_and(|ours| ours.threads < threads);
    if models(run, threads).any(single) {
        text += "\n\nOurs has one thread: compiled models know no more yet.";
    }
    text
}

fn requirements(run: &Run) -> String {
    let rows: Vec<_> = goals::requirements(run)
        .into_iter()
        .map(|requirement| {
            let limit = match requirement.limit {
                Limit::AtMost(most) => format!("at most {most}"),
                Limit::AtLeast(least) => format!("at least {least}"),
            };
            let met = verdict(requirement.limit, requirement.got.as_ref().ok().map(|(figure, _)| *figure));
            let got = match requirement.got {
                Ok((figure, model)) => format!("{figure:.2} {model}").trim_end().to_owned(),
                Err(why) => why,
            };
            vec![requirement.what, limit, got, met]
        })
        .collect();
    table::markdown(&["what", "goal", "got", "met"], &rows)
}

/// A row per model and a column per program: milliseconds, and the share of the peak if the model's MACs are known.
fn shares(run: &Run, threads: usize) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, _, group) in models(run, threads) {
        let new = group.programs.iter().map(|program| program.name.as_str());
        names.extend(new.filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    let header: Vec<_> = ["model"].into_iter().chain(names.iter().copied()).collect();
    let rows: Vec<_> = models(run, threads)
        .map(|(goal, model, group)| {
            let cells = names.iter().map(|name| match group.program(name) {
                None => String::new(),
                Some(program) => match group.ms(program) {
                    None => program.status.clone(),
                    Some(ms) => match model.share_of_peak(ms, program.threads) {
                        Some(share) => format!("{ms:.2} ({:.0}%)", 100.0 * share),
                        None => format!("{ms:.2}"),
                    },
                },
            });
            [goal.model.to_owned()].into_iter().chain(cells).collect()
        })
        .collect();
    table::markdown(&header, &rows)
}

/// A row per model and program with all figures.
fn programs(run: &Run, threads: usize) -> String {
    let header =
        ["model and program", "median ms", "min", "p99", "load ms", "peak MiB", "model's MiB", "file MiB", "cosine"];
    let mut rows = Vec::new();
    for (goal, _, group) in models(run, threads) {
        for program in &group.programs {
            let Some(times) = group.times(program) else { continue };
            let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB);
            let ms = |ms: f64| format!("{ms:.3}");
            rows.push(vec![
                format!("{} {}", goal.model, program.name),
                ms(times.median),
                ms(times.min),
                ms(times.p99),
                format!("{:.1}", program.load_ms),
                mib(program.peak_bytes),
                mib(program.model_bytes),
                mib(program.file_bytes),
                format!("{:.4}", program.cosine),
            ]);
        }
    }
    table::markdown(&header, &rows)
}

/// The programs that failed and why; listed once if the reason is the same for all thread counts.
fn absent(run: &Run) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for model in &run.models {
        for program in model.groups.iter().flat_map(|group| &group.programs).filter(|program| program.status != "ok") {
            let line = format!("- {}, {}: {}: {}", model.name, program.name, program.status, program.why);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    (!lines.is_empty()).then(|| format!("## What did not run\n\n{}", lines.join("\n")))
}

/// The models that the run has for `threads` threads, in the order of the goals.
fn models(run: &Run, threads: usize) -> impl Iterator<Item = (&'static Goal, &Model, &Group)> {
    GOALS.iter().filter_map(move |goal| {
        let model = run.models.iter().find(|model| model.name == goal.model)?;
        Some((goal, model, model.group(threads)?))
    })
}

fn best(group: &Group, precision: Option<&str>) -> [String; 2] {
    match group.best_peer(precision) {
        Some((peer, ms)) => [peer.name.clone(), format!("{ms:.2}")],
        None => [String::new(), String::new()],
    }
}

fn ours(group: &Group, precision: &str) -> String {
    match group.ours(precision) {
        None => String::new(),
        Some(ours) => group.ms(ours).map_or_else(|| ours.status.clone(), |ms| format!("{ms:.2}")),
    }
}

fn figure(figure: Option<f64>) -> String {
    figure.map(|figure| format!("{figure:.2}")).unwrap_or_default()
}

fn verdict(limit: Limit, figure: Option<f64>) -> String {
    match figure {
        None => "?",
        Some(figure) if limit.admits(figure) => "yes",
        Some(_) => "no",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::run::{Cpu, Program, Times};
    use super::*;

    fn program(name: &str, maker: &str, cpu: f64, wall: f64) -> Program {
        let times = |median| Some(Times { median, min: median, p99: median });
        let precision = if name.contains("int8") { "int8" } else { "f32" }.to_owned();
        Program {
            name: name.to_owned(),
            maker: maker.to_owned(),
            precision,
            threads: 1,
            status: "ok".to_owned(),
            wall_ms: times(wall),
            cpu_ms: times(cpu),
            load_excess_cpu_ms: Some(3.0),
            model_bytes: 9 << 20,
            weight_bytes: 3 << 20,
            arena_bytes: 1 << 20,
            arena_bound_bytes: 1 << 20,
            target: "x86-64-v3".to_owned(),
            ..Program::default()
        }
    }

    fn run() -> Run {
        let programs = vec![
            program("ORT f32", "onnxruntime", 12.0, 12.0),
            program("OpenVINO int8 NNCF", "openvino", 10.0, 10.0),
            Program {
                status: "crashed".to_owned(),
                wall_ms: None,
                cpu_ms: None,
                why: "signal".to_owned(),
                ..program("OpenVINO int8 QDQ", "openvino", 1.0, 1.0)
            },
            program("Eightfold f32", "eightfold", 15.0, 15.0),
            program("Eightfold int8", "eightfold", 9.0, 9.0),
            program("Eightfold int8 full range", "eightfold", 8.0, 8.0),
        ];
        let groups = [1, 2].map(|threads| Group { threads, programs: programs.clone() }).to_vec();
        let peak_gmacs = BTreeMap::from([("int8".to_owned(), 100.0)]);
        let model = |goal: &Goal| Model {
            name: goal.model.to_owned(),
            macs: Some(450_000_000),
            peak_gmacs: peak_gmacs.clone(),
            groups: groups.clone(),
        };
        Run {
            date: "2026-11-21".to_owned(),
            cpu: Cpu { name: "A CPU".to_owned(), family: 25, model: 1, count: 2, features: vec!["avx2".to_owned()] },
            versions: BTreeMap::from([("onnxruntime".to_owned(), "1.31.1".to_owned())]),
            seconds: 2.0,
            models: GOALS[..MEAN_OF].iter().map(model).collect(),
        }
    }

    /// The trimmed cells of the first row that starts with this text.
    fn row(text: &str, start: &str) -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(&format!("| {start}"))).expect(start);
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    }

    #[test]
    fn ratios_are_over_the_quickest_peer_and_held_against_the_goals() {
        let text = report(&run());
        let shown = row(&text, "resnet50 ");
        assert_eq!(
            shown,
            [
                "resnet50",
                "OpenVINO int8 NNCF",
                "10.00",
                "9.00",
                "0.90",
                "0.92",
                "yes",
                "8.00",
                "0.80",
                "ORT f32",
                "12.00",
                "15.00",
                "1.25"
            ]
        );
        assert_eq!(row(&text, "squeezenet1_1 ")[4..7], ["0.90", "0.80", "no"]);
        assert_eq!(row(&text, "geometric mean")[4..9], ["0.90", "0.70", "no", "", "0.80"]);
    }

    #[test]
    fn other_goals_name_the_worst_model_or_what_is_missing() {
        let text = requirements(&run());
        assert_eq!(row(&text, "f32 over the best f32 peer")[2..], ["1.25 resnet50", "no"]);
        assert_eq!(
            row(&text, "two threads over one, times faster, resnet50")[2..],
            ["our artifacts have one thread", "?"]
        );
        assert_eq!(row(&text, "AVX2 int8 over AVX2 f32")[2..], ["1.67", "yes"]);
        assert_eq!(row(&text, "load and excess")[2..], ["3.00", "yes"]);
        assert_eq!(row(&text, "resident memory")[2..], ["5.00 resnet50", "no"]);
    }

    #[test]
    fn a_share_is_of_the_peak_and_what_crashed_says_so() {
        let text = report(&run());
        let (_, shares) = text.split_once("## Milliseconds and share").expect("section");
        assert_eq!(
            row(shares, "resnet18 "),
            ["resnet18", "12.00 (38%)", "10.00 (45%)", "crashed", "15.00 (30%)", "9.00 (50%)", "8.00 (56%)"]
        );
        assert_eq!(text.matches("- resnet18, OpenVINO int8 QDQ: crashed: signal").count(), 1, "{text}");
    }

    #[test]
    fn two_threads_are_timed_by_the_wall_and_a_busy_machine_is_told() {
        let mut run = run();
        assert!(!report(&run).contains("Other work"));
        for program in run.models.iter_mut().flat_map(|model| &mut model.groups).flat_map(|group| &mut group.programs) {
            program.wall_ms = program.cpu_ms.map(|times| Times { median: 2.0 * times.median, ..times });
        }
        let text = report(&run);
        assert!(text.contains("one thread took 2.0 times as long"), "{text}");
        let (_, two) = text.split_once("## two threads").expect("section");
        assert_eq!(row(two, "resnet50 ")[..5], ["resnet50", "OpenVINO int8 NNCF", "20.00", "18.00", "0.90"]);
    }
}
