//! Settings of who may call, how often, and over what: limits of calls, self-registration, TLS and web origins.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::CliError;
use super::settings::{Settings, set};
use crate::api::ServerSettings;
use crate::api::limits::Rates;
use crate::api::transport::{CertificateFiles, Tls};

/// The most calls a minute that a limit can be: a hundred thousand a second.
const MAX_CALLS_PER_MINUTE: u32 = 6_000_000;

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// The settings of a server with these, and otherwise the defaults.
pub(super) fn resolve(settings: &Settings) -> Result<ServerSettings, CliError> {
    Ok(ServerSettings {
        rates: rates(settings)?,
        self_registration: settings.self_registration != Some(Switch::Off),
        confirm_sign_ups: settings.confirm_sign_ups == Some(Switch::On),
        origins: settings.cors_origins.iter().flatten().cloned().collect(),
        tls: tls(settings)?,
        ..ServerSettings::default()
    })
}

fn rates(settings: &Settings) -> Result<Rates, CliError> {
    let mut rates = Rates::default();
    for (rate, name, given) in [
        (&mut rates.user, "user_calls_per_minute", settings.user_calls_per_minute),
        (&mut rates.back_end, "back_end_calls_per_minute", settings.back_end_calls_per_minute),
        (&mut rates.address, "address_calls_per_minute", settings.address_calls_per_minute),
        (
            &mut rates.open_address,
            "open_calls_per_address_per_minute",
            settings.open_calls_per_address_per_minute,
        ),
        (&mut rates.open, "open_calls_per_minute", settings.open_calls_per_minute),
    ] {
        set(rate, name, 0..=MAX_CALLS_PER_MINUTE, given)?;
    }
    Ok(rates)
}

fn tls(settings: &Settings) -> Result<Option<Tls>, CliError> {
    match (settings.tls_cert.clone(), settings.tls_key.clone()) {
        (Some(certificate), Some(key)) => {
            let loaded = Tls::load(CertificateFiles { certificate, key });
            Ok(Some(loaded.map_err(|error| format!("TLS: {error}"))?))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err("tls_cert needs tls_key, the private key of the certificate".into()),
        (None, Some(_)) => Err("tls_key needs tls_cert, the certificate of the key".into()),
    }
}
