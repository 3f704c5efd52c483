#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::net::IpAddr;
use std::time::Instant;

use governor::clock::FakeRelativeClock;
use http::HeaderMap;
use tonic_types::StatusExt;

use super::*;
use crate::access::Role;
use crate::api::permissions::rules;
use domain::UserId;

fn from(address: &str) -> ClientAddress {
    let peer: IpAddr = address.parse().unwrap();
    ClientAddress::of(peer, &HeaderMap::new(), &[])
}

fn rule(rpc: &str) -> Option<&'static Rule> {
    let found = rules().find(|rule| rule.rpc == rpc);
    assert!(found.is_some(), "{rpc}");
    found
}

fn limits(rates: &Rates) -> Limits {
    Limits::new(rates, Metrics::default())
}

fn off() -> Rates {
    Rates { user: 0, back_end: 0, address: 0, open_address: 0, open: 0, exempts_loopback: false }
}

fn user(user_id: &str) -> Principal {
    let user_id = UserId::parse(user_id).unwrap();
    Principal::User { user_id, session_id: "s".into(), role: Role::User }
}

/// How many of so many calls are admitted.
fn admitted(of: usize, call: impl Fn() -> Result<(), Limited>) -> usize {
    (0..of).filter(|_| call().is_ok()).count()
}

#[test]
fn a_limit_allows_its_number_at_once_and_then_one_after_the_other() {
    let clock = FakeRelativeClock::default();
    let limit = Limit::new(60, 10, clock.clone()).unwrap();
    assert_eq!((0..100).filter(|_| limit.take(&"one").is_ok()).count(), 60);
    let wait = limit.take(&"one").unwrap_err();
    assert_eq!(wait, Duration::from_secs(1));
    assert!(limit.take(&"other").is_ok(), "others have limits of their own");
    clock.advance(Duration::from_millis(999));
    assert_eq!(limit.take(&"one").unwrap_err(), Duration::from_millis(1));
    clock.advance(Duration::from_millis(1));
    // The calls that were refused have not counted.
    assert!(limit.take(&"one").is_ok());
    assert!(limit.take(&"one").is_err());
    clock.advance(Duration::from_mins(2));
    assert_eq!((0..100).filter(|_| limit.take(&"one").is_ok()).count(), 60);
}

#[test]
fn however_many_callers_there_are_a_limit_remembers_so_many_and_the_active_ones() {
    let clock = FakeRelativeClock::default();
    let limit = Limit::new(2, 3, clock).unwrap();
    for _ in 0..2 {
        limit.take(&0).unwrap();
    }
    for other in 1..1_000 {
        limit.take(&other).unwrap();
        assert!(limit.take(&0).is_err(), "who goes on calling is not forgotten");
    }
}

#[test]
fn back_ends_have_no_limit_unless_a_setting_gives_one() {
    let service =
        Principal::Key { id: Some("k".into()), role: Role::Service, user_id: None, limits: None };
    let call = |limits: &Limits, by: &Principal| {
        limits.admit(by, Some(from("192.0.2.1")), rule("RegisterUser"))
    };
    let none = limits(&Rates { user: 1, address: 1, open_address: 1, open: 1, ..off() });
    assert_eq!(admitted(1_000, || call(&none, &service)), 1_000);
    let some = limits(&Rates { back_end: 5, ..off() });
    assert_eq!(admitted(1_000, || call(&some, &service)), 5);
    assert_eq!(admitted(1_000, || call(&some, &Principal::ADMIN_KEY)), 5);
    assert_eq!(admitted(1_000, || call(&some, &Principal::Anonymous)), 1_000);
}

#[test]
fn users_count_for_themselves_and_callers_without_credentials_for_their_address() {
    let limits = limits(&Rates { user: 3, address: 2, ..off() });
    let call = |by: &Principal, address| limits.admit(by, Some(from(address)), rule("GetBalances"));
    assert_eq!(admitted(9, || call(&user("ada"), "192.0.2.1")), 3);
    assert_eq!(admitted(9, || call(&user("ada"), "192.0.2.2")), 0);
    let user_id = UserId::parse("ada").ok();
    let key = Principal::Key { id: Some("k".into()), role: Role::User, user_id, limits: None };
    assert_eq!(admitted(9, || call(&key, "192.0.2.3")), 0);
    assert_eq!(admitted(9, || call(&user("bob"), "192.0.2.1")), 3);
    assert_eq!(admitted(9, || call(&Principal::Anonymous, "192.0.2.1")), 2);
    assert_eq!(admitted(9, || call(&Principal::Anonymous, "2001:db8::1")), 2);
    assert_eq!(admitted(9, || call(&Principal::Anonymous, "2001:db8::2")), 0);
    assert_eq!(admitted(9, || limits.admit(&Principal::Anonymous, None, None)), 9);
}

#[test]
fn open_rpcs_have_limits_per_address_and_in_all_each_for_itself_whoever_the_user_is() {
    let limits = limits(&Rates { open_address: 2, open: 5, ..off() });
    let call = |by: &Principal, address, rpc| limits.admit(by, Some(from(address)), rule(rpc));
    let anonymous = Principal::Anonymous;
    assert_eq!(admitted(9, || call(&anonymous, "192.0.2.1", "RegisterUser")), 2);
    assert_eq!(admitted(9, || call(&user("ada"), "192.0.2.1", "RegisterUser")), 0);
    // What one address was refused does not count for all.
    assert_eq!(admitted(9, || call(&anonymous, "192.0.2.2", "RegisterUser")), 2);
    assert_eq!(admitted(9, || call(&anonymous, "192.0.2.3", "RegisterUser")), 1);
    assert_eq!(admitted(99, || call(&anonymous, "192.0.2.1", "ValidateReferralCode")), 20);
    assert_eq!(admitted(9, || call(&anonymous, "192.0.2.1", "GetBalances")), 9);
}

#[test]
fn whoever_calls_all_the_time_leaves_a_part_of_what_all_share_to_newcomers() {
    let limits = limits(&Rates { open: 20, ..off() });
    let call = |address| limits.admit(&Principal::Anonymous, Some(from(address)), rule("Login"));
    // Three calls as a newcomer, from the reserve of five, and the rest of fifteen.
    assert_eq!(admitted(99, || call("192.0.2.1")), 18);
    assert_eq!(admitted(9, || call("192.0.2.2")), 2);
    assert_eq!(admitted(9, || call("192.0.2.1")), 0);
    // One site is one newcomer, whichever of its networks it calls from.
    let limits = super::Limits::new(&Rates { open: 20, ..off() }, Metrics::default());
    let call =
        |address: &str| limits.admit(&Principal::Anonymous, Some(from(address)), rule("Login"));
    let networks: Vec<String> = (0..99).map(|net| format!("2001:db8:1:{net:x}::1")).collect();
    assert_eq!(networks.iter().filter(|address| call(address).is_ok()).count(), 18);
    assert_eq!(admitted(9, || call("192.0.2.2")), 2);
}

#[test]
fn wider_networks_have_limits_that_leave_room_for_several_customers() {
    let limits = limits(&Rates { open_address: 2, address: 3, ..off() });
    let of = |networks: &[&str], rpc| {
        let call = |address: &&&str| {
            limits.admit(&Principal::Anonymous, Some(from(address)), rule(rpc)).is_ok()
        };
        networks.iter().filter(call).count()
    };
    let home = ["2001:db8:1:1::1"; 9];
    assert_eq!(of(&home, "Login"), 2);
    let neighbour = ["2001:db8:1:2::1"; 9];
    assert_eq!(of(&neighbour, "Login"), 2);
    assert_eq!(of(&["2001:db8:1:3::1"; 9], "Login"), 0);
    assert_eq!(of(&["2001:db8:1:103::1"; 9], "Login"), 2);
    assert_eq!(of(&["2001:db8:1:203::1"; 9], "Login"), 2);
    assert_eq!(of(&["2001:db8:1:303::1"; 9], "Login"), 0);
    assert_eq!(of(&["2001:db8:2::1"; 9], "Login"), 2);
}

#[tokio::test]
async fn a_refusal_says_which_limit_and_the_true_time_to_wait_and_is_counted() {
    let metrics = Metrics::default();
    let limits = Limits::new(&Rates { address: 2, ..off() }, metrics.clone());
    let call = || limits.admit(&Principal::Anonymous, Some(from("192.0.2.1")), None);
    assert_eq!(admitted(2, call), 2);
    let began = Instant::now();
    let refused = call().unwrap_err().status().await;
    assert!(began.elapsed() >= MAX_PAUSE, "it is answered at once");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((&*info.reason, &*info.metadata["limit"]), ("RATE_LIMITED", "address"));
    let wait = details.retry_info().unwrap().retry_delay.unwrap();
    // One call is due every 30 seconds, and the answer came later.
    let due = Duration::from_secs(30).checked_sub(MAX_PAUSE).unwrap();
    assert!(wait > Duration::from_secs(25) && wait <= due, "{wait:?}");
    let counted = r#"tributary_calls_limited_total{limit="address"} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    assert!(!metrics.text().contains("192.0.2.1"));
}

#[test]
fn calls_from_this_machine_can_be_exempt() {
    let rates = Rates { address: 1, open: 1, exempts_loopback: true, ..off() };
    let limits = limits(&rates);
    let call =
        |address| limits.admit(&Principal::Anonymous, Some(from(address)), rule("RegisterUser"));
    assert_eq!(admitted(9, || call("127.0.0.1")), 9);
    assert_eq!(admitted(9, || call("::1")), 9);
    assert_eq!(admitted(9, || call("192.0.2.1")), 1);
}
