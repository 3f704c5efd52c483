//! What happens to users, in all their programs at once.

use domain::{UserErased, UserEvent};

use super::fields::forfeit_fields;
use super::world::UserIndex;
use super::{Judgement, Oracle, RecordedEvent};

impl Oracle {
    pub(super) fn sort_user(
        &mut self,
        event: &RecordedEvent,
        fact: &UserEvent,
        judgement: &mut Judgement,
    ) {
        let user = self.world.user_index(&event.stream.id);
        let on_all = match fact {
            UserEvent::UserRegistered(_) => {
                self.unless(event.sequence == 1, event, || {
                    "expected the registration as the first event of its stream, found another"
                        .into()
                });
                return;
            }
            UserEvent::UserEnrolled(enrolled) => {
                let program_id = enrolled.program_id.as_str();
                let person = self.world.person_index(program_id, &event.stream.id);
                self.world.enroll(user, person);
                judgement.expected.push(self.world.expect(
                    person,
                    "ParticipantEnrolled",
                    Vec::new(),
                ));
                return;
            }
            UserEvent::UserDeactivated(_) => "ParticipantDeactivated",
            UserEvent::UserReactivated(_) => "ParticipantReactivated",
            UserEvent::UserErased(erased) => {
                self.sort_erasure(user, event, erased, judgement);
                self.expect_referrers_told(user, judgement);
                "ParticipantErased"
            }
            UserEvent::UserEmailConfirmed(_) => {
                self.world.confirm(user);
                judgement.confirmed.push(user);
                return;
            }
            UserEvent::UserEmailChanged(_) => {
                self.expect_referrers_told(user, judgement);
                return;
            }
            UserEvent::UserPayoutMethodSet(set) => {
                self.world.set_payout_method(user, set.is_set);
                return;
            }
            // Nothing in a program follows from what a user is called, from who may call, or from who is whom.
            UserEvent::UserProfileUpdated(_)
            | UserEvent::UserSecondFactorChanged(_)
            | UserEvent::UserRoleChanged(_)
            | UserEvent::UserSessionsEnded(_)
            | UserEvent::UserPasswordChanged(_)
            | UserEvent::UserSecondFactorBegun(_)
            | UserEvent::UserRecoveryCodeUsed(_)
            | UserEvent::UserExported(_)
            | UserEvent::UserPairReviewed(_) => return,
        };
        for person in &self.world.user(user).enrolled {
            judgement.expected.push(self.world.expect(*person, on_all, Vec::new()));
        }
    }

    /// Takes in an erasure: everything that the user is owed must be forfeited.
    fn sort_erasure(
        &mut self,
        user: UserIndex,
        event: &RecordedEvent,
        erased: &UserErased,
        judgement: &mut Judgement,
    ) {
        self.unless(!self.world.user(user).is_erased, event, || {
            "expected nothing of a user who was erased, found another erasure".into()
        });
        self.world.erase(user);
        let mut is_owed = false;
        for person in &self.world.user(user).enrolled {
            for (bucket, amount) in self.world.person(*person).parts {
                if amount > 0 {
                    is_owed = true;
                    let program = self.world.person(*person).program;
                    let version = self.world.current_version(program);
                    let unit = version.map(|version| version.rules.unit.clone());
                    let fields = forfeit_fields(bucket, amount, unit.as_deref());
                    judgement.expected.push(self.world.expect(*person, "BalanceForfeited", fields));
                }
            }
        }
        self.unless(erased.forfeited == is_owed, event, || {
            format!("forfeited: expected {is_owed}, found {}", erased.forfeited)
        });
    }

    /// Whoever referred a user must be told that the user's address has changed, unless they were erased.
    fn expect_referrers_told(&self, user: UserIndex, judgement: &mut Judgement) {
        let user = self.world.user(user);
        for person in &user.enrolled {
            let Some(tie) = self.world.person(*person).referral else { continue };
            if !self.world.user(self.world.person(tie.referrer).user).is_erased {
                let fields = vec![("referee", (&*user.id).into())];
                let told = self.world.expect(tie.referrer, "RefereeAddressChanged", fields);
                judgement.expected.push(told);
            }
        }
    }
}
