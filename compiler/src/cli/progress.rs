//! Progress on standard error: bars on a terminal, and dumps and pass times if requested.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use eightfold::{Error, Progress, Stage, write_bytes};
use eightfold_codegen::program::Program;
use eightfold_codegen::schedule::SCHEDULE_PASSES;
use eightfold_ir::Graph;
use eightfold_passes::{PASSES, PassReport};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{escaped, table};

/// What to show of the passes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PassArguments {
    /// Print the graph after this pass, the program after this schedule pass, or both after every pass (all).
    #[arg(long, value_name = "PASS|all")]
    dump_after: Option<String>,
    /// Write each dump to a file in this folder instead, with constants in full: each file can be compiled.
    #[arg(long, value_name = "FOLDER", requires = "dump_after")]
    dump_dir: Option<PathBuf>,
    /// Print the time of each pass.
    #[arg(long)]
    time_passes: bool,
    /// Stop all passes after N rewrites and name the last one: bisects a wrong result to one rewrite. The graph
    /// compiles for every N.
    #[arg(long, value_name = "N")]
    pub(crate) pass_limit: Option<usize>,
}

impl PassArguments {
    /// Checks that the named passes exist.
    fn check(&self) -> Result<(), Error> {
        let Some(wanted) = &self.dump_after else { return Ok(()) };
        let schedule = SCHEDULE_PASSES.iter().map(|pass| pass.name());
        let names: Vec<&str> = PASSES.iter().map(|pass| pass.name()).chain(schedule).collect();
        if wanted == "all" || names.contains(&wanted.as_str()) {
            return Ok(());
        }
        Err(Error::Usage(format!("--dump-after: expected all or one of {}, got {wanted}", names.join(", "))))
    }
}

/// Shows progress and records the time of each stage.
pub(crate) struct Terminal {
    bar: ProgressBar,
    passes: PassArguments,
    stages: Vec<(Stage, Instant)>,
    /// The first error of writing a dump.
    failed: Option<Error>,
    dumps: usize,
}

impl Terminal {
    /// A terminal that shows nothing of the passes.
    pub(crate) fn plain() -> Terminal {
        Terminal {
            // Draws nothing if standard error is not a terminal.
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            passes: PassArguments::default(),
            stages: Vec::new(),
            failed: None,
            dumps: 0,
        }
    }

    /// A terminal that shows what `passes` requests.
    ///
    /// # Errors
    /// If a pass has an unknown name, or the folder cannot be made.
    pub(crate) fn new(passes: &PassArguments) -> Result<Terminal, Error> {
        passes.check()?;
        if let Some(folder) = &passes.dump_dir {
            fs::create_dir_all(folder)
                .map_err(|error| Error::Usage(format!("cannot make the folder {} ({error})", folder.display())))?;
        }
        let mut terminal = Terminal::plain();
        terminal.passes = passes.clone();
        Ok(terminal)
    }

    /// Ends the bar and prints the requested times.
    ///
    /// # Errors
    /// The first error of writing a dump.
    pub(crate) fn finish(&mut self, reports: &[PassReport]) -> Result<(), Error> {
        self.bar.finish_and_clear();
        if self.passes.time_passes {
            anstream::eprintln!("{}", times(reports));
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// The stages so far with their times.
    pub(crate) fn stages(&self) -> Vec<(&'static str, Duration)> {
        let ends = self.stages.iter().skip(1).map(|(_, begin)| *begin).chain([Instant::now()]);
        self.stages.iter().zip(ends).map(|((stage, begin), end)| (stage.name(), end - *begin)).collect()
    }

    /// Dumps the result of a pass if requested: `text` to the terminal, or `whole` to a file.
    fn dump(&mut self, pass: &str, form: &str, text: impl Fn() -> String, whole: impl Fn() -> String) {
        let number = self.dumps;
        self.dumps += 1;
        if self.passes.dump_after.as_ref().is_none_or(|wanted| wanted != "all" && wanted != pass) {
            return;
        }
        let Some(folder) = &self.passes.dump_dir else {
            return self.bar.suspend(|| anstream::eprintln!("; after {pass}\n{}", escaped(&text())));
        };
        let file = folder.join(format!("{number:02}-{pass}.{form}"));
        if let Err(error) = write_bytes(&file, whole().as_bytes()) {
            self.failed.get_or_insert(error.into());
        }
    }
}

impl Drop for Terminal {
    /// Clears the bar if a verb ends with an error.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Terminal {
    fn stage(&mut self, stage: Stage) {
        self.stages.push((stage, Instant::now()));
        self.bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.bar.set_message(stage.name());
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn pass(&mut self, report: &PassReport, graph: &Graph) {
        self.bar.set_message(report.pass);
        self.dump(report.pass, "ir", || graph.to_string(), || eightfold_ir::print_full(graph));
    }

    fn schedule_pass(&mut self, name: &str, program: &Program) {
        self.dump(name, "program", || program.to_string(), || program.to_string());
    }

    fn note(&mut self, message: &str) {
        self.bar.suspend(|| anstream::eprintln!("{}", escaped(message)));
    }

    fn samples(&mut self, done: usize, of: usize) {
        if done == 0 {
            let stage = self.stages.last().map_or("", |(stage, _)| stage.name());
            self.bar.set_message(stage);
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_length(of as u64);
        }
        self.bar.set_position(done as u64);
        if done == of {
            self.bar.finish_and_clear();
            self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        }
    }
}

/// A table of the time and the rewrites of each pass.
fn times(reports: &[PassReport]) -> String {
    let ms = |time: Duration| format!("{:.2}", 1e3 * time.as_secs_f64());
    let row = |r: &PassReport| [r.pass.to_owned(), r.rewrites.to_string(), r.nodes.to_string(), ms(r.elapsed)];
    let mut text = table(["pass", "rewrites", "nodes", "ms"], reports.iter().map(row), &[1, 2, 3]);
    let total: Duration = reports.iter().map(|report| report.elapsed).sum();
    _ = write!(text, "\n passes: {} ms", ms(total));
    text
}
