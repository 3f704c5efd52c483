//! Commands about what there is. Users, items and payouts are drawn at random, and most would have nothing.

use super::commands::Command;
use super::payouts::Standing;
use super::run::Run;
use super::world::User;

impl Run {
    /// The command about something that there is, or somebody who has something. Otherwise most would be refused.
    pub fn likely(&self, command: &Command) -> Command {
        fn one_of<T: Copy>(number: usize, all: Vec<T>) -> Option<T> {
            all.get(number % all.len().max(1)).copied()
        }
        let mut command = command.clone();
        match &mut command {
            Command::Redeem { program, user, item, .. } => {
                let of = &self.world.programs[*program];
                let members = of.members.iter().filter(|of| of.account.available > 0);
                *user = one_of(*user, members.map(|of| of.user).collect()).unwrap_or(*user);
                *item = one_of(*item, of.items.keys().copied().collect()).unwrap_or(*item);
            }
            Command::Fulfil { program, id } | Command::CallOff { program, id } => {
                let known = self.world.programs[*program].redemptions.keys().copied();
                *id = one_of(*id, known.collect()).unwrap_or(*id);
            }
            Command::PayOut { program, .. } => {
                let programs = self.world.programs.iter().enumerate();
                let paying = programs.filter(|(_, of)| of.rules().pays_out).map(|(of, _)| of);
                *program = one_of(*program, paying.collect()).unwrap_or(*program);
            }
            Command::Confirm { program, id, line, .. }
            | Command::Fail { program, id, line, .. } => {
                (*program, *id) = self.payout(*program, *id);
                if let Some(user) = line {
                    let reserved = self.lines(*program, *id, Standing::Reserved);
                    *user = one_of(*user, reserved).unwrap_or(*user);
                }
            }
            Command::BringBack { program, id, user, .. } => {
                (*program, *id) = self.payout(*program, *id);
                let paid = self.lines(*program, *id, Standing::Paid);
                *user = one_of(*user, paid).unwrap_or(*user);
            }
            Command::AtOnce(commands) => {
                let likely = commands.iter().map(|command| self.likely(command));
                return Command::AtOnce(likely.collect());
            }
            _ => {}
        }
        command
    }

    /// This payout or, if there is none of that number, another one that there is.
    fn payout(&self, program: usize, id: usize) -> (usize, usize) {
        let of = |program: usize| {
            let known = self.world.programs[program].payouts.keys();
            known.map(move |id| (program, *id))
        };
        let own = of(program).find(|(_, known)| *known == id);
        let mut others = (0..self.world.programs.len()).flat_map(of);
        own.or_else(|| others.next()).unwrap_or((program, id))
    }

    fn lines(&self, program: usize, id: usize, standing: Standing) -> Vec<User> {
        let lines = self.world.programs[program].payouts.get(&id).map(|of| &of.lines);
        let lines = lines.into_iter().flatten().filter(|(_, line)| line.standing == standing);
        lines.map(|(user, _)| *user).collect()
    }
}
