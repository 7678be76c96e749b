//! `eightfold eval`: accuracy on labelled data.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use eightfold::report::similarity::top;
use eightfold::session::executable::real;
use eightfold::{Error, Progress as _, Stage};
use serde::Serialize;

use super::arguments::{DataArguments, ImportArguments, ReferenceArguments, ThreadArguments};
use super::output::{Format, percent};
use super::progress::Terminal;

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
In JSON, top1 and top5 are fractions from 0 to 1.

Example:
  eightfold eval model.so --data test.npz --metric top1,top5
  eightfold eval model.onnx --data images/ --preprocess resize=256,crop=224,scale=1/255 --samples 128..500")]
pub(crate) struct Arguments {
    /// A compiled model (.so), or a model, which is compiled first (in f32 unless it is quantized).
    model: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Accuracy metrics.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "top1,top5")]
    metric: Vec<Metric>,
    /// The output with a score for each class; the last output by default.
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    #[command(flatten)]
    reference: ReferenceArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    #[command(flatten)]
    import: ImportArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Metric {
    /// Share of samples whose label has the highest score.
    Top1,
    /// Share of samples whose label is among the five highest scores.
    Top5,
}

/// The accuracy.
#[derive(Serialize)]
struct Report {
    samples: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    top1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top5: Option<f64>,
    output: String,
    target: String,
}

impl Arguments {
    /// Evaluates.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::plain();
        let mut executable = self.import.executable(&self.model, &self.reference, &self.threads, progress)?;
        let output = executable.output(self.output.as_deref())?;
        let description = executable.outputs()[output].clone();
        let data = self.data.open(&executable.inputs())?;
        if data.labels().is_none() {
            return Err(Error::NoLabels { path: self.data.data.clone() });
        }
        progress.stage(Stage::Evaluate);
        let samples = self.data.samples(&data)?;
        let batch = executable.inputs().first().and_then(|input| input.shape.first().copied()).unwrap_or(1).max(1);
        let (mut rows, mut hits) = (0, [0_u64; 2]);
        let count = samples.len();
        for (index, sample) in samples.enumerate() {
            progress.samples(index, count);
            let sample = sample?;
            let outputs = executable.run(&sample.inputs)?;
            let values = real(&description, &outputs[output]);
            let classes = values.len() / batch;
            if classes == 0 || !values.len().is_multiple_of(batch) {
                let reason =
                    format!("output {:?} ({description}) has no row for each of {batch} samples", description.name);
                return Err(Error::Incomparable { reason });
            }
            let is_class = |label: &&i64| usize::try_from(**label).is_ok_and(|label| label < classes);
            if let Some(at) = sample.labels.iter().position(|label| !is_class(&label)) {
                let (path, label, output) = (self.data.data.clone(), sample.labels[at], description.name);
                return Err(Error::Label {
                    path,
                    label,
                    row: self.data.first_row(batch) + rows + at as u64,
                    classes,
                    output,
                });
            }
            for (row, &label) in values.chunks_exact(classes).zip(&sample.labels) {
                let best = top(row, 5);
                let place = usize::try_from(label).ok().and_then(|label| best.iter().position(|&class| class == label));
                hits[0] += u64::from(place == Some(0));
                hits[1] += u64::from(place.is_some());
                rows += 1;
            }
        }
        progress.samples(count, count);
        progress.finish(&[])?;
        let share = |metric, hits: u64| self.metric.contains(&metric).then(|| hits as f64 / rows as f64);
        let report = Report {
            samples: rows,
            top1: share(Metric::Top1, hits[0]),
            top5: share(Metric::Top5, hits[1]),
            output: description.name,
            target: executable.variant().target.clone(),
        };
        format.print(&report, || {
            let metrics = [("top-1", report.top1), ("top-5", report.top5)];
            let metrics: Vec<String> = metrics
                .iter()
                .filter_map(|(name, share)| share.map(|share| format!("{name} {}", percent(share))))
                .collect();
            format!("{} of {} samples", metrics.join(", "), report.samples)
        })
    }
}
