//! Conversion of the fraud checks of a program between the contract and the domain.

use crate::api::fields::Fields;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::count;
use domain::fraud::{
    FraudCheck, FraudChecks, FraudPolicy, ReferralBurst, SignUpsPerAddress, SimilarAddress,
};

/// The checks, as the contract shows them; `None` if all are off.
pub(super) fn fraud_checks_message(checks: &FraudChecks) -> Option<pb::FraudChecks> {
    if checks.are_off() {
        return None;
    }
    Some(pb::FraudChecks {
        sign_ups_per_address: checks.sign_ups_per_address.map(|check| pb::SignUpsPerAddressCheck {
            max_sign_ups: Some(count(check.max_sign_ups)),
            window_hours: Some(count(check.window_hours)),
            policy: policy_message(check.policy).into(),
        }),
        same_mailbox: check_message(checks.same_mailbox),
        look_alike: check_message(checks.look_alike),
        similar_address: checks.similar_address.map(|check| pb::SimilarAddressCheck {
            min_similarity_bps: Some(count(check.min_similarity_bps)),
            min_local_part_similarity_bps: Some(count(check.min_local_part_similarity_bps)),
            policy: policy_message(check.policy).into(),
        }),
        fingerprint: check_message(checks.fingerprint),
        mutual_referral: check_message(checks.mutual_referral),
        referral_burst: checks.referral_burst.map(|check| pb::ReferralBurstCheck {
            max_referrals_per_hour: Some(count(check.max_referrals_per_hour)),
            policy: policy_message(check.policy).into(),
        }),
        disposable_domain: check_message(checks.disposable_domain),
    })
}

fn check_message(check: Option<FraudCheck>) -> Option<pb::FraudCheck> {
    check.map(|check| pb::FraudCheck { policy: policy_message(check.policy).into() })
}

pub(in crate::api) fn policy_message(policy: FraudPolicy) -> pb::FraudPolicy {
    match policy {
        FraudPolicy::Flag => pb::FraudPolicy::Flag,
        FraudPolicy::Hold => pb::FraudPolicy::Hold,
        FraudPolicy::Reject => pb::FraudPolicy::Reject,
    }
}

/// Reads the checks at a path of the request. A check that is absent is off; what a check leaves out has the default.
/// Numbers below 0 are faults here; the domain checks everything else.
pub(in crate::api) fn read_fraud_checks(
    fields: &mut Fields,
    path: &str,
    checks: Option<&pb::FraudChecks>,
) -> FraudChecks {
    let Some(checks) = checks else { return FraudChecks::default() };
    let simple = |check: Option<pb::FraudCheck>, default| {
        check.map(|check| FraudCheck { policy: read_policy(check.policy(), default) })
    };
    FraudChecks {
        sign_ups_per_address: checks.sign_ups_per_address.map(|check| {
            let SignUpsPerAddress { max_sign_ups, window_hours, policy } =
                SignUpsPerAddress::default();
            let mut number = numbers(fields, path, "sign_ups_per_address");
            SignUpsPerAddress {
                max_sign_ups: number("max_sign_ups", check.max_sign_ups, max_sign_ups),
                window_hours: number("window_hours", check.window_hours, window_hours),
                policy: read_policy(check.policy(), policy),
            }
        }),
        same_mailbox: simple(checks.same_mailbox, FraudChecks::SAME_MAILBOX),
        look_alike: simple(checks.look_alike, FraudChecks::LOOK_ALIKE),
        similar_address: checks.similar_address.map(|check| {
            let SimilarAddress { min_similarity_bps, min_local_part_similarity_bps, policy } =
                SimilarAddress::default();
            let mut number = numbers(fields, path, "similar_address");
            SimilarAddress {
                min_similarity_bps: number(
                    "min_similarity_bps",
                    check.min_similarity_bps,
                    min_similarity_bps,
                ),
                min_local_part_similarity_bps: number(
                    "min_local_part_similarity_bps",
                    check.min_local_part_similarity_bps,
                    min_local_part_similarity_bps,
                ),
                policy: read_policy(check.policy(), policy),
            }
        }),
        fingerprint: simple(checks.fingerprint, FraudChecks::FINGERPRINT),
        mutual_referral: simple(checks.mutual_referral, FraudChecks::MUTUAL_REFERRAL),
        referral_burst: checks.referral_burst.map(|check| {
            let ReferralBurst { max_referrals_per_hour, policy } = ReferralBurst::default();
            let mut number = numbers(fields, path, "referral_burst");
            ReferralBurst {
                max_referrals_per_hour: number(
                    "max_referrals_per_hour",
                    check.max_referrals_per_hour,
                    max_referrals_per_hour,
                ),
                policy: read_policy(check.policy(), policy),
            }
        }),
        disposable_domain: simple(checks.disposable_domain, FraudChecks::DISPOSABLE_DOMAIN),
    }
}

/// Reads the numbers of one check.
fn numbers<'a>(
    fields: &'a mut Fields,
    path: &'a str,
    check: &'static str,
) -> impl FnMut(&str, Option<i32>, u32) -> u32 + 'a {
    move |field, value, default| {
        let Some(value) = value else { return default };
        // The default causes no second fault.
        u32::try_from(value).unwrap_or_else(|_| {
            let field = format!("{path}.{check}.{field}");
            fields.fault(field, ErrorReason::InvalidProgram, "must not be negative");
            default
        })
    }
}

fn read_policy(policy: pb::FraudPolicy, default: FraudPolicy) -> FraudPolicy {
    match policy {
        pb::FraudPolicy::Unspecified => default,
        pb::FraudPolicy::Flag => FraudPolicy::Flag,
        pb::FraudPolicy::Hold => FraudPolicy::Hold,
        pb::FraudPolicy::Reject => FraudPolicy::Reject,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    fn read(json: &str) -> FraudChecks {
        let json = format!(r#"{{"fraud_checks": {json}}}"#);
        let program = contract::parse_program(&json).unwrap();
        let mut fields = Fields::default();
        let checks =
            read_fraud_checks(&mut fields, "program.fraud_checks", program.fraud_checks.as_ref());
        assert!(fields.finish(Some(())).is_ok());
        checks
    }

    #[test]
    fn an_empty_check_is_on_with_its_defaults_and_an_absent_one_is_off() {
        let all = r#"{
            "sign_ups_per_address": {}, "same_mailbox": {}, "look_alike": {}, "similar_address": {},
            "fingerprint": {}, "mutual_referral": {}, "referral_burst": {}, "disposable_domain": {}
        }"#;
        assert_eq!(read(all), FraudChecks::all());
        let one = FraudChecks { look_alike: FraudChecks::all().look_alike, ..Default::default() };
        assert_eq!(read(r#"{"look_alike": {}}"#), one);
        assert_eq!(read("{}"), FraudChecks::default());
        assert_eq!(fraud_checks_message(&FraudChecks::default()), None);
    }

    #[test]
    fn checks_that_are_shown_are_read_as_the_same_checks() {
        let mut other = FraudChecks::all();
        other.similar_address = Some(SimilarAddress {
            min_similarity_bps: 9_000,
            min_local_part_similarity_bps: 0,
            policy: FraudPolicy::Flag,
        });
        other.sign_ups_per_address = None;
        for checks in [FraudChecks::all(), other] {
            let shown = fraud_checks_message(&checks);
            assert_eq!(read_fraud_checks(&mut Fields::default(), "", shown.as_ref()), checks);
        }
    }

    #[test]
    fn every_negative_number_is_a_fault() {
        let check = pb::SimilarAddressCheck {
            min_similarity_bps: Some(-1),
            min_local_part_similarity_bps: Some(-1),
            policy: 0,
        };
        let checks = pb::FraudChecks { similar_address: Some(check), ..Default::default() };
        let mut fields = Fields::default();
        read_fraud_checks(&mut fields, "program.fraud_checks", Some(&checks));
        for field in ["min_similarity_bps", "min_local_part_similarity_bps"] {
            assert!(fields.has_fault(&format!("program.fraud_checks.similar_address.{field}")));
        }
    }
}
