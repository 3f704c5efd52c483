//! Roles of people: who gives them, and what ends with a new one.

use contract::pb::*;
use tonic::{Code, Status};

use super::bad_input::violations;
use super::keys::{create, holder, wanted, with};
use super::support::{refused, server_with};
use testing::{Client, address_of};

const LINES: &str = "multi-level-commission";
const PASSWORD: &str = "Corr3ct-horse!";

pub(super) async fn set_role(
    client: &Client,
    user_id: &str,
    role: UserRole,
) -> Result<SetUserRoleResponse, Status> {
    let message =
        SetUserRoleRequest { user_id: user_id.into(), role: role.into(), ..Default::default() };
    Ok(client.accounts().set_user_role(client.request(message)).await?.into_inner())
}

/// Signs up a user who can log in, and logs them in.
pub(super) async fn log_in(client: &Client, user_id: &str) -> Client {
    with(client, &access_token(client, user_id).await)
}

pub(super) async fn access_token(client: &Client, user_id: &str) -> String {
    let login =
        LoginRequest { login: user_id.into(), password: PASSWORD.into(), ..Default::default() };
    let answer = client.accounts().login(tonic::Request::new(login)).await.unwrap();
    answer.into_inner().access_token
}

pub(super) async fn person(client: &Client, user_id: &str, role: UserRole) -> Client {
    let message = RegisterUserRequest {
        user_id: user_id.into(),
        username: user_id.into(),
        email: address_of(user_id),
        password: PASSWORD.into(),
        ..Default::default()
    };
    client.register(message).await.unwrap();
    if role != UserRole::Participant {
        set_role(client, user_id, role).await.unwrap();
    }
    log_in(client, user_id).await
}

#[tokio::test]
async fn people_have_roles_which_only_admins_give_and_a_new_role_ends_their_sessions() {
    let (database, server, client) = server_with(&[LINES]).await;
    let ada = person(&client, "ada", UserRole::Participant).await;
    let olga = person(&client, "olga", UserRole::Operator).await;
    let alma = person(&client, "alma", UserRole::Admin).await;
    let (shop, _) = holder(&client, wanted("shop", ApiKeyRole::Service)).await;
    let role = |answer: GetUserResponse| answer.user.unwrap().role();
    assert_eq!(role(alma.user("olga").await.unwrap()), UserRole::Operator);
    assert_eq!(role(ada.user("ada").await.unwrap()), UserRole::Participant);

    // Only admins give roles and make keys of back ends.
    for client in [&ada, &olga, &shop] {
        let answer = set_role(client, "ada", UserRole::Admin).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
        let answer = create(client, wanted("mine", ApiKeyRole::Admin)).await;
        refused(answer, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let status =
        |user_id: &str| DeactivateUserRequest { user_id: user_id.into(), ..Default::default() };
    let mut accounts = client.accounts();
    // Operators do not touch accounts of operators and admins, and service keys know nothing of them.
    accounts.deactivate_user(olga.request(status("ada"))).await.unwrap();
    let of_admin = accounts.deactivate_user(olga.request(status("alma"))).await;
    refused(of_admin, Code::PermissionDenied, "PERMISSION_DENIED");
    olga.user("alma").await.unwrap();
    let export =
        |user_id: &str| ExportUserRequest { user_id: user_id.into(), ..Default::default() };
    accounts.export_user(olga.request(export("ada"))).await.unwrap();
    let of_admin = accounts.export_user(olga.request(export("alma"))).await;
    refused(of_admin.map(drop), Code::PermissionDenied, "PERMISSION_DENIED");
    refused(shop.user("olga").await, Code::PermissionDenied, "PERMISSION_DENIED");
    let find = FindUserRequest { username: "olga".into(), ..Default::default() };
    let found = accounts.find_user(shop.request(find)).await;
    refused(found, Code::NotFound, "USER_NOT_FOUND");

    // A new role ends sessions at once, and the next login has it.
    set_role(&alma, "olga", UserRole::Participant).await.unwrap();
    refused(olga.user("olga").await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    let olga = log_in(&client, "olga").await;
    refused(olga.user("ada").await, Code::PermissionDenied, "PERMISSION_DENIED");
    shop.user("olga").await.unwrap();
    let same = set_role(&alma, "olga", UserRole::Participant).await;
    refused(same, Code::FailedPrecondition, "USER_ROLE_UNCHANGED");
    refused(set_role(&alma, "nobody", UserRole::Admin).await, Code::NotFound, "USER_NOT_FOUND");
    // The admin key is the last way in.
    set_role(&alma, "alma", UserRole::Participant).await.unwrap();
    refused(alma.user("alma").await, Code::Unauthenticated, "INVALID_CREDENTIALS");
    set_role(&client, "alma", UserRole::Admin).await.unwrap();
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn users_are_listed_by_their_ids_without_those_whom_nobody_knows() {
    let (database, server, client) = server_with(&[]).await;
    let mut token = String::new();
    for user_id in ["olga", "ada", "bob"] {
        let request = RegisterUserRequest {
            user_id: user_id.into(),
            username: user_id.into(),
            display_name: format!("{user_id} shown"),
            email: format!("{user_id}@example.com"),
            ..Default::default()
        };
        token = client.register(request).await.unwrap().consistency_token;
    }
    let list = async |request: ListUsersRequest| {
        client.accounts().list_users(client.request(request)).await.map(tonic::Response::into_inner)
    };
    let named = |ids: &[&str]| ListUsersRequest {
        user_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        consistency_token: token.clone(),
        ..Default::default()
    };
    let found = list(named(&["olga", "nobody", "ada", "ada"])).await.unwrap();
    let users: Vec<User> = found.users.into_iter().filter_map(|of| of.user).collect();
    let shown: Vec<&str> = users.iter().map(|user| &*user.display_name).collect();
    assert_eq!((shown, &*found.next_page_token), (vec!["ada shown", "olga shown"], ""));
    assert_eq!(list(named(&["nobody"])).await.unwrap().users, []);
    client.erase("ada", false).await.unwrap();
    let erased = list(named(&["ada"])).await.unwrap().users.remove(0).user.unwrap();
    assert_eq!(erased.display_name, "", "the names are gone");

    let at_fault = |status: Status| violations(&status);
    let both = ListUsersRequest { staff_only: true, ..named(&["ada"]) };
    let expected = [("staff_only".to_owned(), "FIELDS_EXCLUSIVE".to_owned())];
    assert_eq!(at_fault(list(both).await.unwrap_err()), expected);
    let expected = [("user_ids[1]".to_owned(), "INVALID_ID".to_owned())];
    assert_eq!(at_fault(list(named(&["ada", "a b"])).await.unwrap_err()), expected);
    let many = vec!["ada"; 1_001];
    let expected = [("user_ids".to_owned(), "OUT_OF_RANGE".to_owned())];
    assert_eq!(at_fault(list(named(&many)).await.unwrap_err()), expected);
    server.stop().await;
    database.check().await;
}

#[tokio::test]
async fn operators_and_admins_are_listed_by_their_ids_as_soon_as_they_are() {
    let (database, server, client) = server_with(&[]).await;
    let list = async |page_size: i32, page_token: &str| {
        let request = ListUsersRequest {
            staff_only: true,
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        client.accounts().list_users(client.request(request)).await.unwrap().into_inner()
    };
    let names = |answer: &ListUsersResponse| -> Vec<(String, UserRole)> {
        let users = answer.users.iter().map(|detail| detail.user.clone().unwrap());
        users.map(|user| (user.user_id.clone(), user.role())).collect()
    };
    assert_eq!(names(&list(0, "").await), []);
    for (user_id, role) in [
        ("olga", UserRole::Operator),
        ("ada", UserRole::Participant),
        ("alma", UserRole::Admin),
        ("berta", UserRole::Operator),
    ] {
        person(&client, user_id, role).await;
    }
    let first = list(2, "").await;
    let expected = [("alma".to_owned(), UserRole::Admin), ("berta".to_owned(), UserRole::Operator)];
    assert_eq!(names(&first), expected);
    let rest = list(2, &first.next_page_token).await;
    assert_eq!(names(&rest), [("olga".to_owned(), UserRole::Operator)]);
    assert_eq!(rest.next_page_token, "");
    set_role(&client, "berta", UserRole::Participant).await.unwrap();
    assert_eq!(names(&list(0, "").await).len(), 2);
    let both =
        ListUsersRequest { staff_only: true, program_id: "spring".into(), ..Default::default() };
    let refused_both = client.accounts().list_users(client.request(both)).await.unwrap_err();
    assert_eq!(violations(&refused_both), [("program_id".into(), "FIELDS_EXCLUSIVE".into())]);
    server.stop().await;
    database.check().await;
}
