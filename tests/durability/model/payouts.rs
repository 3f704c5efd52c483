//! Payouts in the model: each member has at most one line in each, which is reserved, then paid or failed, and a paid
//! one can come back.

use std::collections::BTreeMap;

use super::lots::Parts;
use super::world::{Against, Program, Refusal, User, World};

/// Why somebody gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    Inactive,
    Flagged,
    InDebt,
    NoMethod,
    BelowMinimum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Skipped(Skip),
    Reserved,
    Paid,
    Failed,
    Returned,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub standing: Standing,
    /// What was available when the payout was created.
    pub then: i64,
    pub amount: i64,
    pub parts: Parts,
    /// With a reference or without one, if it was paid.
    paid_with: Option<bool>,
    /// For a reason or for none.
    failed_for: Option<bool>,
    returned_for: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    No,
    /// With a reference or without one.
    Confirmed(bool),
    /// For a reason or for none.
    Failed(bool),
    /// Nobody is paid by it.
    ByItself,
}

#[derive(Clone, Debug)]
pub struct Payout {
    minimum: i64,
    pub decided: Decided,
    pub lines: BTreeMap<User, Line>,
}

impl Program {
    fn line_of(&mut self, id: usize, user: User) -> Result<&mut Line, Refusal> {
        let payout = self.payouts.get_mut(&id).ok_or("PAYOUT_NOT_FOUND")?;
        payout.lines.get_mut(&user).ok_or("PAYOUT_LINE_NOT_FOUND")
    }
}

impl World {
    /// Somebody says how they are paid, or takes that back.
    pub fn set_method(&mut self, user: User, is_set: bool) -> Result<(), Refusal> {
        self.is_active(user).ok_or("USER_NOT_FOUND")?;
        self.methods.insert(user, is_set);
        Ok(())
    }

    /// Sets aside what is available.
    pub fn pay_out(&mut self, program: usize, id: usize, minimum: i64) -> Result<(), Refusal> {
        let of = &self.programs[program];
        if let Some(known) = of.payouts.get(&id) {
            return if known.minimum == minimum { Ok(()) } else { Err("PAYOUT_ID_REUSED") };
        }
        if !of.rules().pays_out {
            return Err("PAYOUTS_OFF");
        }
        let mut lines = BTreeMap::new();
        for user in of.members.iter().map(|of| of.user).collect::<Vec<_>>() {
            if let Some(line) = self.collect(program, user, minimum) {
                lines.insert(user, line);
            }
        }
        let is_empty = !lines.values().any(|line| line.standing == Standing::Reserved);
        let decided = if is_empty { Decided::ByItself } else { Decided::No };
        let payout = Payout { minimum, decided, lines };
        self.programs[program].payouts.insert(id, payout);
        Ok(())
    }

    /// The line of somebody; none if they have exactly nothing.
    fn collect(&mut self, program: usize, user: User, minimum: i64) -> Option<Line> {
        let member = self.programs[program].member(user).unwrap();
        let then = member.account.available;
        let referral = member.referral.as_ref();
        let is_flagged = referral.is_some_and(|of| of.against != Against::Nothing);
        let has_method = self.methods.get(&user) == Some(&true);
        let skips = [
            (self.is_active(user) == Some(false)).then_some(Skip::Inactive),
            is_flagged.then_some(Skip::Flagged),
            (then < 0).then_some(Skip::InDebt),
            (!has_method).then_some(Skip::NoMethod),
            (then < minimum).then_some(Skip::BelowMinimum),
        ];
        let skip = skips.into_iter().flatten().next();
        let amount = if skip.is_none() { then } else { 0 };
        let account = self.account(program, user);
        account.reserved += amount;
        let line = Line {
            standing: skip.map_or(Standing::Reserved, Standing::Skipped),
            then,
            amount,
            parts: account.spend(amount),
            paid_with: None,
            failed_for: None,
            returned_for: None,
        };
        Some(line).filter(|_| then != 0)
    }

    /// The provider has paid a line, or all that are reserved.
    pub fn confirm(
        &mut self,
        program: usize,
        id: usize,
        line: Option<User>,
        has_reference: bool,
    ) -> Result<(), Refusal> {
        let of = &mut self.programs[program];
        if let Some(user) = line {
            let line = of.line_of(id, user)?;
            if line.paid_with == Some(has_reference) {
                return Ok(());
            }
            if line.standing != Standing::Reserved {
                return Err("PAYOUT_LINE_DECIDED");
            }
            self.pay_line(program, id, user, has_reference);
            return Ok(());
        }
        let payout = of.payouts.get_mut(&id).ok_or("PAYOUT_NOT_FOUND")?;
        match payout.decided {
            Decided::Confirmed(known) if known == has_reference => return Ok(()),
            Decided::No => payout.decided = Decided::Confirmed(has_reference),
            _ => return Err("PAYOUT_DECIDED"),
        }
        for user in self.reserved(program, id) {
            self.pay_line(program, id, user, has_reference);
        }
        Ok(())
    }

    /// The provider has not paid a line, or any that is reserved.
    pub fn fail(
        &mut self,
        program: usize,
        id: usize,
        line: Option<User>,
        has_reason: bool,
    ) -> Result<(), Refusal> {
        let of = &mut self.programs[program];
        if let Some(user) = line {
            let line = of.line_of(id, user)?;
            if line.failed_for == Some(has_reason) {
                return Ok(());
            }
            if line.standing != Standing::Reserved {
                return Err("PAYOUT_LINE_DECIDED");
            }
            self.fail_line(program, id, user, has_reason);
            return Ok(());
        }
        let payout = of.payouts.get_mut(&id).ok_or("PAYOUT_NOT_FOUND")?;
        match payout.decided {
            Decided::Failed(known) if known == has_reason => return Ok(()),
            Decided::No => payout.decided = Decided::Failed(has_reason),
            _ => return Err("PAYOUT_DECIDED"),
        }
        for user in self.reserved(program, id) {
            self.fail_line(program, id, user, has_reason);
        }
        Ok(())
    }

    /// A transfer came back.
    pub fn bring_back(
        &mut self,
        program: usize,
        id: usize,
        user: User,
        has_reason: bool,
    ) -> Result<(), Refusal> {
        let line = self.programs[program].line_of(id, user)?;
        match line.standing {
            Standing::Paid => {}
            Standing::Returned if line.returned_for == Some(has_reason) => return Ok(()),
            _ => return Err("PAYOUT_LINE_DECIDED"),
        }
        line.standing = Standing::Returned;
        line.returned_for = Some(has_reason);
        let (parts, amount) = (line.parts.clone(), line.amount);
        let (now, present) = (self.now, self.present_lot(program));
        let account = self.account(program, user);
        account.paid -= amount;
        account.take_in(&parts, now, present);
        Ok(())
    }

    fn reserved(&self, program: usize, id: usize) -> Vec<User> {
        let lines = self.programs[program].payouts[&id].lines.iter();
        let reserved = lines.filter(|(_, line)| line.standing == Standing::Reserved);
        reserved.map(|(user, _)| *user).collect()
    }

    fn pay_line(&mut self, program: usize, id: usize, user: User, has_reference: bool) {
        let line = self.programs[program].line_of(id, user).unwrap();
        line.standing = Standing::Paid;
        line.paid_with = Some(has_reference);
        let amount = line.amount;
        let account = self.account(program, user);
        account.reserved -= amount;
        account.paid += amount;
    }

    fn fail_line(&mut self, program: usize, id: usize, user: User, has_reason: bool) {
        let line = self.programs[program].line_of(id, user).unwrap();
        line.standing = Standing::Failed;
        line.failed_for = Some(has_reason);
        let (parts, amount) = (line.parts.clone(), line.amount);
        let (now, present) = (self.now, self.present_lot(program));
        let account = self.account(program, user);
        account.reserved -= amount;
        account.take_in(&parts, now, present);
    }
}
