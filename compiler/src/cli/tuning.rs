//! The arguments that say by which measurements kernels are chosen.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use eightfold::tune::{self, totals};
use eightfold::{Error, Optimized, Progress, check_writable, write_bytes};
use serde::Serialize;

use super::output::percent;

/// Which measurements.
#[derive(Args, Clone, Debug)]
pub(crate) struct TuningArguments {
    /// Time the kernels that there are for each product of the model, and take the fastest; this machine must run the
    /// target. Results are kept in the tuning file, and those that it has are not timed again. The outputs of the model
    /// are the same bytes whatever is chosen.
    #[arg(long)]
    tune: bool,
    /// Choose kernels by the measurements in this file; a cost model chooses for products that it does not know.
    /// With --tune the file to keep them in, by default the output's name with the extension .tuning.
    #[arg(long, value_name = "FILE")]
    tuning_file: Option<PathBuf>,
}

/// What became of the measurements.
#[derive(Serialize)]
pub(crate) struct TuningReport {
    file: String,
    /// Distinct products of the model.
    products: usize,
    /// Those of them that the file has.
    known: usize,
    /// Those that were timed now.
    timed: usize,
    /// Those of them for which the cost model would not have chosen the best.
    other_choices: usize,
    /// Microseconds in the products that were timed, in one inference, of the best choices.
    best_us: f64,
    /// The same of those of the cost model.
    model_us: f64,
    seconds: f64,
}

impl TuningArguments {
    /// Times what is to be timed, writes the file, and has the graph's kernels chosen by it.
    pub(crate) fn apply(
        &self,
        optimized: &mut Optimized,
        output: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Option<TuningReport>, Error> {
        let path = match (&self.tuning_file, self.tune) {
            (Some(path), _) => path.clone(),
            (None, true) => output.with_extension("tuning"),
            (None, false) => return Ok(None),
        };
        let begin = Instant::now();
        let (tuning, timed) = match self.tune {
            false => (tune::read(&path)?, Vec::new()),
            true => {
                check_writable(&path)?;
                let known = if path.exists() { Some(tune::read(&path)?) } else { None };
                let tuned = tune::tune(optimized, known, progress)?;
                write_bytes(&path, tuned.0.to_string().as_bytes())?;
                tuned
            }
        };
        optimized.tune_by(&tuning)?;
        let [known, products] = tune::known(optimized, &tuning)?;
        let [best_us, model_us] = totals(&timed);
        Ok(Some(TuningReport {
            file: path.display().to_string(),
            products,
            known,
            timed: timed.len(),
            other_choices: timed.iter().filter(|product| product.best.choice != product.model.choice).count(),
            best_us,
            model_us,
            seconds: begin.elapsed().as_secs_f64(),
        }))
    }
}

impl TuningReport {
    /// One line.
    pub(crate) fn text(&self) -> String {
        let TuningReport { file, products, known, timed, other_choices, best_us, model_us, seconds } = self;
        if *timed == 0 {
            return format!("{known} of {products} products by {file}");
        }
        let gain = percent(1.0 - best_us / model_us.max(f64::MIN_POSITIVE));
        format!(
            "{timed} of {products} products timed in {seconds:.1} s, {other_choices} done otherwise than the cost model says: \
             {:.3} ms instead of {:.3} ms, {gain} less; kept in {file}",
            best_us / 1e3,
            model_us / 1e3
        )
    }
}
