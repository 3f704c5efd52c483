//! What is wrong with settings: all of it is told at once, with the flag and the variable of each setting.

use std::fmt::{Display, Write as _};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::CliError;

/// Settings whose variables do not begin with the name of the program.
const FOREIGN_VARIABLES: [(&str, &str); 1] = [("smtp_url", "SMTP_URL")];

/// The faults that were found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    /// Adds a fault of the setting with this key of the file.
    pub(super) fn add(&mut self, key: &str, what: impl Display) {
        self.0.push(format!("{}: {what}", names(key)));
    }

    /// Adds a fault in its own words.
    pub(super) fn say(&mut self, fault: impl Display) {
        self.0.push(fault.to_string());
    }

    /// Sets a value, if one is given and within its bounds.
    pub(super) fn set<T: PartialOrd + Display>(
        &mut self,
        value: &mut T,
        key: &str,
        range: RangeInclusive<T>,
        given: Option<T>,
    ) {
        match given {
            Some(given) if range.contains(&given) => *value = given,
            Some(given) => {
                let (least, most) = range.into_inner();
                self.add(key, format_args!("must be {least} to {most}, not {given}"));
            }
            None => {}
        }
    }

    /// Sets a time, if a number of these units is given and within its bounds.
    pub(super) fn set_time(
        &mut self,
        value: &mut Duration,
        key: &str,
        unit: fn(u64) -> Duration,
        range: RangeInclusive<u64>,
        given: Option<u64>,
    ) {
        let mut number = *range.start();
        let before = self.0.len();
        self.set(&mut number, key, range, given);
        if given.is_some() && self.0.len() == before {
            *value = unit(number);
        }
    }

    /// The value, or its fault.
    pub(super) fn value<T, E: Display>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|fault| self.add(key, fault)).ok()
    }

    /// Succeeds if there is no fault.
    pub(super) fn result(self) -> Result<(), CliError> {
        match &*self.0 {
            [] => Ok(()),
            [fault] => Err(fault.as_str().into()),
            faults => {
                let mut text = format!("{} settings are wrong:", faults.len());
                for fault in faults {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\n  {fault}");
                }
                Err(text.into())
            }
        }
    }
}

/// How a setting is called on the command line and in the environment.
pub(super) fn names(key: &str) -> String {
    let foreign = FOREIGN_VARIABLES.iter().find(|(name, _)| *name == key);
    let variable = match foreign {
        Some((_, variable)) => (*variable).to_owned(),
        None => format!("TRIBUTARY_{}", key.to_uppercase()),
    };
    format!("--{} ({variable})", key.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};

    use super::*;
    use crate::cli::Settings;

    #[test]
    fn every_setting_is_named_as_the_command_line_and_the_environment_name_it() {
        for arg in Settings::augment_args(Command::new("")).get_arguments() {
            let flag = arg.get_long().unwrap_or_default();
            let variable = arg.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            assert_eq!(names(arg.get_id().as_str()), format!("--{flag} ({variable})"));
        }
    }

    #[test]
    fn all_faults_are_told_together() {
        let mut faults = Faults::default();
        let (mut streams, mut heartbeat) = (7, Duration::from_secs(15));
        faults.set(&mut streams, "streams", 1..=9, Some(8));
        faults.set_time(&mut heartbeat, "heartbeat_s", Duration::from_secs, 1..=60, Some(2));
        assert_eq!((streams, heartbeat), (8, Duration::from_secs(2)));
        faults.set(&mut streams, "streams", 1..=9, Some(10));
        let one = "--streams (TRIBUTARY_STREAMS): must be 1 to 9, not 10";
        faults.set_time(&mut heartbeat, "heartbeat_s", Duration::from_secs, 1..=60, Some(0));
        let other = "--heartbeat-s (TRIBUTARY_HEARTBEAT_S): must be 1 to 60, not 0";
        assert_eq!((streams, heartbeat), (8, Duration::from_secs(2)));
        let said = faults.result().map_err(|error| error.to_string());
        assert_eq!(said, Err(format!("2 settings are wrong:\n  {one}\n  {other}")));
        assert!(Faults::default().result().is_ok());
    }
}
