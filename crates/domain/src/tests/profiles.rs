//! Names, addresses and second factors: which claims are exchanged, and what is refused.

use crate::decide::{
    ChangeSecondFactor, Command, ConfirmEmail, Exchange, RegisterUser, UpdateProfile,
};
use crate::tests::programs::tiered_points;
use crate::tests::scene::{PROGRAM, Scene, profile, program, refused, user};
use crate::{
    AnyEvent, ClaimKind, Halt, MailKind, Personal, Refusal, SecondFactor, TokenPurpose, User,
    UserEvent,
};

#[allow(clippy::unnecessary_wraps, reason = "the form in which commands take it")]
fn exchange(from: &str, to: &str) -> Option<Exchange> {
    Some(Exchange { from: Personal(from.into()), to: Personal(to.into()) })
}

/// An update of nothing.
fn of(name: &str, version: u32) -> UpdateProfile {
    UpdateProfile {
        user_id: user(name),
        version,
        username: None,
        display_name: None,
        email: None,
        mails: Vec::new(),
    }
}

fn update(scene: &mut Scene, update: UpdateProfile) -> Result<(), Halt> {
    scene.tell(&Command::UpdateProfile(Box::new(update)))
}

fn confirm(
    scene: &mut Scene,
    name: &str,
    version: u32,
    change: Option<(Exchange, u32)>,
) -> Result<(), Halt> {
    let confirm = ConfirmEmail { user_id: user(name), version, change };
    scene.tell(&Command::ConfirmEmail(Box::new(confirm)))
}

fn with(names: &[&str]) -> Scene {
    let mut scene = Scene::of(tiered_points());
    for name in names {
        scene.register(profile(name), None, None).unwrap();
    }
    scene
}

fn version_of(scene: &Scene, name: &str) -> u32 {
    scene.memory.state::<User>(&user(name)).profile().version()
}

/// The types of events on a user's stream, without those of the sign-up.
fn events_of(scene: &Scene, name: &str) -> Vec<String> {
    let key = crate::StreamKey::of::<User>(&user(name));
    let of_user = scene.memory.log().iter().filter(|logged| logged.key == key);
    of_user.skip(1).map(|logged| logged.event.encode().unwrap().event_type).collect()
}

#[test]
fn a_username_is_exchanged_and_the_old_one_is_free() {
    let mut scene = with(&["ana", "bea"]);
    let to_cid = UpdateProfile { username: exchange("ana", "Cid"), ..of("ana", 0) };
    update(&mut scene, to_cid).unwrap();
    let owner =
        |scene: &Scene, name| scene.memory.owner_of(ClaimKind::Username, name).map(str::to_owned);
    assert_eq!(owner(&scene, "cid").as_deref(), Some("ana"));
    assert_eq!(owner(&scene, "ana"), None);
    assert_eq!(scene.memory.profile(&user("ana")).unwrap().username, "Cid");

    let taken = UpdateProfile { username: exchange("bea", "CID"), ..of("bea", 0) };
    assert_eq!(update(&mut scene, taken), refused(Refusal::Taken(vec!["username"])));
    assert_eq!(owner(&scene, "bea").as_deref(), Some("bea"));
    let freed = UpdateProfile { username: exchange("bea", "ana"), ..of("bea", 0) };
    update(&mut scene, freed).unwrap();
    assert_eq!(owner(&scene, "ana").as_deref(), Some("bea"));
}

#[test]
fn another_spelling_of_a_name_keeps_the_claim() {
    let mut scene = with(&["ana"]);
    update(&mut scene, UpdateProfile { username: exchange("ana", "ANA"), ..of("ana", 0) }).unwrap();
    assert_eq!(scene.memory.owner_of(ClaimKind::Username, "ana"), Some("ana"));
    assert_eq!(scene.memory.profile(&user("ana")).unwrap().username, "ANA");
}

#[test]
fn values_that_were_read_before_a_later_change_are_refused() {
    let mut scene = with(&["ana"]);
    let change = |to| UpdateProfile { username: exchange("ana", to), ..of("ana", 0) };
    update(&mut scene, change("bea")).unwrap();
    // It would leave "bea" claimed for ever.
    let moved = refused(Refusal::ProfileMoved(user("ana")));
    assert_eq!(update(&mut scene, change("cid")), moved);
    assert_eq!(confirm(&mut scene, "ana", 0, None), moved);
    assert_eq!(scene.memory.owner_of(ClaimKind::Username, "bea"), Some("ana"));
}

#[test]
fn nothing_to_change_changes_nothing_and_an_unknown_user_is_refused() {
    let mut scene = with(&["ana"]);
    update(&mut scene, of("ana", 0)).unwrap();
    assert_eq!((events_of(&scene, "ana").len(), version_of(&scene, "ana")), (0, 0));
    let unknown = refused(Refusal::UserNotFound(user("bea")));
    assert_eq!(update(&mut scene, of("bea", 0)), unknown);
    assert_eq!(confirm(&mut scene, "bea", 0, None), unknown);
}

#[test]
fn an_address_changes_when_it_is_confirmed_and_the_old_one_is_free() {
    let mut scene = with(&["ana", "bea"]);
    let change = exchange("ana@example.com", "new@example.com");
    update(&mut scene, UpdateProfile { email: change.clone(), ..of("ana", 0) }).unwrap();
    let email = |scene: &Scene| scene.memory.profile(&user("ana")).unwrap().email.clone();
    assert_eq!(email(&scene), "ana@example.com");
    assert_eq!(scene.memory.owner_of(ClaimKind::Email, "new@example.com"), None);
    let token = &scene.memory.mailed()[0];
    assert_eq!((token.purpose, token.version), (TokenPurpose::ChangeEmail, 1));
    assert_eq!(token.email.0, "new@example.com");

    let confirmed = change.clone().map(|change| (change, 1));
    confirm(&mut scene, "ana", 1, confirmed.clone()).unwrap();
    assert_eq!(email(&scene), "new@example.com");
    assert_eq!(scene.memory.owner_of(ClaimKind::Email, "new@example.com"), Some("ana"));
    assert_eq!(scene.memory.owner_of(ClaimKind::Email, "ana@example.com"), None);
    let expected = ["UserProfileUpdated", "UserEmailChanged", "UserEmailConfirmed"];
    assert_eq!(events_of(&scene, "ana"), expected);

    let again = confirm(&mut scene, "ana", 2, confirmed);
    assert_eq!(again, refused(Refusal::MailedTokenUsed));
}

#[test]
fn the_last_address_that_was_asked_for_is_the_one_that_can_be_confirmed() {
    let mut scene = with(&["ana"]);
    for (version, to) in [(0, "one@example.com"), (1, "two@example.com")] {
        let email = exchange("ana@example.com", to);
        update(&mut scene, UpdateProfile { email, ..of("ana", version) }).unwrap();
    }
    let to = |to, asked| exchange("ana@example.com", to).map(|change| (change, asked));
    let first = confirm(&mut scene, "ana", 2, to("one@example.com", 1));
    assert_eq!(first, refused(Refusal::MailedTokenUsed));
    confirm(&mut scene, "ana", 2, to("two@example.com", 2)).unwrap();
}

#[test]
fn an_address_of_somebody_else_is_refused_when_it_is_confirmed() {
    let mut scene = with(&["ana", "bea"]);
    let change = exchange("ana@example.com", "BEA@example.com");
    update(&mut scene, UpdateProfile { email: change.clone(), ..of("ana", 0) }).unwrap();
    let taken = confirm(&mut scene, "ana", 1, change.map(|change| (change, 1)));
    assert_eq!(taken, refused(Refusal::Taken(vec!["email"])));
    assert_eq!(scene.memory.owner_of(ClaimKind::Email, "ana@example.com"), Some("ana"));
}

#[test]
fn an_address_is_confirmed_once() {
    let mut scene = with(&["ana"]);
    confirm(&mut scene, "ana", 0, None).unwrap();
    assert!(scene.memory.state::<User>(&user("ana")).profile().is_email_confirmed());
    assert_eq!(confirm(&mut scene, "ana", 0, None), refused(Refusal::MailedTokenUsed));
    assert_eq!(events_of(&scene, "ana"), ["UserEmailConfirmed"]);
}

#[test]
fn a_second_factor_is_on_or_off() {
    let mut scene = with(&["ana"]);
    let factor =
        SecondFactor { sealed_secret: vec![1; 48], last_period: 7, recovery_hashes: Vec::new() };
    let mut set = |factor: Option<&SecondFactor>| {
        let factor = factor.cloned();
        let change = ChangeSecondFactor { user_id: user("ana"), factor, known_changes: None };
        scene.tell(&Command::ChangeSecondFactor(Box::new(change)))
    };
    assert_eq!(set(None), refused(Refusal::SecondFactorOff(user("ana"))));
    set(Some(&factor)).unwrap();
    assert_eq!(set(Some(&factor)), refused(Refusal::SecondFactorOn(user("ana"))));
    set(None).unwrap();
    assert_eq!(set(None), refused(Refusal::SecondFactorOff(user("ana"))));
}

#[test]
fn neither_values_nor_secrets_are_in_the_log_or_shown() {
    let mut scene = with(&["ana"]);
    let everything = UpdateProfile {
        username: exchange("ana", "secret-name"),
        display_name: Some(Personal("Secret Name".into())),
        email: exchange("ana@example.com", "secret@example.com"),
        mails: vec![(MailKind::Welcome, false)],
        ..of("ana", 0)
    };
    let command = Command::UpdateProfile(Box::new(everything));
    let shown = format!("{command:?}").to_lowercase();
    assert!(!shown.contains("secret"), "{shown}");
    scene.tell(&command).unwrap();
    let log = scene.memory.log();
    assert!(!format!("{log:?}").to_lowercase().contains("secret"));
    let AnyEvent::User(UserEvent::UserProfileUpdated(updated)) = &log.last().unwrap().event else {
        panic!("no update")
    };
    assert_eq!(updated.fields.len(), 4);
    let token = format!("{:?}", scene.memory.mailed());
    assert!(!token.contains("secret"), "{token}");
}

#[test]
fn a_recovery_code_that_was_found_before_another_use_is_looked_for_again() {
    let mut scene = with(&["ana"]);
    let use_code =
        |known_uses| Command::UseRecoveryCode { user_id: user("ana"), hash: [7; 32], known_uses };
    assert_eq!(scene.tell(&use_code(0)), refused(Refusal::SecondFactorOff(user("ana"))));
    let factor =
        SecondFactor { sealed_secret: vec![1], last_period: 1, recovery_hashes: vec![[7; 32]] };
    let change =
        ChangeSecondFactor { user_id: user("ana"), factor: Some(factor), known_changes: None };
    scene.tell(&Command::ChangeSecondFactor(Box::new(change))).unwrap();
    scene.tell(&use_code(0)).unwrap();
    assert_eq!(scene.tell(&use_code(0)), refused(Refusal::ProfileMoved(user("ana"))));
    scene.tell(&use_code(1)).unwrap();
    let begin = Command::BeginSecondFactor {
        user_id: user("ana"),
        sealed_secret: crate::SealedSecret(vec![2]),
    };
    assert_eq!(scene.tell(&begin), refused(Refusal::SecondFactorOn(user("ana"))));
}

#[test]
fn only_who_is_an_admin_at_that_moment_creates_keys_of_back_ends() {
    let mut scene = with(&["ana"]);
    let role = |role| Command::SetUserRole { user_id: user("ana"), role };
    let create = |key_id: &str| {
        Command::CreateApiKey(Box::new(crate::NewApiKey {
            key_id: crate::ApiKeyId::parse(key_id).unwrap(),
            hash: [1; 32],
            name: "shop".into(),
            role: crate::KeyRole::Service,
            user_id: None,
            rpcs: None,
            program_ids: None,
            expire_time: None,
            created_by: "user:ana".into(),
            creator_user_id: Some(user("ana")),
            maker: None,
        }))
    };
    assert_eq!(scene.tell(&create("one")), refused(Refusal::CreatorIsNoAdmin(user("ana"))));
    scene.tell(&role(crate::UserRole::Admin)).unwrap();
    scene.tell(&create("one")).unwrap();
    scene.tell(&role(crate::UserRole::Operator)).unwrap();
    assert_eq!(scene.tell(&create("two")), refused(Refusal::CreatorIsNoAdmin(user("ana"))));
    scene.tell(&role(crate::UserRole::Admin)).unwrap();
    scene.erase("ana", false).unwrap();
    assert_eq!(scene.tell(&create("two")), refused(Refusal::CreatorIsNoAdmin(user("ana"))));
}

#[test]
fn a_job_is_retried_once_for_each_time_that_it_has_ended() {
    let mut scene = with(&[]);
    let job_id = crate::JobId::parse("17").unwrap();
    let retry = |attempts| Command::RetryJob { job_id: job_id.clone(), attempts };
    scene.tell(&retry(3)).unwrap();
    for seen in [2, 3] {
        assert_eq!(scene.tell(&retry(seen)), refused(Refusal::JobRetriedAlready(job_id.clone())));
    }
    scene.tell(&retry(5)).unwrap();
}

#[test]
fn a_confirmed_sign_up_is_a_user_whose_address_is_confirmed() {
    let mut scene = with(&[]);
    let sign_up = RegisterUser {
        profile: profile("ada"),
        address_key: None,
        mailbox: None,
        client_ip: None,
        fingerprint_key: None,
        program_id: Some(program(PROGRAM)),
        referral_code: None,
        api_key: None,
        is_address_confirmed: true,
    };
    scene.tell(&Command::RegisterUser(Box::new(sign_up))).unwrap();
    assert_eq!(events_of(&scene, "ada"), ["UserEmailConfirmed", "UserEnrolled"]);
    assert_eq!(confirm(&mut scene, "ada", 0, None), refused(Refusal::MailedTokenUsed));
}
