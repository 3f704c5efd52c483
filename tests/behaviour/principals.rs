//! Who may call what, and about whom: every RPC, with every kind of credentials. Calls that need no credentials of
//! their own are made within the process, behind authentication.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::purchase_service_client::PurchaseServiceClient;
use contract::pb::referral_service_client::ReferralServiceClient;
use contract::pb::reward_service_client::RewardServiceClient;
use contract::pb::*;
use domain::UserId;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use tonic::{Code, Request, Status};
use tributary::access::{Principal, Role};
use tributary::api::permissions::{Callers, Rule, TextFields, rules};
use tributary::api::{Server, ServerOptions, ServerSettings, services};
use tributary::engine::Environment;
use tributary::store::Database;
use tributary::traces::Traces;
use tributary::{engine, jobs, live};

use super::bad_input::at_fault;
use super::keys::{bad_keys, credentials};
use super::raw;
use super::support::{refused, server_with};
use testing::{ADMIN_KEY, Client, TestDatabase, reason};

const LINES: &str = "multi-level-commission";

/// A server in this process, without a network.
pub(super) async fn in_process(database: &TestDatabase) -> Server {
    in_process_with(database, tributary::access::Settings::default()).await
}

/// As [`in_process`], with settings of access.
pub(super) async fn in_process_with(
    database: &TestDatabase,
    access: tributary::access::Settings,
) -> Server {
    let options = ServerOptions {
        database: Database::new(&database.url, 4).unwrap(),
        admin_key: ADMIN_KEY.into(),
        access,
        environment: Environment::of_this_machine().unwrap(),
        settings: ServerSettings::default(),
        engine: engine::Limits::default(),
        live: live::Limits::default(),
        jobs: jobs::Limits::default(),
        mail: tributary::mails::MailSettings::nowhere().unwrap(),
        payments: tributary::payments::Settings::default(),
        transport: tributary::api::transport::Limits::default(),
        metrics_listener: None,
        traces: Traces::default(),
    };
    Server::start(options).await.unwrap()
}

pub(super) fn user(user_id: &str) -> Principal {
    let user_id = UserId::parse(user_id).unwrap();
    Principal::User { user_id, session_id: "s_1".into(), role: Role::User }
}

pub(super) fn service() -> Principal {
    Principal::Key { id: Some(Arc::from("k_1")), role: Role::Service, user_id: None, limits: None }
}

/// A request by a principal.
pub(super) fn by<M>(principal: &Principal, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(principal.clone());
    request
}

/// The request of an RPC, with text in one of its fields.
fn request_of(rule: &Rule, field: Option<&str>, text: &str) -> Vec<u8> {
    let mut message = DynamicMessage::new(method_of(rule).input());
    if let Some(field) = field {
        message.set_field_by_name(field, Value::String(text.into()));
    }
    message.encode_to_vec()
}

fn method_of(rule: &Rule) -> MethodDescriptor {
    let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
    let service = format!("tributary.v1.{}", rule.service);
    let service = pool.get_service_by_name(&service).unwrap();
    service.methods().find(|method| method.name() == rule.rpc).unwrap()
}

/// Text fields, as the permission table reads them.
struct Texts(HashMap<String, String>);

impl TextFields for Texts {
    fn text(&mut self, name: &str) -> Option<&mut String> {
        Some(self.0.entry(name.into()).or_default())
    }
}

#[tokio::test]
async fn every_rpc_is_guarded_as_its_row_says() {
    let (database, server, client) = server_with(&[LINES]).await;
    client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", "").await.unwrap();
    let local = in_process(&database).await;
    let routes = services(local.context());
    for rule in rules() {
        for principal in [Principal::Anonymous, user("ada"), service()] {
            for about in ["ada", "bob"] {
                let field = rule.subject.field();
                let mut texts = Texts(HashMap::new());
                texts.0.extend(field.map(|field| (field.to_owned(), about.to_owned())));
                let path = format!("/tributary.v1.{}/{}", rule.service, rule.rpc);
                let message = request_of(rule, field, about);

                let answer = raw::call(routes.clone(), &path, by(&principal, message)).await;

                let denied = rule.admit(&principal, &|_| false, &mut texts).err();
                let expected = denied.map(|denied| denied.reason().as_str_name().to_owned());
                let given =
                    answer.err().map(|status| format!("ERROR_REASON_{}", reason(&status).1));
                let given = given.filter(|given| {
                    given.ends_with("_PERMISSION_DENIED") || given.ends_with("_MISSING_CREDENTIALS")
                });
                assert_eq!(given, expected, "{path} by {principal:?} about {about}");
            }
        }
    }
    server.stop().await;
    database.check().await;
}

/// The reason of a refusal for lack of rights; `None` for any other answer.
fn lack_of_rights(answer: Result<Vec<u8>, Status>) -> Option<String> {
    let (_, given) = reason(&answer.err()?);
    let is_refusal = ["MISSING_CREDENTIALS", "INVALID_CREDENTIALS", "PERMISSION_DENIED"];
    is_refusal.contains(&&*given).then_some(given)
}

#[tokio::test]
async fn every_rpc_is_walked_with_every_kind_of_credentials_about_everybody() {
    let (database, server, client) = server_with(&[LINES]).await;
    for user_id in ["ada", "bob"] {
        client.sign_up(LINES, user_id, "").await.unwrap();
    }
    let path = |rule: &Rule| format!("/tributary.v1.{}/{}", rule.service, rule.rpc);
    for key in bad_keys(&server).await {
        let caller = Client::new(client.channel(), key.as_deref());
        for rule in rules() {
            let message = request_of(rule, rule.subject.field(), "ada");
            let answer = raw::call(client.channel(), &path(rule), caller.request(message)).await;
            let expected = match (rule.callers, &key) {
                (Callers::Anyone, _) => None,
                (_, None) => Some("MISSING_CREDENTIALS".to_owned()),
                (_, Some(_)) => Some("INVALID_CREDENTIALS".to_owned()),
            };
            assert_eq!(lack_of_rights(answer), expected, "{} with {key:?}", rule.rpc);
        }
    }

    let [user, service, admin, operator] = credentials(&server, "ada").await;
    let key = |role, user_id: Option<&str>| Principal::Key {
        id: Some(Arc::from("k_1")),
        role,
        user_id: user_id.map(|id| UserId::parse(id).unwrap()),
        limits: None,
    };
    let olga = Principal::User {
        user_id: UserId::parse("olga").unwrap(),
        session_id: "s_1".into(),
        role: Role::Operator,
    };
    let is_staff = |user_id: &str| user_id == "olga";
    for (credential, principal, names) in [
        // Last about themselves: whoever erases themselves has no credentials any more.
        (user, key(Role::User, Some("ada")), &["bob", "olga", "ada"][..]),
        (service, key(Role::Service, None), &["ada", "bob", "olga"]),
        // Not about themselves, which may end the session.
        (operator, olga, &["bob", "alma"]),
        // About nobody, as they may do everything.
        (admin, key(Role::Admin, None), &["nobody"]),
    ] {
        let caller = Client::new(client.channel(), Some(&credential));
        let (erasing, others): (Vec<_>, Vec<_>) = rules().partition(|rule| rule.rpc == "EraseUser");
        for rule in others.into_iter().chain(erasing) {
            for about in names {
                let field = rule.subject.field();
                let mut texts = Texts(HashMap::new());
                texts.0.extend(field.map(|field| (field.to_owned(), (*about).to_owned())));
                let message = request_of(rule, field, about);

                let mut request = caller.request(message);
                // A stream that is admitted would not end.
                if method_of(rule).is_server_streaming() {
                    request.set_timeout(Duration::from_millis(300));
                }
                let answer = raw::call(client.channel(), &path(rule), request).await;

                let denied = rule.admit(&principal, &is_staff, &mut texts).err();
                let expected = denied.map(|denied| denied.reason().as_str_name().to_owned());
                let given = lack_of_rights(answer).map(|given| format!("ERROR_REASON_{given}"));
                assert_eq!(given, expected, "{} by {principal:?} about {about}", rule.rpc);
            }
        }
        let left = client.user("ada").await.map(drop);
        refused(left, Code::NotFound, "USER_NOT_FOUND");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn an_empty_request_erases_nobody_whoever_sends_it() {
    let (database, server, client) = server_with(&[]).await;
    client.sign_up("", "ada", "").await.unwrap();
    let [user, service, admin, operator] = credentials(&server, "ada").await;
    for credential in [&user, &service, &admin, &operator] {
        let caller = Client::new(client.channel(), Some(credential));
        let request = caller.request(EraseUserRequest::default());
        let answer = caller.accounts().erase_user(request).await;
        at_fault(answer, "user_id", "FIELD_REQUIRED");
    }
    let anybody = server.separate_client(None).await;
    let request = anybody.request(EraseUserRequest::default());
    let answer = anybody.accounts().erase_user(request).await;
    refused(answer, Code::Unauthenticated, "MISSING_CREDENTIALS");
    assert_eq!(
        database.count("select count(*) from events where event_type = 'UserErased'").await,
        0
    );
    let caller = Client::new(client.channel(), Some(&user));
    let erase = EraseUserRequest { user_id: "ada".into(), ..Default::default() };
    caller.accounts().erase_user(caller.request(erase)).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_user_reads_their_own_data_and_nobody_elses() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    client.sign_up(LINES, "bob", &ada.code).await.unwrap();
    client.buy("order-1", "bob", "USD", 1_000).await.unwrap();
    let local = in_process(&database).await;
    let routes = services(local.context());
    let mut accounts = AccountServiceClient::new(routes.clone());
    let mut purchases = PurchaseServiceClient::new(routes.clone());
    let mut referrals = ReferralServiceClient::new(routes.clone());
    let mut rewards = RewardServiceClient::new(routes);

    // Without a name, the caller is meant.
    let read = |user_id: &str| GetUserRequest { user_id: user_id.into(), ..Default::default() };
    let own = accounts.get_user(by(&user("ada"), read(""))).await.unwrap().into_inner();
    assert_eq!(own.user.unwrap().user_id, "ada");
    assert_eq!(own.participants.len(), 1);
    let other = accounts.get_user(by(&user("ada"), read("bob"))).await;
    let status = refused(other, Code::PermissionDenied, "PERMISSION_DENIED");
    assert_eq!(facts(&status), [("field", "user_id"), ("role", "user")]);
    let nobody = accounts.get_user(by(&user("ada"), read("nobody"))).await;
    refused(nobody, Code::PermissionDenied, "PERMISSION_DENIED");
    accounts.get_user(by(&service(), read("bob"))).await.unwrap();

    // Another user's purchase is reported as unknown.
    let read = |purchase_id: &str| GetPurchaseRequest {
        purchase_id: purchase_id.into(),
        ..Default::default()
    };
    let own = purchases.get_purchase(by(&user("bob"), read("order-1"))).await.unwrap();
    assert_eq!(own.into_inner().purchase.unwrap().buyer_user_id, "bob");
    let mut unlike = Vec::new();
    for purchase_id in ["order-1", "order-2"] {
        let other = purchases.get_purchase(by(&user("ada"), read(purchase_id))).await;
        let status = refused(other, Code::NotFound, "PURCHASE_NOT_FOUND");
        unlike.push(status.message().replace(purchase_id, "ID"));
    }
    assert_eq!(unlike[0], unlike[1]);
    let malformed = purchases.get_purchase(by(&user("ada"), read("no id"))).await;
    refused(malformed, Code::InvalidArgument, "INVALID_FIELD");
    purchases.get_purchase(by(&service(), read("order-1"))).await.unwrap();

    // The list of all users is for back ends.
    let list =
        |buyer: &str| ListPurchasesRequest { buyer_user_id: buyer.into(), ..Default::default() };
    let own = purchases.list_purchases(by(&user("bob"), list("bob"))).await.unwrap();
    assert_eq!(own.into_inner().purchases.len(), 1);
    for buyer in ["", "ada"] {
        let others = purchases.list_purchases(by(&user("bob"), list(buyer))).await;
        refused(others, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    purchases.list_purchases(by(&service(), list(""))).await.unwrap();
    let list = |user_id: &str| ListReferralsRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    let own = referrals.list_referrals(by(&user("ada"), list("ada"))).await.unwrap();
    assert_eq!(own.into_inner().referrals.len(), 1);
    let everybodys = referrals.list_referrals(by(&user("ada"), list(""))).await;
    refused(everybodys, Code::PermissionDenied, "PERMISSION_DENIED");

    // Streams are protected in the same way.
    let watch = |user_id: &str| WatchBalancesRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    let mut own = rewards.watch_balances(by(&user("ada"), watch(""))).await.unwrap().into_inner();
    assert_eq!(own.message().await.unwrap().unwrap().balances.len(), 1);
    let other = rewards.watch_balances(by(&user("ada"), watch("bob"))).await;
    refused(other.map(|_| ()), Code::PermissionDenied, "PERMISSION_DENIED");
    let watch = |user_id: &str| WatchParticipantRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        ..Default::default()
    };
    let own = rewards.watch_participant(by(&user("ada"), watch(""))).await.unwrap();
    assert!(own.into_inner().message().await.unwrap().unwrap().change.is_some());
    let other = rewards.watch_participant(by(&user("ada"), watch("bob"))).await;
    refused(other.map(|_| ()), Code::PermissionDenied, "PERMISSION_DENIED");
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn a_user_changes_only_themselves_and_mints_nothing() {
    let (database, server, client) = server_with(&[]).await;
    let mut program = client.publish_shipped(LINES).await;
    program.attach = AttachPolicy::AnyTime.into();
    client.publish(program).await.unwrap();
    let ada = client.sign_up(LINES, "ada", "").await.unwrap();
    for user_id in ["bob", "cid"] {
        client.sign_up(LINES, user_id, "").await.unwrap();
    }
    let local = in_process(&database).await;
    let mut purchases = PurchaseServiceClient::new(services(local.context()));
    let mut referrals = ReferralServiceClient::new(services(local.context()));
    let apply = ApplyReferralRequest { program_id: LINES.into(), ..Default::default() };

    for denied in [
        ApplyReferralRequest { referrer_user_id: "ada".into(), ..apply.clone() },
        ApplyReferralRequest {
            referee_user_id: "cid".into(),
            referral_code: ada.code.clone(),
            ..apply.clone()
        },
    ] {
        let answer = referrals.apply_referral(by(&user("bob"), denied)).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let by_code = ApplyReferralRequest { referral_code: ada.code.clone(), ..apply };
    let applied = referrals.apply_referral(by(&user("bob"), by_code)).await.unwrap().into_inner();
    let referral = applied.referral.unwrap();
    // Users are not told the ids of others.
    assert_eq!((&*referral.referrer_user_id, &*referral.referee_user_id), ("", "bob"));

    let buy = RecordPurchaseRequest {
        buyer_user_id: "bob".into(),
        amount: Some(Money { currency_code: "USD".into(), minor_units: 100 }),
        ..Default::default()
    };
    let minted = purchases.record_purchase(by(&user("bob"), buy.clone())).await;
    let status = refused(minted, Code::PermissionDenied, "PERMISSION_DENIED");
    assert_eq!(facts(&status), [("role", "user")]);
    purchases.record_purchase(by(&service(), buy)).await.unwrap();

    // A user only gets the personal answer about a code for themselves.
    let check = |user_id: &str| ValidateReferralCodeRequest {
        referral_code: ada.code.clone(),
        user_id: user_id.into(),
        ..Default::default()
    };
    for (principal, user_id, is_valid) in [
        (user("ada"), "ada", false),
        (user("bob"), "ada", true),
        (Principal::Anonymous, "ada", true),
        (service(), "ada", false),
    ] {
        let answer = referrals.validate_referral_code(by(&principal, check(user_id))).await;
        assert_eq!(answer.unwrap().into_inner().valid, is_valid, "{principal:?}");
    }
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn the_log_names_users_and_keys_by_their_ids_and_keeps_their_requests_apart() {
    let (database, server, client) = server_with(&[LINES]).await;
    for user_id in ["ada", "bob"] {
        client.sign_up("", user_id, "").await.unwrap();
    }
    let local = in_process(&database).await;
    let mut programs = program_service_client::ProgramServiceClient::new(services(local.context()));
    let enroll = |user_id: &str| EnrollParticipantRequest {
        program_id: LINES.into(),
        user_id: user_id.into(),
        request_id: "enroll".into(),
        ..Default::default()
    };

    programs.enroll_participant(by(&user("ada"), enroll(""))).await.unwrap();
    programs.enroll_participant(by(&service(), enroll("bob"))).await.unwrap();

    let said: Vec<(String, String)> = sqlx::query_as(
        "select metadata ->> 'actor', metadata ->> 'door' from events
         where metadata ->> 'door' = 'EnrollParticipant' order by position",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let expected = [("user:ada", "EnrollParticipant"), ("key:service:k_1", "EnrollParticipant")];
    assert_eq!(said, expected.map(|(actor, door)| (actor.to_owned(), door.to_owned())));
    server.stop().await;
    database.check().await;
}

/// The facts of a status by name.
fn facts(status: &Status) -> Vec<(&'static str, &'static str)> {
    let info = tonic_types::StatusExt::get_error_details(status).error_info().cloned().unwrap();
    let known = [("field", "user_id"), ("role", "user")];
    let is_given =
        |(name, value): &(&str, &str)| info.metadata.get(*name).is_some_and(|given| given == value);
    let given: Vec<_> = known.into_iter().filter(is_given).collect();
    assert_eq!(given.len(), info.metadata.len(), "{:?}", info.metadata);
    given
}
