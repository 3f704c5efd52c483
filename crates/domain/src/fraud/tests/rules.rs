//! What is wrong with the thresholds of fraud checks.

use crate::MAX_SIGN_UPS_PER_ADDRESS;
use crate::fraud::{FraudChecks, FraudPolicy, MAX_WINDOW_HOURS};
use crate::rules::Faults;

fn faults(checks: &FraudChecks) -> Vec<String> {
    let mut faults = Faults::default();
    checks.check(&mut faults);
    faults.into_fields()
}

const NONE: [&str; 0] = [];

#[test]
fn the_defaults_have_no_faults() {
    assert_eq!(faults(&FraudChecks::default()), NONE);
    assert_eq!(faults(&FraudChecks::all()), NONE);
    assert!(FraudChecks::default().are_off() && !FraudChecks::all().are_off());
}

#[test]
fn every_threshold_out_of_bounds_is_named_at_once() {
    let all = FraudChecks::all();
    for (low_or_high, similarity) in [(0, 4_999), (MAX_SIGN_UPS_PER_ADDRESS + 1, 10_001)] {
        let mut checks = all.clone();
        let sign_ups = checks.sign_ups_per_address.as_mut().unwrap();
        (sign_ups.max_sign_ups, sign_ups.window_hours) = (low_or_high, low_or_high);
        let similar = checks.similar_address.as_mut().unwrap();
        similar.min_similarity_bps = similarity;
        similar.min_local_part_similarity_bps = 10_001;
        checks.referral_burst.as_mut().unwrap().max_referrals_per_hour = low_or_high;
        let expected = [
            "fraud_checks.sign_ups_per_address.max_sign_ups",
            "fraud_checks.sign_ups_per_address.window_hours",
            "fraud_checks.similar_address.min_similarity_bps",
            "fraud_checks.similar_address.min_local_part_similarity_bps",
            "fraud_checks.referral_burst.max_referrals_per_hour",
        ];
        assert_eq!(faults(&checks), expected);
    }
}

#[test]
fn thresholds_at_their_bounds_are_in_order() {
    for (count, burst, hours, similarity, local_part) in
        [(1, 1, 1, 5_000, 0), (MAX_SIGN_UPS_PER_ADDRESS, 100, MAX_WINDOW_HOURS, 10_000, 10_000)]
    {
        let mut checks = FraudChecks::all();
        let sign_ups = checks.sign_ups_per_address.as_mut().unwrap();
        (sign_ups.max_sign_ups, sign_ups.window_hours) = (count, hours);
        let similar = checks.similar_address.as_mut().unwrap();
        similar.min_similarity_bps = similarity;
        similar.min_local_part_similarity_bps = local_part;
        checks.referral_burst.as_mut().unwrap().max_referrals_per_hour = burst;
        assert_eq!(faults(&checks), NONE);
    }
}

#[test]
fn the_sixth_sign_up_from_one_address_is_refused() {
    let mut check = FraudChecks::all().sign_ups_per_address.unwrap();
    assert!(!check.refuses(4), "the fifth is in order");
    assert!(check.refuses(5) && check.refuses(6));
    check.policy = FraudPolicy::Hold;
    assert!(check.is_exceeded(5) && !check.refuses(5), "another policy refuses nobody");
}

#[test]
fn a_policy_that_is_harder_is_greater() {
    assert!(FraudPolicy::Flag < FraudPolicy::Hold && FraudPolicy::Hold < FraudPolicy::Reject);
}

#[test]
fn rules_from_before_fraud_checks_have_none() {
    let rules = crate::tests::programs::referral_count();
    let json = serde_json::to_value(&rules).unwrap();
    assert_eq!(json.get("fraud_checks"), None, "checks that are off take no room in the log");
    let read: crate::rules::ProgramRules = serde_json::from_value(json).unwrap();
    assert!(read.fraud_checks.are_off());
    let with = crate::tests::programs::tiered_points();
    let json = serde_json::to_value(&with).unwrap();
    assert_eq!(serde_json::from_value::<crate::rules::ProgramRules>(json).unwrap(), with);
}
