//! `eightfold opt` on a program in text form: runs schedule passes.

use std::fs;
use std::path::Path;

use eightfold::Error;
use eightfold_codegen::choice::Choices;
use eightfold_codegen::program::{Program, parse, verify};
use eightfold_codegen::schedule::bands::Bands;
use eightfold_codegen::schedule::parallel::Threads;
use eightfold_codegen::schedule::{SCHEDULE_PASSES, ScheduleContext, SchedulePass};

/// Whether the file is a program in text form.
pub(super) fn is_program(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "program")
}

/// Reads a program and runs the named passes, by default those of its line `; run: bands, plan`. Calls `shown` after
/// each pass.
///
/// # Errors
/// If the file cannot be read, does not parse or verify, or names an unknown pass or option.
pub(super) fn scheduled(
    path: &Path,
    passes: &[String],
    shown: &mut dyn FnMut(&str, &Program),
) -> Result<Program, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let wrong = |reason: String| Error::Program { path: path.to_owned(), reason };
    let mut program = parse(&text).map_err(|error| wrong(error.to_string()))?;
    verify(&program).map_err(|error| wrong(error.to_string()))?;
    let recipe = ProgramRecipe::read(&text).map_err(wrong)?;
    let choices = Choices::default();
    let cx = ScheduleContext { threads: recipe.threads, bands: recipe.bands, choices: &choices };
    let names = if passes.is_empty() { &recipe.passes } else { passes };
    for name in names {
        let pass = pass(name)?;
        pass.run(&mut program, &cx);
        shown(pass.name(), &program);
    }
    verify(&program).map_err(|error| wrong(error.to_string()))?;
    Ok(program)
}

fn pass(name: &str) -> Result<&'static dyn SchedulePass, Error> {
    SCHEDULE_PASSES.iter().copied().find(|pass| pass.name() == name).ok_or_else(|| {
        let names: Vec<&str> = SCHEDULE_PASSES.iter().map(|pass| pass.name()).collect();
        Error::Usage(format!("--passes: expected one of {} for a program, got {name}", names.join(", ")))
    })
}

/// The lines `; key: value` in a program's text: `run`, passes separated by commas; `threads`, their number; `bands`,
/// the rows per band.
struct ProgramRecipe {
    passes: Vec<String>,
    threads: Threads,
    bands: Bands,
}

impl ProgramRecipe {
    fn read(text: &str) -> Result<ProgramRecipe, String> {
        let mut recipe = ProgramRecipe { passes: Vec::new(), threads: Threads::new(1), bands: Bands::WherePaid };
        for line in text.lines().map_while(|line| line.strip_prefix("; ")) {
            let number = |value: &str| match value.parse::<usize>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("expected a number from 1 in {line:?}")),
            };
            match line.split_once(": ") {
                Some(("run", names)) => recipe.passes = names.split(',').map(|name| name.trim().to_owned()).collect(),
                Some(("threads", value)) => recipe.threads = Threads::new(number(value)?),
                Some(("bands", value)) => recipe.bands = Bands::Always(number(value)?),
                _ => {}
            }
        }
        Ok(recipe)
    }
}
