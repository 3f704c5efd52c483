//! Reading events back.

use cqrs_es::DomainEvent;
use cqrs_es::persist::SemanticVersion;

use crate::tests::scene::user;
use crate::user::UserDeactivated;
use crate::{
    DecodeError, EventCodec, Participant, ParticipantEvent, Program, ProgramEvent, Purchase,
    PurchaseEvent, ReferralMade, ReferralStatus, User, UserEvent, decode,
};

#[test]
fn is_read_back_as_it_was_written() {
    let event: ParticipantEvent = ReferralMade {
        referee_user_id: user("cem"),
        status: ReferralStatus::Pending,
        uses: 3,
        made_while_inactive: false,
    }
    .into();
    let payload = serde_json::to_string(&event).unwrap();
    let read = decode::<Participant>(&event.event_type(), &event.event_version(), &payload);
    assert_eq!(read.unwrap(), event);
}

#[test]
fn is_current_in_the_form_in_which_upcasters_write_its_version() {
    let event: UserEvent = UserDeactivated {}.into();
    let version: SemanticVersion = event.event_version().parse().unwrap();
    let read = decode::<User>("UserDeactivated", &version.to_string(), "{}");
    assert_eq!(read.unwrap(), event);
}

#[test]
fn of_a_type_that_does_not_exist_is_named() {
    let error = decode::<Program>("ProgramAbolished", "1.0", "{}").unwrap_err();
    assert_eq!(error.to_string(), "unknown event type 'ProgramAbolished'");
    let error = ProgramEvent::decode("ProgramAbolished", "{}").unwrap_err();
    assert_eq!(error.to_string(), "unknown event type 'ProgramAbolished'");
}

#[test]
fn of_a_version_from_the_future_is_not_guessed_at() {
    let error = decode::<User>("UserDeactivated", "9.0", "{}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "version 9.0 of event type 'UserDeactivated' is unknown to this release"
    );
}

#[test]
fn without_its_fields_or_without_json_is_not_read() {
    let version = PurchaseEvent::current_version("PurchaseRecorded").unwrap();
    for payload in ["{}", "not json", r#"{"buyer_user_id":5}"#] {
        let error = decode::<Purchase>("PurchaseRecorded", version, payload).unwrap_err();
        assert!(matches!(error, DecodeError::Shape { .. }), "{payload}: {error}");
    }
}

#[test]
fn has_a_version_for_each_type_and_none_for_others() {
    assert!(PurchaseEvent::current_version("PurchaseRecorded").is_some());
    assert_eq!(PurchaseEvent::current_version("RewardGranted"), None);
    assert!(ParticipantEvent::current_version("RewardGranted").is_some());
}
