//! `eightfold list`: the built-in operators, passes, kernels, targets and calibrators.

use clap::{Args, ValueEnum};
use eightfold::Error;
use eightfold::onnx::{Support, support};
use eightfold_codegen::kernel::KERNELS;
use eightfold_codegen::object::has_runtime;
use eightfold_codegen::schedule::SCHEDULE_PASSES;
use eightfold_codegen::target::TARGETS;
use eightfold_ir::Function;
use eightfold_passes::calibrate::OBSERVERS;
use eightfold_passes::{PASSES, Pass};
use serde::Serialize;

use super::output::{Format, table};

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eightfold list targets")]
pub(crate) struct Arguments {
    /// What to list.
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// ONNX operators that can be imported, with their element types and limits.
    Ops,
    /// Scalar functions, with the error of compiled code on f32.
    Functions,
    /// Passes on graphs, for --passes and --dump-after.
    Passes,
    /// Schedule passes, which decide how a program runs: for --dump-after, and for --passes on a program.
    SchedulePasses,
    /// Kernel families.
    Kernels,
    /// Targets, for --target.
    Targets,
    /// Calibrators, for --calibrator.
    Calibrators,
}

/// A row of a list.
#[derive(Serialize)]
struct Row {
    name: String,
    summary: String,
}

/// A row of the list of targets.
#[derive(Serialize)]
struct TargetRow {
    name: &'static str,
    summary: &'static str,
    architecture: &'static str,
    runs_here: bool,
    shared_libraries: bool,
    tested: &'static str,
}

/// A row of the list of operators.
#[derive(Serialize)]
struct Operator {
    name: &'static str,
    domain: &'static str,
    types: &'static str,
    limits: &'static str,
}

impl Row {
    fn new(name: &str, summary: &str) -> Row {
        Row { name: name.to_owned(), summary: summary.to_owned() }
    }
}

impl Arguments {
    /// Prints the list.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let rows: Vec<Row> = match self.what {
            What::Ops => return operators(format),
            What::Functions => Function::ALL.iter().map(|f| Row::new(f.name(), &f.accuracy().to_string())).collect(),
            What::Passes => PASSES.iter().map(|pass| pass_row(*pass)).collect(),
            What::SchedulePasses => SCHEDULE_PASSES.iter().map(|pass| Row::new(pass.name(), pass.summary())).collect(),
            What::Kernels => KERNELS.iter().map(|family| Row::new(family.name, family.summary)).collect(),
            What::Targets => return targets(format),
            What::Calibrators => OBSERVERS.iter().map(|row| Row::new(row.name, row.summary)).collect(),
        };
        format.print(&rows, || {
            let header = if self.what == What::Functions { ["name", "error on f32"] } else { ["name", "what it is"] };
            table(header, rows.iter().map(|row| [row.name.clone(), row.summary.clone()]), &[])
        })
    }
}

fn operators(format: Format) -> Result<(), Error> {
    let operator = |row: &Support| {
        let Support { name, domain, types, limits } = *row;
        Operator { name, domain, types, limits }
    };
    let rows: Vec<Operator> = support().iter().map(operator).collect();
    format.print(&rows, || {
        let cells = |row: &Operator| [row.name, row.domain, row.types, row.limits].map(str::to_owned);
        table(["name", "domain", "types", "limits"], rows.iter().map(cells), &[])
    })
}

fn targets(format: Format) -> Result<(), Error> {
    let rows: Vec<TargetRow> = TARGETS
        .iter()
        .map(|target| TargetRow {
            name: target.name,
            summary: target.summary,
            architecture: target.arch.name,
            runs_here: target.runs_here(),
            shared_libraries: has_runtime(target.arch),
            tested: target.tested.text(),
        })
        .collect();
    format.print(&rows, || {
        let cells = |row: &TargetRow| {
            let libraries = if row.shared_libraries { "" } else { "; objects only: this build has no runtime for it" };
            let here = if row.runs_here { "; runs on this machine" } else { "" };
            [row.name.to_owned(), format!("{}{here}{libraries}", row.summary), row.tested.to_owned()]
        };
        table(["name", "what it is", "tested"], rows.iter().map(cells), &[])
    })
}

fn pass_row(pass: &dyn Pass) -> Row {
    let inside = if pass.works_in_bodies() { "; also inside bodies" } else { "" };
    Row { name: pass.name().to_owned(), summary: format!("{}{inside}", pass.summary()) }
}
