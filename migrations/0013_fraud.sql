-- What fraud checks compare with, and what they found. All of it is personal data, and none of it is in the log.

-- The addresses of referees, beside the referrals: a check of a sign-up compares with the latest referees of its
-- referrer, and joined to the profiles they would cost as much as several sign-ups. Written by the append with the
-- referral; a row is deleted some time after the referral.
create table referee_addresses (
    program_id       text collate "C" not null,
    referrer_user_id text collate "C" not null,
    -- When the referee was referred.
    refer_time       timestamptz not null,
    -- The referee.
    user_id          text collate "C" not null,
    -- The present address, in the form in which addresses are compared; null if the user was erased. Personal data.
    address          text,
    primary key (program_id, referrer_user_id, refer_time, user_id) include (address)
);

-- For a change of address, and for erasing a user.
create index referee_addresses_of_user on referee_addresses (user_id);
-- For cleaning. Rows are inserted nearly in this order.
create index referee_addresses_time on referee_addresses using brin (refer_time);

-- From where users signed up, as far as it is known.
create table sign_up_clients (
    user_id         text collate "C" primary key,
    -- The address on the network: personal data.
    client_address  text,
    -- The same as it is counted: an IPv6 address as its /64 network.
    network         text collate "C",
    -- A keyed hash of the fingerprint of a device or a means of payment. Personal data.
    fingerprint_key text,
    sign_up_time    timestamptz not null
);

-- For counting the sign-ups of one address.
create index sign_up_clients_of_network on sign_up_clients (network, sign_up_time);
-- For cleaning. Rows are inserted nearly in this order.
create index sign_up_clients_time on sign_up_clients using brin (sign_up_time);

-- What was found when a flag was raised, one row for each flag.
create table fraud_evidence (
    flag_id          text collate "C" primary key,
    -- Who is flagged; null if a sign-up was refused.
    user_id          text collate "C",
    -- With whom they share something.
    other_user_id    text collate "C",
    -- The address of the one, and that of the other. Personal data.
    address          text,
    other_address    text,
    -- The address on the network from which the request came. Personal data.
    client_address   text,
    -- The same as it is counted: an IPv6 address as its /64 network.
    network          text collate "C",
    -- A keyed hash of the fingerprint of a device or a means of payment. Personal data.
    fingerprint_key  text,
    -- What each check found, the gravest first: an array of objects. Personal data.
    findings         jsonb,
    -- How many people had signed up from the client's address in the window of the check.
    sign_up_count    integer,
    -- How often the same was found again.
    repetitions      integer     not null default 0,
    found_time       timestamptz not null,
    last_found_time  timestamptz not null
);

-- For erasing a user, and for showing what is known about one.
create index fraud_evidence_of_user on fraud_evidence (user_id);
create index fraud_evidence_of_other on fraud_evidence (other_user_id);
-- For cleaning.
create index fraud_evidence_time on fraud_evidence (last_found_time);

-- What reviewers wrote with their decisions about flags.
create table fraud_notes (
    flag_id          text collate "C" not null,
    -- The number of the decision: 1 for the first about the flag.
    number           integer     not null,
    -- The users of the flag: the referee, the referrer, and with whom the referee shares something. No note is written
    -- once one of them is erased.
    user_id          text collate "C",
    referrer_user_id text collate "C",
    other_user_id    text collate "C",
    -- Free text. Personal data.
    note             text        not null,
    note_time        timestamptz not null,
    primary key (flag_id, number)
);

-- For erasing a user.
create index fraud_notes_of_user on fraud_notes (user_id);
create index fraud_notes_of_referrer on fraud_notes (referrer_user_id);
create index fraud_notes_of_other on fraud_notes (other_user_id);
-- For cleaning.
create index fraud_notes_time on fraud_notes (note_time);

-- The key of the hashes by which mailboxes, client addresses and fingerprints are recognised (claims of the kinds
-- `mailbox`, `look_alike` and `fingerprint`, and the ids of sign-up origins).
insert into secrets (name, value)
values ('fraud', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
