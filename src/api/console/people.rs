//! Who has signed in: the person, their programs, and the sidebar of their pages.

use console::icons::Icon;
use console::page::{Link, Links, Sidebar};
use console::pages::participant::path;
use console::text;
use console::text::{
    keys as of_keys, log as of_log, money as of_money, operator as of_operators,
    participant as of_participants, review as of_review,
};

use super::answers::Refused;
use super::visit::{SignedIn, Visit};
use crate::access::Role;
use crate::api::pb;

/// Who has signed in.
pub(super) struct Person {
    pub(super) signed_in: SignedIn,
    pub(super) user: pb::GetUserResponse,
    /// The programs that they are in.
    pub(super) programs: Vec<pb::Program>,
}

/// A participant of a program whom a page is about.
pub(super) struct Participating {
    pub(super) person: Person,
    pub(super) program: pb::Program,
    pub(super) participant: pb::Participant,
}

impl Visit {
    /// Who has signed in, with their programs.
    pub(super) async fn person(&self) -> Result<Person, Refused> {
        let signed_in = self.signed_in()?;
        let user = self
            .call(pb::GetUserRequest {
                user_id: signed_in.user_id.to_string(),
                consistency_token: self.changed(),
            })
            .await?;
        let mut programs = Vec::with_capacity(user.participants.len());
        for participant in &user.participants {
            programs.push(self.program(&participant.program_id).await?);
        }
        Ok(Person { signed_in, user, programs })
    }

    /// A program.
    pub(super) async fn program(&self, program_id: &str) -> Result<pb::Program, Refused> {
        let request = pb::GetProgramRequest { program_id: program_id.into(), ..Default::default() };
        self.call(request).await?.program.ok_or(Refused::NotFound)
    }

    /// Who has signed in, as a participant of a program. Programs that they are not in do not exist for them.
    pub(super) async fn participating(&self, program_id: &str) -> Result<Participating, Refused> {
        let person = self.person().await?;
        let program = person.programs.iter().find(|program| program.program_id == program_id);
        let participants = &person.user.participants;
        let participant = participants.iter().find(|of| of.program_id == program_id);
        let (program, participant) = program.zip(participant).ok_or(Refused::NotFound)?;
        let (program, mut participant) = (program.clone(), participant.clone());
        let settings = &self.console().context().settings;
        if let (Some(_), Some(url)) = (&settings.dev_pages, &settings.public_url) {
            // The sample programs name a shop that does not exist; in `dev`, one signs up here.
            participant.link = format!("{url}/join?ref={}", participant.code);
        }
        Ok(Participating { person, program, participant })
    }
}

impl Person {
    /// The id of the user.
    pub(super) fn user_id(&self) -> String {
        self.signed_in.user_id.to_string()
    }

    /// The name that is shown: the one that they chose, else the username.
    pub(super) fn name(&self) -> &str {
        let user = self.user.user.as_ref();
        let names = user.map(|user| [&*user.display_name, &*user.username]);
        names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or(text::ACCOUNT)
    }

    /// The sidebar of the page that is shown.
    pub(super) fn sidebar<'a>(&'a self, visit: &Visit, form_token: &'a str) -> Sidebar<'a> {
        let current = visit.path();
        let in_program = self.program_of(current);
        let role = match self.signed_in.role {
            Role::Admin => text::ADMIN,
            Role::Operator => text::OPERATOR,
            Role::User | Role::Service => text::PARTICIPANT,
        };
        let is_operator = matches!(self.signed_in.role, Role::Admin | Role::Operator);
        let mut groups = Vec::new();
        if is_operator {
            groups = operators(current, self.signed_in.role == Role::Admin);
        }
        if let Some(program) = in_program {
            // Where there are other groups, each has its heading.
            let title = if is_operator { text::YOUR_REWARDS } else { "" };
            groups.push(Links { title, ..participants(program, current) });
        }
        let others = [
            (Icon::LIST, of_participants::JOIN_PROGRAM, "/programs"),
            (Icon::USER, of_participants::PROFILE, "/profile"),
        ];
        let others = others.map(|(icon, name, path)| link(icon, name, path.into(), current));
        let title = if is_operator { text::YOUR_ACCOUNT } else { "" };
        groups.push(Links { title, links: others.into() });
        let programs = self.programs.iter().map(|program| Link {
            icon: Icon::LIST,
            name: program.display_name.clone(),
            path: path(&program.program_id, ""),
            is_current: in_program.is_some_and(|of| of.program_id == program.program_id),
        });
        Sidebar { name: self.name(), role, form_token, groups, programs: programs.collect() }
    }

    /// The program that the page is about; on others, the first one of participants.
    fn program_of(&self, current: &str) -> Option<&pb::Program> {
        let named = current.strip_prefix("/p/").and_then(|rest| rest.split('/').next());
        let found = named.and_then(|id| self.programs.iter().find(|of| of.program_id == id));
        found.or_else(|| self.programs.first())
    }
}

/// The pages of a program.
fn participants(program: &pb::Program, current: &str) -> Links {
    let of = |icon, name, page| link(icon, name, path(&program.program_id, page), current);
    let mut earnings = of(Icon::CHART, of_participants::EARNINGS, "earnings");
    // A statement is another look at the same.
    earnings.is_current |= current == path(&program.program_id, "statement");
    let mut referrals = of(Icon::PEOPLE, of_participants::REFERRALS, "referrals");
    // The tree is another look at the same.
    referrals.is_current |= current == path(&program.program_id, "tree");
    Links {
        title: "",
        links: vec![
            of(Icon::HOME, of_participants::DASHBOARD, ""),
            earnings,
            referrals,
            of(Icon::TROPHY, of_participants::LEADERBOARD, "leaderboard"),
            of(Icon::GIFT, of_participants::STORE, "store"),
            of(Icon::BOOK, of_participants::RULES, "rules"),
        ],
    }
}

/// The pages of operators, and those of admins.
fn operators(current: &str, is_admin: bool) -> Vec<Links> {
    let of = |icon, name, path: &str| {
        let mut link = link(icon, name, path.into(), current);
        // The page of one of them belongs to the list.
        link.is_current |= path != "/o" && current.starts_with(&format!("{path}/"));
        link
    };
    let mut system = vec![
        of(Icon::LIST, of_log::LOG, "/o/log"),
        of(Icon::MAIL, of_operators::MAILS, "/o/mails"),
        of(Icon::CLOCK, of_operators::JOBS, "/o/jobs"),
    ];
    if is_admin {
        system.push(of(Icon::GEAR, of_keys::KEYS, "/o/keys"));
    }
    let group = |title, links| Links { title, links };
    vec![
        group("", vec![of(Icon::CHART, of_operators::OVERVIEW, "/o")]),
        group(
            of_operators::PEOPLE,
            vec![
                of(Icon::PEOPLE, of_operators::USERS, "/o/users"),
                of(Icon::FLAG, of_review::FRAUD, "/o/fraud"),
            ],
        ),
        group(
            of_operators::MONEY,
            vec![
                of(Icon::CART, of_operators::PURCHASES, "/o/purchases"),
                of(Icon::COIN, of_operators::PAYMENTS, "/o/payments"),
                of(Icon::BANK, of_money::PAYOUTS, "/o/payouts"),
                of(Icon::CHECK, of_money::APPROVALS, "/o/approvals"),
            ],
        ),
        group(
            of_operators::PROGRAMS,
            vec![
                of(Icon::BOOK, of_operators::ALL_PROGRAMS, "/o/programs"),
                of(Icon::GIFT, of_money::STORE, "/o/items"),
            ],
        ),
        group(of_operators::SYSTEM, system),
    ]
}

fn link(icon: Icon, name: &str, path: String, current: &str) -> Link {
    let is_current = path == current;
    Link { icon, name: name.into(), path, is_current }
}
