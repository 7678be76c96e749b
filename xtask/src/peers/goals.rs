//! The goals for the figures of a run.

use super::run::{Group, Model, Program, Run};

/// The goal of a model: the maximum ratio of our int8 time to the time of the fastest peer in any precision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) model: &'static str,
    /// Whether it is a network with seeded weights, or a shared model.
    pub(crate) network: bool,
    pub(crate) most: f64,
}

/// In the order of the tables. The geometric mean of the first [`MEAN_OF`] has a goal, too.
pub(crate) const GOALS: &[Goal] = &[
    Goal { model: "resnet50", network: true, most: 0.92 },
    Goal { model: "resnet18", network: true, most: 1.00 },
    Goal { model: "squeezenet1_1", network: true, most: 0.80 },
    Goal { model: "mobilenet_v2", network: true, most: 0.70 },
    Goal { model: "shufflenet_v2_x1_0", network: true, most: 0.50 },
    Goal { model: "efficientnet_b0", network: true, most: 0.42 },
    Goal { model: "mobilenet_v3_large", network: true, most: 1.00 },
    Goal { model: "densenet121", network: true, most: 1.00 },
    Goal { model: "inception_v3", network: true, most: 1.00 },
    Goal { model: "unet_256", network: true, most: 1.00 },
    Goal { model: "yolox_nano", network: false, most: 1.00 },
    Goal { model: "ultraface_rfb320", network: false, most: 1.00 },
];

/// The number of models in [`GOALS`] that the geometric mean covers.
pub(crate) const MEAN_OF: usize = 6;
/// The maximum of the geometric mean.
pub(crate) const MEAN_MOST: f64 = 0.70;

const MIB: f64 = (1 << 20) as f64;

/// A figure and its limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requirement {
    pub(crate) what: String,
    pub(crate) limit: Limit,
    /// The figure and the model that it comes from, or why there is none.
    pub(crate) got: Result<(f64, String), String>,
}

/// A limit for a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    /// Whether the figure meets the limit.
    pub(crate) fn admits(self, figure: f64) -> bool {
        match self {
            Limit::AtMost(most) => figure <= most,
            Limit::AtLeast(least) => figure >= least,
        }
    }
}

/// Geometric mean of the ratios of our form `name` to the fastest peer, over the first models; an error if one is
/// missing.
pub(crate) fn geometric_mean(run: &Run, threads: usize, form: &str) -> Result<f64, String> {
    let mut sum = 0.0;
    for goal in &GOALS[..MEAN_OF] {
        let group = run.models.iter().find(|model| model.name == goal.model).and_then(|model| model.group(threads));
        let ratio = group.and_then(|group| group.ratio(form, None));
        sum += ratio.ok_or_else(|| format!("no ratio of {}", goal.model))?.ln();
    }
    Ok((sum / MEAN_OF as f64).exp())
}

/// The goals that are not ratios of single models.
pub(crate) fn requirements(run: &Run) -> Vec<Requirement> {
    let mut all = vec![Requirement {
        what: format!("int8 over the best peer, geometric mean of the first {MEAN_OF}"),
        limit: Limit::AtMost(MEAN_MOST),
        got: geometric_mean(run, 1, "int8").map(|mean| (mean, String::new())),
    }];
    for precision in ["f32", "bf16"] {
        all.push(Requirement {
            what: format!("{precision} over the best {precision} peer, the worst model"),
            limit: Limit::AtMost(1.0),
            got: worst(run, 1, f64::max, |_, group| group.ratio(precision, Some(precision)))
                .ok_or_else(|| format!("no {precision} on both sides")),
        });
    }
    all.push(resnet50(run, "two threads over one, times faster, resnet50", Limit::AtLeast(1.8), speedup));
    all.push(Requirement {
        what: "two threads over one, times faster, the worst model".to_owned(),
        limit: Limit::AtLeast(1.0),
        got: worst(run, 2, f64::min, |model, _| speedup(model).ok()).ok_or_else(|| SINGLE_THREADED.to_owned()),
    });
    all.push(resnet50(run, "AVX2 int8 over AVX2 f32, times faster, resnet50", Limit::AtLeast(1.5), |model| {
        let group = model.group(1).ok_or(NOT_MEASURED)?;
        let ms = |precision| group.ms(avx2(group, precision)?);
        Ok(ms("f32").ok_or(NOT_MEASURED)? / ms("int8").ok_or(NOT_MEASURED)?)
    }));
    all.push(resnet50(run, "load and excess of the first inference, ms, resnet50", Limit::AtMost(5.0), |model| {
        int8(model)?.load_excess_cpu_ms.ok_or(NOT_MEASURED)
    }));
    all.push(Requirement {
        what: "resident memory beyond weights and arena, MiB, the worst model".to_owned(),
        limit: Limit::AtMost(4.0),
        got: worst(run, 1, f64::max, |_, group| {
            let ours = group.ours("int8").filter(|ours| ours.status == "ok")?;
            Some((ours.model_bytes as f64 - (ours.weight_bytes + ours.arena_bytes) as f64) / MIB)
        })
        .ok_or_else(|| NOT_MEASURED.to_owned()),
    });
    all.push(Requirement {
        what: "arena over the lower bound from live ranges, the worst model".to_owned(),
        limit: Limit::AtMost(1.15),
        got: worst(run, 1, f64::max, |_, group| {
            let ours = group.ours("int8").filter(|ours| ours.status == "ok" && ours.arena_bound_bytes > 0)?;
            Some(ours.arena_bytes as f64 / ours.arena_bound_bytes as f64)
        })
        .ok_or_else(|| NOT_MEASURED.to_owned()),
    });
    all.push(resnet50(run, "code of the int8 artifact, kB, resnet50", Limit::AtMost(300.0), |model| {
        Ok(int8(model)?.code_bytes as f64 / 1e3)
    }));
    all.push(resnet50(run, "time to compile int8, s, resnet50", Limit::AtMost(20.0), |model| {
        Ok(int8(model)?.compile_seconds)
    }));
    all
}

const NOT_MEASURED: &str = "not measured";
const SINGLE_THREADED: &str = "our artifacts have one thread";

/// A figure of resnet50.
fn resnet50(run: &Run, what: &str, limit: Limit, figure: impl Fn(&Model) -> Result<f64, &'static str>) -> Requirement {
    let model = run.models.iter().find(|model| model.name == "resnet50").ok_or(NOT_MEASURED);
    let got = model.and_then(figure).map(|figure| (figure, String::new())).map_err(str::to_owned);
    Requirement { what: what.to_owned(), limit, got }
}

/// The figure that `pick` prefers to all others, and its model.
fn worst(
    run: &Run,
    threads: usize,
    pick: fn(f64, f64) -> f64,
    figure: impl Fn(&Model, &Group) -> Option<f64>,
) -> Option<(f64, String)> {
    let figures =
        run.models.iter().filter_map(|model| Some((figure(model, model.group(threads)?)?, model.name.clone())));
    figures.reduce(|a, b| if pick(a.0, b.0) == a.0 { a } else { b })
}

fn int8(model: &Model) -> Result<&Program, &'static str> {
    let ours = model.group(1).and_then(|group| group.ours("int8"));
    ours.filter(|ours| ours.status == "ok").ok_or(NOT_MEASURED)
}

/// Our program for AVX2: one compiled for AVX2, or the native one if the CPU has no more.
fn avx2<'g>(group: &'g Group, precision: &str) -> Option<&'g Program> {
    let own = || group.ours(precision).filter(|program| program.target == "x86-64-v3");
    group.program(&format!("Eightfold {precision} AVX2")).or_else(own)
}

/// Measured by the wall clock, as CPU time adds up over threads.
fn speedup(model: &Model) -> Result<f64, &'static str> {
    let wall = |threads| model.group(threads)?.ours("int8")?.wall_ms.map(|times| times.median);
    let two = model.group(2).ok_or(NOT_MEASURED)?.ours("int8").ok_or(NOT_MEASURED)?;
    if two.threads < 2 {
        return Err(SINGLE_THREADED);
    }
    Ok(wall(1).ok_or(NOT_MEASURED)? / wall(2).ok_or(NOT_MEASURED)?)
}
