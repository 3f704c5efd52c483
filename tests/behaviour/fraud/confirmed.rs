//! Checks of sign-ups that wait for the confirmation of their address: they go by the sign-up and not by whoever opens
//! the link.

use contract::pb::*;
use tonic::{Code, Status};

use super::*;
use crate::rate_limits::forwarded;
use crate::sign_ups::{confirm, token_in};
use crate::support::refused;
use testing::{MailServer, Server, ServerOptions, TestDatabase};

/// From where people sign up.
const FROM: &str = "192.0.2.7";
/// From where they open the link of the mail.
const ELSEWHERE: &str = "198.51.100.9";
const DEVICE: &str = "device of ada";
const WAITING: &str = "select count(*) from sign_ups where confirmed_at is null";

/// Lets a sign-up of the points program wait, from [`FROM`] and with the device of ada.
async fn sign_up(client: &Client, username: &str, email: &str, code: &str) {
    let request = RegisterUserRequest {
        user_id: String::new(),
        password: "Corr3ct-horse!".into(),
        // Not believed.
        client_ip: "203.0.113.1".into(),
        fingerprint: format!(" {DEVICE} "),
        ..with_address(POINTS, username, email, code)
    };
    let answer = client.accounts().register_user(forwarded(request, FROM)).await.unwrap();
    assert!(answer.into_inner().confirmation_mailed);
}

/// Opens the link from another address, and returns the id of the new user.
async fn open_link(client: &Client, token: &str) -> Result<String, Status> {
    let request = ConfirmEmailRequest { token: token.into() };
    let answer = client.accounts().confirm_email(forwarded(request, ELSEWHERE)).await?;
    Ok(answer.into_inner().user_id)
}

#[tokio::test]
async fn a_sign_up_that_waited_is_checked_by_its_own_address_and_fingerprint() {
    let (database, mails) = (TestDatabase::new().await, MailServer::start().await);
    let mut arguments = mails.arguments();
    let own = ["--confirm-sign-ups", "on", "--trusted-proxies", "127.0.0.1"];
    arguments.extend(own.map(ToOwned::to_owned));
    let server = Server::start_with(&database.url, &ServerOptions { arguments }).await;
    let (client, anybody) = (server.client(), server.separate_client(None).await);
    let per_address = SignUpsPerAddressCheck { max_sign_ups: Some(2), ..Default::default() };
    let checks = FraudChecks {
        sign_ups_per_address: Some(per_address),
        fingerprint: with_policy(FraudPolicy::Unspecified),
        ..Default::default()
    };
    client.publish(checked(POINTS, checks)).await.unwrap();
    let ada = RegisterUserRequest {
        fingerprint: DEVICE.into(),
        ..with_address(POINTS, "ada", "ada@corp.example", "")
    };
    let code = client.register(ada).await.unwrap().participants[0].code.clone();

    sign_up(&anybody, "bo", "bo@mail.example", &code).await;
    let kept = "select count(*) from sign_ups where client_ip = '192.0.2.7' and fingerprint_key is not null";
    assert_eq!(database.count(kept).await, 1);
    let plain = "select count(*) from sign_ups where sign_ups::text like '%device of%'";
    assert_eq!(database.count(plain).await, 0, "a fingerprint is stored as a keyed hash only");
    assert!(flags(&client).await.is_empty(), "who waits is no user");

    let token = token_in(&mails, "bo@mail.example", 1).await;
    let bo = open_link(&anybody, &token).await.unwrap();
    let flag = only_flag(&client).await;
    assert_eq!((flag.kind(), flag.consequence()), (FraudFlagKind::Fingerprint, FraudPolicy::Hold));
    assert_eq!(
        (flag.referee.unwrap().user_id, flag.other.unwrap().user_id),
        (bo.clone(), "ada".into())
    );
    assert_eq!((&*flag.client_address, flag.sign_ups_before), (FROM, Some(0)));
    assert_eq!(place(&client, POINTS, &bo).await, ReferralStatus::Held);
    let left =
        "select count(*) from sign_ups where client_ip is not null or fingerprint_key is not null";
    assert_eq!(database.count(left).await, 0, "a sign-up that has become a user is emptied");
    // The same link again changes nothing.
    assert_eq!(open_link(&anybody, &token).await.unwrap(), bo);
    assert_eq!(flags(&client).await.len(), 1);

    // Another sign-up from there is in order, and a third one is too many, when it is confirmed at the latest.
    sign_up(&anybody, "cid", "cid@mail.example", "").await;
    sign_up(&anybody, "dot", "dot@mail.example", "").await;
    let cid = open_link(&anybody, &token_in(&mails, "cid@mail.example", 1).await).await.unwrap();
    let token = token_in(&mails, "dot@mail.example", 1).await;
    refused(confirm(&anybody, &token).await, Code::ResourceExhausted, "TOO_MANY_SIGN_UPS");
    let refusals = ListFraudFlagsRequest {
        kind: FraudFlagKind::SignUpsPerAddress.into(),
        ..Default::default()
    };
    let flag = list(&client, refusals).await.remove(0);
    assert_eq!((flag.occasion(), &*flag.client_address), (FraudOccasion::RefusedSignUp, FROM));
    assert_eq!(flag.sign_ups_of_address, 2);
    assert_eq!(database.count(WAITING).await, 1, "a refused sign-up waits on");

    // What waits for the address of a user who is erased goes with the user.
    let other = "insert into sign_ups (user_id, address, email, username, client_ip, fingerprint_key)
        values ('waits', 'cid@mail.example', 'cid@mail.example', 'waits', '192.0.2.8', 'f') returning 1::bigint";
    assert_eq!(database.count(other).await, 1);
    client.erase(&cid, true).await.unwrap();
    let of_cid = "select count(*) from sign_ups where client_ip is not null and username <> 'dot'";
    assert_eq!(database.count(of_cid).await, 0);
    let clients = format!("select count(*) from sign_up_clients where user_id = '{cid}'");
    assert_eq!(database.count(&clients).await, 0);
    server.stop().await;
    database.check().await;
}
