//! The permission table against the contract: the comments in `proto/` say who the callers of each RPC are,
//! in sentences of one form. Every RPC is tried as every kind of principal, with the principal's own data,
//! with other people's, and with an empty subject.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use prost::Message;

use super::*;
use crate::api::services::empty_request;

/// The callers of an RPC, as its comment states them.
#[derive(Debug)]
struct Said {
    /// Before a semicolon: `anyone`, `anyone with credentials`, `the user`, `the buyer` and roles.
    callers: Vec<String>,
    /// The field that only back ends may leave empty.
    filled: Option<String>,
    /// The field that only back ends may set.
    reserved: Option<String>,
}

impl Said {
    /// Reads the one sentence that begins with "Callers:".
    fn read(comment: &str) -> Self {
        let lines: Vec<&str> = comment.lines().map(str::trim).collect();
        let paragraphs = lines.split(|line| line.is_empty()).map(|lines| lines.join(" "));
        let said: Vec<String> = paragraphs
            .filter_map(|text| Some(text.strip_prefix("Callers: ")?.strip_suffix('.')?.to_owned()))
            .collect();
        let [said] = &*said else { panic!("not one sentence about callers: {comment}") };
        let (callers, except) = said.split_once("; with ").unwrap_or((said, ""));
        let field = |article: &str| {
            let field = except.strip_prefix(article)?.strip_suffix(BACK_ENDS)?;
            Some(field.trim_matches('`').to_owned())
        };
        let (filled, reserved) = (field("an empty `"), field("a `"));
        assert_eq!(except.is_empty(), filled.is_none() && reserved.is_none(), "unknown: {said}");
        Self { callers: callers.split(", ").map(Into::into).collect(), filled, reserved }
    }

    fn has(&self, caller: &str) -> bool {
        self.callers.iter().any(|said| said == caller)
    }
}

const BACK_ENDS: &str = "` only `service`, `operator`, `admin`";

/// Every RPC of the contract, as `(service, RPC, comment)`.
fn contract() -> Vec<(String, String, String)> {
    const SERVICES: i32 = 6;
    const METHODS: i32 = 2;
    let descriptors = prost_types::FileDescriptorSet::decode(contract::DESCRIPTORS).unwrap();
    let mut rpcs = Vec::new();
    for file in descriptors.file.iter().filter(|file| file.package() == "tributary.v1") {
        let comments = file.source_code_info.clone().unwrap().location;
        for (at, service) in (0..).zip(&file.service) {
            for (number, rpc) in (0..).zip(&service.method) {
                let path = [SERVICES, at, METHODS, number];
                let comment = comments.iter().find(|location| location.path == path).unwrap();
                let comment = comment.leading_comments().to_owned();
                rpcs.push((service.name().into(), rpc.name().into(), comment));
            }
        }
    }
    rpcs
}

fn rule(rpc: &str) -> &'static Rule {
    rules().find(|rule| rule.rpc == rpc).unwrap()
}

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

fn person(user: &str, role: Role) -> Principal {
    Principal::User { user_id: id(user), session_id: "s_1".into(), role }
}

fn key(role: Role, user: Option<&str>) -> Principal {
    Principal::Key { id: Some("k_1".into()), role, user_id: user.map(id), limits: None }
}

/// One principal of every kind. Those that only have the role `user` are ada, or nobody.
fn principals() -> Vec<Principal> {
    vec![
        Principal::Anonymous,
        person("ada", Role::User),
        person("olga", Role::Operator),
        person("alma", Role::Admin),
        key(Role::User, Some("ada")),
        // A key that should belong to a user, but does not.
        key(Role::User, None),
        key(Role::Service, None),
        key(Role::Operator, None),
        Principal::ADMIN_KEY,
    ]
}

/// What the comment of an RPC says about a call: `true` if it is for the buyer only.
fn expected(
    said: &Said,
    principal: &Principal,
    names: &str,
    sets_reserved: bool,
) -> Result<bool, ErrorReason> {
    let is_open = said.has("anyone");
    let is_reserved = sets_reserved && said.reserved.is_some();
    let Some(role) = principal.role() else {
        let is_admitted = is_open && !is_reserved;
        return if is_admitted { Ok(false) } else { Err(ErrorReason::MissingCredentials) };
    };
    if is_open && is_reserved && !principal.is_back_end() {
        return Err(ErrorReason::PermissionDenied);
    }
    if is_open || said.has("anyone with credentials") || said.has(&format!("`{}`", role.as_str())) {
        return Ok(false);
    }
    let is_ada = role == Role::User && principal.user_id().is_some();
    let is_own = names == "ada" || (names.is_empty() && said.filled.is_none());
    let denied = Err(ErrorReason::PermissionDenied);
    match (said.has("the user"), said.has("the buyer")) {
        (true, false) if is_ada && is_own && !is_reserved => Ok(false),
        (false, true) if is_ada => Ok(true),
        _ => denied,
    }
}

#[test]
fn every_rpc_admits_whom_its_comment_names_to_their_own_data_and_nobody_else() {
    for (service, rpc, comment) in contract() {
        let (said, rule) = (Said::read(&comment), rule(&rpc));
        assert_eq!(rule.service, service);
        assert_eq!(said.reserved.as_deref(), rule.back_ends_set, "{rpc}");
        assert_eq!(
            said.filled.is_some(),
            rule.callers == Callers::SignedIn
                && matches!(rule.subject, Subject::UserOrEverybody(_)),
            "{rpc}"
        );
        assert!(said.filled.is_none() || said.filled.as_deref() == rule.subject.field(), "{rpc}");
        for principal in principals() {
            for names in ["", "ada", "bob"] {
                for sets_reserved in [false, true] {
                    let mut request = empty_request(&rpc).unwrap();
                    if let Some(field) = rule.subject.field() {
                        *request.text(field).unwrap() = names.into();
                    }
                    if let Some(field) = rule.back_ends_set
                        && sets_reserved
                    {
                        *request.text(field).unwrap() = "cid".into();
                    }
                    let admitted = rule.admit(&principal, &is_staff, &mut *request);
                    let admitted = admitted
                        .map(|admitted| admitted != Admitted::Fully)
                        .map_err(|denied| denied.reason());
                    assert_eq!(
                        admitted,
                        expected(&said, &principal, names, sets_reserved),
                        "{rpc} by {principal:?} about '{names}', reserved field: {sets_reserved}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_rpc_of_the_contract_has_exactly_one_row_and_no_other_has() {
    let mut rpcs: Vec<(String, String)> =
        contract().into_iter().map(|(service, rpc, _)| (service, rpc)).collect();
    let mut declared: Vec<(String, String)> =
        rules().map(|rule| (rule.service.into(), rule.rpc.into())).collect();
    rpcs.sort();
    declared.sort();
    assert_eq!(declared, rpcs);
}

#[test]
fn every_field_that_names_somebody_is_the_subject_of_its_rpc_or_has_a_reason_not_to_be() {
    // Fields that name a user who is not the subject.
    const NOT_SUBJECTS: &[(&str, &str)] = &[
        // The user does not exist yet.
        ("RegisterUser", "user_id"),
        // Their own field of the rule.
        ("ApplyReferral", "referrer_user_id"),
        // Places on a leaderboard are public.
        ("GetRank", "user_id"),
        // A filter of the earner's own rewards.
        ("ListRewards", "source_user_id"),
        // Created by this call.
        ("RecordPurchase", "purchase_id"),
    ];
    for (_, rpc, _) in contract() {
        let mut request = empty_request(&rpc).unwrap();
        for field in [
            "user_id",
            "buyer_user_id",
            "referee_user_id",
            "referrer_user_id",
            "source_user_id",
            "earner_user_id",
            "purchase_id",
        ] {
            let is_subject = rule(&rpc).subject.field() == Some(field);
            let is_excused = NOT_SUBJECTS.contains(&(&*rpc, field));
            let is_there = request.text(field).is_some();
            assert_eq!(is_there, is_subject || is_excused, "{field} of {rpc}");
        }
    }
}

#[test]
fn a_user_who_names_nobody_is_the_subject() {
    for rule in rules().filter(|rule| rule.callers == Callers::SignedIn) {
        let Subject::User(field) = rule.subject else { continue };
        for (principal, filled) in
            [(person("ada", Role::User), "ada"), (person("olga", Role::Operator), "")]
        {
            let mut request = empty_request(rule.rpc).unwrap();
            assert_eq!(rule.admit(&principal, &is_staff, &mut *request), Ok(Admitted::Fully));
            assert_eq!(request.text(field).unwrap(), filled, "{}", rule.rpc);
        }
    }
}

#[test]
fn a_code_is_checked_for_a_user_only_where_the_caller_may_read_them() {
    let honoured = |principal: &Principal, names: &str| {
        let mut request = empty_request("ValidateReferralCode").unwrap();
        *request.text("user_id").unwrap() = names.into();
        let admitted = rule("ValidateReferralCode").admit(principal, &is_staff, &mut *request);
        assert_eq!(admitted, Ok(Admitted::Fully));
        request.text("user_id").unwrap().clone()
    };
    assert_eq!(honoured(&Principal::Anonymous, "bob"), "");
    assert_eq!(honoured(&person("ada", Role::User), "bob"), "");
    assert_eq!(honoured(&person("ada", Role::User), "ada"), "ada");
    assert_eq!(honoured(&key(Role::Service, None), "bob"), "bob");
    assert_eq!(honoured(&Principal::ADMIN_KEY, "bob"), "bob");
}

#[test]
fn only_the_guard_is_a_service_of_tonic() {
    fn search(directory: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path, found);
            } else if path != std::path::Path::new(file!())
                && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("_service_server"))
            {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    search(std::path::Path::new("src"), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_unknown_rpc_leads_nowhere() {
    assert_eq!(route_of("/tributary.v1.AccountService/DropEverything"), None);
    assert_eq!(route_of("/other.v1.AccountService/GetUser"), None);
    assert_eq!(route_of("/tributary.v1.AccountService/GetUser"), Some(Route::Rpc(rule("GetUser"))));
    assert_eq!(route_of("/grpc.health.v1.Health/Check"), Some(Route::Open));
}
