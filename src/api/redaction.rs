//! What answers to users leave out: the ids of other people. Every message of the contract can be redacted; the code
//! is generated (`build/redaction.rs`), so that a new answer is redacted without anybody thinking of it.
//!
//! Answers to RPCs that are open to anyone are not redacted here: whose answer it is follows from what they did, as
//! with a sign-up, so their handlers do it.

use domain::UserId;
use tonic::Status;
use tonic_types::StatusExt;

use super::permissions::{Callers, Rule};
use crate::access::{Principal, Role};

/// A message from which ids of others can be removed.
pub(super) trait Redact {
    /// Empties every field that names a user other than `own`.
    fn redact(&mut self, own: &str);
}

/// What is left out of the answers to one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Redaction {
    /// The user who may see only their own id; `None` for callers who see all.
    own: Option<UserId>,
}

impl Redaction {
    /// What the caller of an RPC may not see.
    pub(super) fn of(rule: &Rule, principal: &Principal) -> Self {
        let is_user = principal.role() == Some(Role::User) && rule.callers != Callers::Anyone;
        // A key of the role `user` always belongs to somebody; if it did not, it would see nobody.
        let own = is_user.then(|| principal.user_id().cloned().unwrap_or_default());
        Self { own }
    }

    /// Leaves out of an answer what the caller may not see.
    pub(super) fn apply(&self, answer: &mut impl Redact) {
        if let Some(own) = &self.own {
            answer.redact(own.as_str());
        }
    }
}

/// Empties the id of a user, unless it is `own`.
pub(super) fn hide_user(user_id: &mut String, own: &str) {
    if user_id != own {
        user_id.clear();
    }
}

/// Empties the id of an entry, `program/user/sequence`, unless it is of the user `own`.
pub(super) fn hide_entry(entry_id: &mut String, own: &str) {
    let user = entry_id.split_once('/').and_then(|(_, rest)| rest.rsplit_once('/'));
    if user.is_none_or(|(user, _)| user != own) {
        entry_id.clear();
    }
}

/// A status without the ids of other users, in its facts and in its message.
pub(super) fn without_others(status: Status, own: Option<&UserId>) -> Status {
    let mut details = status.get_error_details();
    let Some(info) = details.error_info().cloned() else { return status };
    let is_others = |(name, value): &(&String, &String)| {
        (*name == "user_id" || name.ends_with("_user_id"))
            && own.is_none_or(|own| own.as_str() != *value)
    };
    let others: Vec<(String, String)> =
        info.metadata.iter().filter(is_others).map(|(n, v)| (n.clone(), v.clone())).collect();
    if others.is_empty() {
        return status;
    }
    let mut facts = info.metadata;
    let mut message = status.message().to_owned();
    for (name, value) in others {
        facts.remove(&name);
        message = message
            .replace(&format!("user '{value}'"), "another user")
            .replace(&format!("'{value}'"), "another user");
    }
    details.set_error_info(info.reason, info.domain, facts);
    Status::with_error_details(status.code(), message, details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::errors::{ApiError, reason_name};
    use crate::api::pb::{self, ErrorReason};
    use domain::Refusal;

    fn id(user: &str) -> UserId {
        UserId::parse(user).unwrap_or_default()
    }

    #[test]
    fn an_answer_keeps_the_callers_own_ids_and_loses_those_of_others_at_any_depth() {
        let node = |user: &str, referrals| pb::ReferralNode {
            user_id: user.into(),
            display_name: user.into(),
            referrals,
            ..Default::default()
        };
        let root = node("ada", vec![node("bob", vec![node("ada", vec![]), node("cid", vec![])])]);
        let mut tree = pb::GetReferralTreeResponse { root: Some(root), ..Default::default() };
        tree.redact("ada");
        let expected = pb::GetReferralTreeResponse {
            root: Some(pb::ReferralNode {
                user_id: "ada".into(),
                display_name: "ada".into(),
                referrals: vec![pb::ReferralNode {
                    display_name: "bob".into(),
                    referrals: vec![
                        node("ada", vec![]),
                        pb::ReferralNode { user_id: String::new(), ..node("cid", vec![]) },
                    ],
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(tree, expected);
    }

    #[test]
    fn the_id_of_an_entry_is_the_earners_whatever_characters_the_id_of_the_user_has() {
        for (entry_id, own, is_kept) in [
            ("spring/ada/7", "ada", true),
            ("spring/ada/7", "bob", false),
            ("spring/gid://shop/1/7", "gid://shop/1", true),
            ("spring/gid://shop/1/7", "1", false),
            ("", "", false),
        ] {
            let mut shown = entry_id.to_owned();
            hide_entry(&mut shown, own);
            assert_eq!(shown == entry_id && !entry_id.is_empty(), is_kept, "{entry_id} of {own}");
        }
    }

    #[test]
    fn an_error_names_the_caller_and_nobody_else() {
        let refusal = Refusal::ReferralCycle { referee: id("ada"), referrer: id("bob") };
        let status = Status::from(ApiError::from(refusal));
        let shown = without_others(status.clone(), Some(&id("ada")));
        assert!(shown.message().contains("'ada'"), "{shown}");
        assert!(!shown.message().contains("bob"), "{shown}");
        let Some(info) = shown.get_error_details().error_info().cloned() else {
            panic!("no details: {shown:?}")
        };
        assert_eq!(info.reason, reason_name(ErrorReason::ReferralCycle));
        assert_eq!(info.metadata.get("referee_user_id").map(String::as_str), Some("ada"));
        assert_eq!(info.metadata.len(), 1);
        let shown = without_others(status, None);
        assert!(!format!("{shown:?}").contains("ada"), "{shown:?}");
    }
}
