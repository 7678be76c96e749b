//! The options for the calibrator and its setting: one for each row of [`OBSERVERS`] with a setting.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use eightfold::Error;
use eightfold::calibrate::DEFAULT_CALIBRATOR;
use eightfold_passes::calibrate::{OBSERVERS, Setting};

/// How a calibrator chooses ranges.
#[derive(Args, Clone, Debug)]
pub(crate) struct CalibratorArguments {
    /// The algorithm that chooses ranges, by default mse; `eightfold list calibrators` describes all of them.
    #[arg(long, value_name = "NAME")]
    calibrator: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

impl CalibratorArguments {
    /// The name of the calibrator, and the number that the user set for it.
    pub(crate) fn chosen(&self) -> Result<(String, Option<f64>), Error> {
        let calibrator = self.calibrator.as_deref().unwrap_or(DEFAULT_CALIBRATOR);
        if let Some(Given { setting, observer, .. }) = self.settings.0.iter().find(|given| given.observer != calibrator)
        {
            let name = setting.name;
            return Err(Error::Usage(format!(
                "--{name} is for --calibrator {observer}, the calibrator is {calibrator}"
            )));
        }
        Ok((calibrator.to_owned(), self.settings.0.first().map(|given| given.number)))
    }

    /// The name of an option that was given.
    pub(super) fn given(&self) -> Option<String> {
        let setting = || self.settings.0.first().map(|given| format!("--{}", given.setting.name));
        self.calibrator.is_some().then(|| "--calibrator".to_owned()).or_else(setting)
    }
}

/// The settings that were given. The derive macro cannot make options from a table, so clap's traits are implemented
/// here.
#[derive(Clone, Debug, Default)]
struct Settings(Vec<Given>);

/// A setting that was given.
#[derive(Clone, Debug)]
struct Given {
    observer: &'static str,
    setting: Setting,
    number: f64,
}

/// The observers that have a setting.
fn settings() -> impl Iterator<Item = (&'static str, Setting)> {
    OBSERVERS.iter().filter_map(|row| Some((row.name, row.setting?)))
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let argument = |(observer, setting): (&str, Setting)| {
            let Setting { name, summary, expected, default, .. } = setting;
            let help = format!("For {observer}: {summary}, {expected}; by default {default}");
            Arg::new(name).long(name).value_name("X").value_parser(value_parser!(f64)).help(help)
        };
        command.args(settings().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Settings::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let given = |(observer, setting): (&'static str, Setting)| {
            matches.get_one(setting.name).map(|number| Given { observer, setting, number: *number })
        };
        self.0 = settings().filter_map(given).collect();
        Ok(())
    }
}
