//! Settings of who may call, how often, and over what: limits of calls, self-registration, TLS and web origins.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::faults::{Faults, names};
use super::optional::Optional;
use super::settings::Settings;
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
pub(super) fn resolve(settings: &Settings, faults: &mut Faults) -> ServerSettings {
    ServerSettings {
        rates: rates(settings, faults),
        self_registration: settings.self_registration != Some(Switch::Off),
        confirm_sign_ups: settings.confirm_sign_ups == Some(Switch::On),
        origins: Optional::list(settings.cors_origins.clone()).into_iter().collect(),
        tls: tls(settings, faults),
        ..ServerSettings::default()
    }
}

fn rates(settings: &Settings, faults: &mut Faults) -> Rates {
    let mut rates = Rates::default();
    for (rate, key, given) in [
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
        faults.set(rate, key, 0..=MAX_CALLS_PER_MINUTE, given);
    }
    rates
}

fn tls(settings: &Settings, faults: &mut Faults) -> Option<Tls> {
    let (certificate, key) = ("tls_cert", "tls_key");
    let given = |path: &Option<_>| Optional::of(path.clone());
    match (given(&settings.tls_cert), given(&settings.tls_key)) {
        (Some(certificate), Some(key)) => {
            let loaded = Tls::load(CertificateFiles { certificate, key });
            loaded.map_err(|error| faults.say(format_args!("TLS: {error}"))).ok()
        }
        (None, None) => None,
        (Some(_), None) => {
            faults.add(
                certificate,
                format_args!("needs {}, the certificate's private key", names(key)),
            );
            None
        }
        (None, Some(_)) => {
            faults.add(key, format_args!("needs {}, the key's certificate", names(certificate)));
            None
        }
    }
}
