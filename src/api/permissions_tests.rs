//! The permission table against the contract: the comments in `proto/` say who the callers of each RPC are,
//! in sentences of one form. Every RPC is tried as every kind of principal, with the principal's own data,
//! with other people's, and with an empty subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use prost::Message;

use super::*;
use crate::api::services::empty_request;
use domain::ProgramId;

/// The callers of an RPC, as its comment states them.
#[derive(Debug, Default)]
struct Said {
    /// Before a semicolon: `anyone`, `anyone with credentials`, `anyone who has logged in`, `the user`,
    /// `the buyer`, `the holder` and roles.
    callers: Vec<String>,
    /// The field that only some callers may leave empty, and their roles.
    filled: Option<(String, Vec<String>)>,
    /// The field that only back ends may set.
    reserved: Option<String>,
    /// Whether only admins may call about operators and admins.
    is_account: bool,
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
        let (callers, except) = said.split_once("; ").unwrap_or((said, ""));
        let list = |text: &str| text.split(", ").map(str::to_owned).collect::<Vec<_>>();
        let mut read = Self { callers: list(callers), ..Self::default() };
        if except == ABOUT_STAFF {
            read.is_account = true;
        } else if let Some(rest) = except.strip_prefix("with an empty `") {
            let (field, roles) = rest.split_once("` only ").expect(said);
            read.filled = Some((field.into(), list(roles)));
        } else if let Some(rest) = except.strip_prefix("with a `") {
            read.reserved = Some(rest.strip_suffix(BACK_ENDS).expect(said).into());
        } else {
            assert_eq!(except, "", "unknown: {said}");
        }
        read
    }

    fn has(&self, caller: &str) -> bool {
        self.callers.iter().any(|said| said == caller)
    }
}

const BACK_ENDS: &str = "` only `service`, `operator`, `admin`";
const ABOUT_STAFF: &str = "for a user with another role than participant only `admin`";

/// Olga is an operator, and the only one of the staff.
fn is_staff(user_id: &str) -> bool {
    user_id == "olga"
}

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

/// What the comment of an RPC says about a call: `true` if it still depends on whose purchase or key it is.
fn expected(
    said: &Said,
    subject: Subject,
    principal: &Principal,
    names: &str,
    sets_reserved: bool,
) -> Result<bool, ErrorReason> {
    let is_open = said.has("anyone");
    let is_reserved = sets_reserved && said.reserved.is_some();
    let denied = Err(ErrorReason::PermissionDenied);
    let Some(role) = principal.role() else {
        let is_admitted = is_open && !is_reserved;
        return if is_admitted { Ok(false) } else { Err(ErrorReason::MissingCredentials) };
    };
    if is_open {
        return if is_reserved && !principal.is_back_end() { denied } else { Ok(false) };
    }
    if said.has("anyone who has logged in") {
        let is_person = matches!(principal, Principal::User { .. });
        return if is_person { Ok(false) } else { denied };
    }
    let listed = format!("`{}`", role.as_str());
    if said.has("anyone with credentials") || said.has(&listed) {
        let is_own = principal.person_id().is_some_and(|own| own.as_str() == names);
        let names_staff = is_staff(names) && !is_own;
        let names_nobody = names.is_empty()
            && said.filled.as_ref().is_some_and(|(_, roles)| !roles.contains(&listed));
        return match (role, subject) {
            (Role::Service, Subject::BuyerOf(_)) => Ok(true),
            (Role::Service, Subject::None | Subject::HolderOf(_)) => Ok(false),
            (Role::Service, _) if names_staff || names_nobody => denied,
            (Role::Operator, _) if said.is_account && names_staff => denied,
            _ => Ok(false),
        };
    }
    let is_ada = role == Role::User && principal.user_id().is_some();
    let is_own = names == "ada" || (names.is_empty() && said.filled.is_none());
    if said.has("the user") {
        return if is_ada && is_own && !is_reserved { Ok(false) } else { denied };
    }
    if is_ada && (said.has("the buyer") || said.has("the holder")) { Ok(true) } else { denied }
}

#[test]
fn every_rpc_admits_whom_its_comment_names_to_their_own_data_and_nobody_else() {
    for (service, rpc, comment) in contract() {
        let (said, rule) = (Said::read(&comment), rule(&rpc));
        assert_eq!(rule.service, service);
        assert_eq!(said.reserved.as_deref(), rule.back_ends_set, "{rpc}");
        assert_eq!(said.is_account, matches!(rule.subject, Subject::Account(_)), "{rpc}");
        assert!(said.filled.is_none() || matches!(rule.subject, Subject::UserOrEverybody(..)));
        let filled = said.filled.as_ref().map(|(field, _)| &**field);
        assert!(filled.is_none() || filled == rule.subject.field(), "{rpc}");
        for principal in principals() {
            for names in ["", "ada", "bob", "olga"] {
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
                        expected(&said, rule.subject, &principal, names, sets_reserved),
                        "{rpc} by {principal:?} about '{names}', reserved field: {sets_reserved}"
                    );
                }
            }
        }
    }
}

fn limited(role: Role, limits: KeyLimits) -> Principal {
    let user_id = (role == Role::User).then(|| id("ada"));
    Principal::Key { id: Some("k_1".into()), role, user_id, limits: Some(limits.into()) }
}

#[test]
fn a_key_that_is_limited_to_rpcs_may_do_no_more_than_without_the_limit_and_only_these() {
    let limit = |rpcs: &[&str]| KeyLimits {
        rpcs: Some(rpcs.iter().map(|rpc| (*rpc).to_owned()).collect()),
        program_ids: None,
    };
    for role in [Role::Admin, Role::Service, Role::User] {
        let free = limited(role, KeyLimits::default());
        for rule in rules() {
            for (rpcs, includes) in [
                (&[rule.rpc, "NoSuchRpc"][..], true),
                (&["Another"], false),
                (&["read-only"], rule.is_read()),
                (&["purchases-only"], rule.service == "PurchaseService"),
                (&[], false),
            ] {
                let admitted = rule.admit_caller(&limited(role, limit(rpcs)));
                let expected = match rule.admit_caller(&free) {
                    Ok(()) if !includes => Err(Denied::Limit { role, limit: "rpcs" }),
                    without => without,
                };
                assert_eq!(admitted, expected, "{} with {rpcs:?}", rule.rpc);
            }
        }
    }
}

#[test]
fn what_changes_something_is_not_read_only() {
    for rule in rules() {
        let repeats = empty_request(rule.rpc).unwrap().text("request_id").is_some();
        assert!(!(rule.is_read() && repeats), "{}", rule.rpc);
    }
    for rpc in ["GetBalances", "ListApiKeys", "WatchEvents", "ReadEvents", "ValidateReferralCode"] {
        assert!(rule(rpc).is_read(), "{rpc}");
    }
    for rpc in ["RecordPurchase", "RegisterUser", "RetryJob", "RevokeApiKey"] {
        assert!(!rule(rpc).is_read(), "{rpc}");
    }
}

#[test]
fn a_key_that_is_limited_to_programs_names_one_of_them_where_an_rpc_is_about_programs() {
    let programs = ["spring", "autumn"].map(|id| ProgramId::parse(id).unwrap());
    let limits = KeyLimits { rpcs: None, program_ids: Some(programs.to_vec()) };
    for role in [Role::Admin, Role::Service, Role::User] {
        let (free, bound) = (limited(role, KeyLimits::default()), limited(role, limits.clone()));
        for rule in rules() {
            for named in ["", "spring", "autumn", "winter"] {
                let mut requests = [(); 2].map(|()| empty_request(rule.rpc).unwrap());
                let may_name_none = rule.in_programs != InPrograms::Named;
                let mut refusal = (!may_name_none).then_some(Denied::NoProgram { role });
                for request in &mut requests {
                    if let Some(field) = rule.subject.field() {
                        *request.text(field).unwrap() = "ada".into();
                    }
                    if let Some(program_id) = request.text("program_id") {
                        *program_id = named.into();
                        let is_fine = ["spring", "autumn"].contains(&named)
                            || named.is_empty() && may_name_none;
                        refusal =
                            (!is_fine).then_some(Denied::Limit { role, limit: PROGRAM_LIMIT });
                    }
                }
                let [one, other] = &mut requests;
                let without = rule.admit(&free, &is_staff, &mut **one);
                let within = rule.admit(&bound, &is_staff, &mut **other);
                // Which of two refusals comes first does not matter.
                let is_expected = match (&refusal, &without) {
                    (None, without) => within == *without,
                    (Some(refusal), Ok(_)) => within.as_ref() == Err(refusal),
                    (Some(refusal), Err(_)) => within == without || within.as_ref() == Err(refusal),
                };
                assert!(is_expected, "{} about '{named}': {within:?}", rule.rpc);
            }
        }
    }
}

#[test]
fn only_rpcs_that_need_no_key_are_open_to_keys_whatever_their_programs() {
    for rule in rules().filter(|rule| rule.in_programs == InPrograms::Open) {
        assert_eq!(rule.callers, Callers::Anyone, "{}", rule.rpc);
        assert!(empty_request(rule.rpc).unwrap().text("program_id").is_none(), "{}", rule.rpc);
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
        // A filter of the earner's own rewards.
        ("ListRewards", "source_user_id"),
        // Filters of operators, who read flags of everybody.
        ("ListFraudFlags", "referee_user_id"),
        ("ListFraudFlags", "referrer_user_id"),
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
