//! An address from which people sign up.

use super::{NOW, given};
use crate::fraud::SignUpsPerAddress;
use crate::tests::scene::program;
use crate::{
    MAX_SIGN_UPS_PER_ADDRESS, Refusal, SignUpCounted, SignUpOrigin, SignUpOriginCommand,
    SignUpOriginEvent,
};

const DAY_SECONDS: i64 = 24 * 60 * 60;

fn counted(seconds: i64) -> SignUpOriginEvent {
    SignUpCounted { sign_up_time_us: NOW.plus_seconds(seconds) }.into()
}

fn count(max_sign_ups: u32, seconds: i64) -> SignUpOriginCommand {
    let check = SignUpsPerAddress { max_sign_ups, ..SignUpsPerAddress::default() };
    let now = NOW.plus_seconds(seconds);
    SignUpOriginCommand::Count { program_id: program("spring"), check, now }
}

fn refused(limit: u32, retry_seconds: i64) -> Refusal {
    let retry_seconds = retry_seconds.unsigned_abs();
    Refusal::TooManySignUps { program_id: program("spring"), limit, retry_seconds }
}

#[test]
fn the_sixth_sign_up_of_a_day_is_refused_until_the_first_is_a_day_old() {
    let five = [0, 10, 20, 30, 40].map(counted);
    given::<SignUpOrigin>(five.clone())
        .when(count(5, 50))
        .then_expect_error(refused(5, DAY_SECONDS - 50));
    given::<SignUpOrigin>(five.clone())
        .when(count(5, DAY_SECONDS - 1))
        .then_expect_error(refused(5, 1));
    given::<SignUpOrigin>(five)
        .when(count(5, DAY_SECONDS))
        .then_expect_events(vec![counted(DAY_SECONDS)]);
}

#[test]
fn with_a_lower_limit_than_before_one_waits_until_enough_are_out_of_the_window() {
    given::<SignUpOrigin>([0, 10, 20, 30, 40].map(counted))
        .when(count(2, 50))
        .then_expect_error(refused(2, 30 + DAY_SECONDS - 50));
}

#[test]
fn remembers_no_more_times_than_the_largest_limit() {
    let many = MAX_SIGN_UPS_PER_ADDRESS + 7;
    let wait = 7 + DAY_SECONDS - 2_000;
    given::<SignUpOrigin>((0..i64::from(many)).map(counted))
        .when(count(MAX_SIGN_UPS_PER_ADDRESS, 2_000))
        .then_expect_error(refused(MAX_SIGN_UPS_PER_ADDRESS, wait));
}

#[test]
fn a_server_whose_clock_is_slow_does_not_count_into_the_past() {
    given::<SignUpOrigin>([counted(10)]).when(count(5, 3)).then_expect_events(vec![counted(10)]);
}
