//! What `benches/peers.py` writes: the figures of one alternating run.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One run over all models.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    /// Year, month, day.
    pub(crate) date: String,
    pub(crate) cpu: Cpu,
    /// Of the peers, by package.
    pub(crate) versions: BTreeMap<String, String>,
    /// How long each program of a model was measured.
    pub(crate) seconds: f64,
    pub(crate) models: Vec<Model>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) name: String,
    pub(crate) family: u32,
    pub(crate) model: u32,
    /// CPUs that the run could use.
    pub(crate) count: usize,
    /// Vector extensions, as Linux names them.
    pub(crate) features: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// Multiplications with additions of one inference; none where our importer does not know the model.
    pub(crate) macs: Option<u64>,
    /// GMAC/s of the CPU's multiply-and-add sequence by precision, measured just before.
    pub(crate) peak_gmacs: BTreeMap<String, f64>,
    pub(crate) groups: Vec<Group>,
}

/// The programs that took turns.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) threads: usize,
    pub(crate) programs: Vec<Program>,
}

/// One program on one model. What a program that does not run has not got is zero or none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// `eightfold`, or the package of the peer.
    pub(crate) maker: String,
    pub(crate) precision: String,
    /// Its own, which are fewer than the group's where it knows no more.
    pub(crate) threads: usize,
    /// `ok`, or what became of it.
    pub(crate) status: String,
    /// Why it is not `ok`.
    pub(crate) why: String,
    pub(crate) wall_ms: Option<Times>,
    /// Of all threads of the process together.
    pub(crate) cpu_ms: Option<Times>,
    /// From the file to the first result.
    pub(crate) load_ms: f64,
    /// What that takes of the CPU more than a later run.
    pub(crate) load_excess_cpu_ms: Option<f64>,
    /// All that the process held at most, Python and libraries included.
    pub(crate) peak_bytes: u64,
    /// What loading and running the model added.
    pub(crate) model_bytes: u64,
    pub(crate) file_bytes: u64,
    /// Likeness of the outputs to those of ONNX Runtime in f32.
    pub(crate) cosine: f64,
    /// Of artifacts only, as are the rest.
    pub(crate) target: String,
    pub(crate) code_bytes: u64,
    pub(crate) weight_bytes: u64,
    pub(crate) arena_bytes: u64,
    /// What no plan of the arena goes below.
    pub(crate) arena_bound_bytes: u64,
    /// Calibration apart.
    pub(crate) compile_seconds: f64,
}

/// Milliseconds of a run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Times {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) p99: f64,
}

impl Group {
    /// The times that count: by the CPU's clock for one thread, which other work on the machine disturbs least, and by
    /// the clock on the wall for more.
    pub(crate) fn times<'p>(&self, program: &'p Program) -> Option<&'p Times> {
        if self.threads == 1 { program.cpu_ms.as_ref() } else { program.wall_ms.as_ref() }
    }

    /// Milliseconds that count.
    pub(crate) fn ms(&self, program: &Program) -> Option<f64> {
        self.times(program).map(|times| times.median)
    }

    /// The quickest peer, of one precision or of all, and its milliseconds.
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

    /// Our program of this precision, for the CPU's own target.
    pub(crate) fn ours(&self, precision: &str) -> Option<&Program> {
        self.program(&format!("Eightfold {precision}"))
    }

    /// Our time in this precision over that of the quickest peer, of the same precision or of all.
    pub(crate) fn ratio(&self, ours: &str, peers: Option<&str>) -> Option<f64> {
        Some(self.ms(self.ours(ours)?)? / self.best_peer(peers)?.1)
    }
}

impl Model {
    /// The programs with so many threads.
    pub(crate) fn group(&self, threads: usize) -> Option<&Group> {
        self.groups.iter().find(|group| group.threads == threads)
    }

    /// What share of the int8 peak of all threads a run of so many milliseconds is, 0 to 1.
    pub(crate) fn share_of_peak(&self, ms: f64, threads: usize) -> Option<f64> {
        let peak = self.peak_gmacs.get("int8")? * 1e9 * threads as f64;
        Some(self.macs? as f64 / (ms / 1e3) / peak)
    }
}
