//! `eightfold opt` on a program in text form: schedule passes, alone or in a row.

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

/// The program of a file after the passes named, or after those that its lines `; run: bands, plan` name; `shown` sees it
/// after each.
///
/// # Errors
/// The file cannot be read, is no program, breaks a rule, or names what there is not.
pub(super) fn scheduled(
    path: &Path,
    passes: &[String],
    shown: &mut dyn FnMut(&str, &Program),
) -> Result<Program, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let wrong = |reason: String| Error::Program { path: path.to_owned(), reason };
    let mut program = parse(&text).map_err(|error| wrong(error.to_string()))?;
    verify(&program).map_err(|error| wrong(error.to_string()))?;
    let recipe = Recipe::read(&text).map_err(wrong)?;
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

/// What a program's text says shall be run on it, in lines `; key: value`: `run`, passes with commas between them;
/// `threads`, their number; `bands`, the rows of each.
struct Recipe {
    passes: Vec<String>,
    threads: Threads,
    bands: Bands,
}

impl Recipe {
    fn read(text: &str) -> Result<Recipe, String> {
        let mut recipe = Recipe { passes: Vec::new(), threads: Threads::new(1), bands: Bands::WherePaid };
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
