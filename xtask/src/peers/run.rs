//! The output of `benches/peers.py`: the figures of one alternating run.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One run over all models.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    /// Date as year, month, day.
    pub(crate) date: String,
    pub(crate) cpu: Cpu,
    /// Versions of the peers, by package.
    pub(crate) versions: BTreeMap<String, String>,
    /// Measuring time per program and model, in seconds.
    pub(crate) seconds: f64,
    pub(crate) models: Vec<Model>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) name: String,
    pub(crate) family: u32,
    pub(crate) model: u32,
    /// The number of CPUs available to the run.
    pub(crate) count: usize,
    /// Vector extensions, by their names in Linux.
    pub(crate) features: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// Multiply-accumulates per inference; `None` if our importer does not support the model.
    pub(crate) macs: Option<u64>,
    /// GMAC/s of the CPU's multiply-accumulate sequence by precision, measured just before.
    pub(crate) peak_gmacs: BTreeMap<String, f64>,
    pub(crate) groups: Vec<Group>,
}

/// The programs that took turns.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) threads: usize,
    pub(crate) programs: Vec<Program>,
}

/// One program on one model. Figures of a program that failed are zero or `None`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// `eightfold`, or the peer's package.
    pub(crate) maker: String,
    pub(crate) precision: String,
    /// The program's number of threads, which is less than the group's if it supports fewer.
    pub(crate) threads: usize,
    /// `ok`, or the kind of failure.
    pub(crate) status: String,
    /// The reason of the failure.
    pub(crate) why: String,
    pub(crate) wall_ms: Option<Times>,
    /// CPU time of all threads of the process.
    pub(crate) cpu_ms: Option<Times>,
    /// Time from the file to the first result.
    pub(crate) load_ms: f64,
    /// CPU time of the first inference in excess of a later one.
    pub(crate) load_excess_cpu_ms: Option<f64>,
    /// Peak memory of the process, including Python and libraries.
    pub(crate) peak_bytes: u64,
    /// Memory that loading and running the model added.
    pub(crate) model_bytes: u64,
    pub(crate) file_bytes: u64,
    /// Cosine of the outputs with those of ONNX Runtime in f32.
    pub(crate) cosine: f64,
    /// For artifacts only, like the fields below.
    pub(crate) target: String,
    pub(crate) code_bytes: u64,
    pub(crate) weight_bytes: u64,
    pub(crate) arena_bytes: u64,
    /// Lower bound of the arena's size.
    pub(crate) arena_bound_bytes: u64,
    /// Compile time without calibration.
    pub(crate) compile_seconds: f64,
}

/// Milliseconds per run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Times {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) p99: f64,
}

impl Group {
    /// The times that count: CPU time for one thread, which other work on the machine disturbs least; wall time for
    /// several threads.
    pub(crate) fn times<'p>(&self, program: &'p Program) -> Option<&'p Times> {
        if self.threads == 1 { program.cpu_ms.as_ref() } else { program.wall_ms.as_ref() }
    }

    /// The milliseconds that count.
    pub(crate) fn ms(&self, program: &Program) -> Option<f64> {
        self.times(program).map(|times| times.median)
    }

    /// The fastest peer, in one precision or in any, and its milliseconds.
    pub(crate) fn best_peer(&self, precision: Option<&str>) -> Option<(&Program, f64)> {
        let peers = self.programs.iter().filter(|program| program.maker != "eightfold");
        let peers = peers.filter(|program| precision.is_none_or(|precision| program.precision == precision));
        let timed = peers.filter_map(|program| Some((program, self.ms(program)?)));
        timed.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The program of this name.
    pub(crate) fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// Our program in this precision, for the CPU's native target.
    pub(crate) fn ours(&self, precision: &str) -> Option<&Program> {
        self.program(&format!("Eightfold {precision}"))
    }

    /// Our time in this precision over that of the fastest peer, in one precision or in any.
    pub(crate) fn ratio(&self, ours: &str, peers: Option<&str>) -> Option<f64> {
        Some(self.ms(self.ours(ours)?)? / self.best_peer(peers)?.1)
    }
}

impl Model {
    /// The group of programs with `threads` threads.
    pub(crate) fn group(&self, threads: usize) -> Option<&Group> {
        self.groups.iter().find(|group| group.threads == threads)
    }

    /// The share of the int8 peak of all threads that a run of `ms` milliseconds reaches, 0 to 1.
    pub(crate) fn share_of_peak(&self, ms: f64, threads: usize) -> Option<f64> {
        let peak = self.peak_gmacs.get("int8")? * 1e9 * threads as f64;
        Some(self.macs? as f64 / (ms / 1e3) / peak)
    }
}
