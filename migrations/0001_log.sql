-- The log: all events, in one order.
--
-- A superset of the table that postgres-es expects, so that it can read and replay every stream. Text is
-- compared byte by byte ("C"): identifiers are ASCII, and this is the fastest collation.
create table events (
    -- Position in the whole log: 1, 2, 3, ... without gaps, in the order of commits.
    position       bigint      not null,
    -- Sequence in its stream: 1, 2, 3, ...
    sequence       bigint      not null,
    -- When it was appended, by the clock of the database; never earlier than the event before.
    recorded_at    timestamptz not null,
    -- Kind of aggregate: User, Program, Participant, Purchase.
    aggregate_type text collate "C" not null,
    -- Identifier of the aggregate; that of a participant is `program/user`.
    aggregate_id   text collate "C" not null,
    -- What happened, in the past tense.
    event_type     text collate "C" not null,
    -- Version of the payload's shape.
    event_version  text collate "C" not null,
    -- The fields of the event. Never personal data.
    payload        jsonb       not null,
    -- `command_events`, on the first event of a command: the number of events of that command, from this
    -- position on.
    metadata       jsonb       not null,
    -- Identifiers first: they decide nearly every comparison in the index.
    primary key (aggregate_id, aggregate_type, sequence)
);

create unique index events_position on events (position);

-- The purchases of each buyer, in their order. The hash is a quarter of the size of the id; queries also compare the id.
create index events_purchases on events (hashtextextended(payload ->> 'buyer_user_id', 0), position)
    where event_type = 'PurchaseRecorded';

-- States of long streams, so that loading a stream need not read it from its beginning. This is a cache: a
-- row may be missing or old, and a row of another state version is ignored.
create table snapshots (
    aggregate_type   text collate "C" not null,
    aggregate_id     text collate "C" not null,
    -- The last event that the state contains.
    last_sequence    bigint  not null,
    -- Number of snapshots of the stream so far (postgres-es counts them).
    current_snapshot bigint  not null,
    -- Version of the state's own shape.
    state_version    integer not null,
    payload          jsonb   not null,
    primary key (aggregate_type, aggregate_id)
) with (fillfactor = 70);

-- Requests that were carried out, kept for ever, so that a repeated request has one effect.
create table receipts (
    -- Hash of the caller, the RPC and the request_id.
    key            uuid   primary key,
    -- Keyed hash of the request without secrets, to distinguish a repetition from another request.
    fingerprint    bytea  not null,
    -- The events of the request; none if the last is before the first.
    first_position bigint not null,
    last_position  bigint not null
);

-- Values that belong to one owner until the owner releases them. Writes require the lock of the log.
create table claims (
    -- code, username, email, program, default_program, erased_email, mailbox, look_alike, fingerprint
    kind  text collate "C" not null,
    -- The normalized value; of default_program a number (1, 2, 3, ...), one for each time that any program has
    -- begun to enroll by default; of erased_email a keyed hash of the address of a user who was erased; of the last three a keyed hash of
    -- what several users can have, of whom the first is the owner.
    value text collate "C" not null,
    -- A user, a participant (`program/user`) or a program; empty for erased_email.
    owner text collate "C" not null,
    primary key (kind, value)
);

-- Personal data, outside the log and never in it.
create table profiles (
    user_id       text collate "C" primary key,
    username      text not null,
    email         text not null,
    display_name  text not null,
    -- argon2id in PHC string form; null when a back end registered the user without a password.
    password_hash text
);

-- The programs that a user is in, for loading what a decision needs in one query. Rows are never changed.
create table enrollments (
    user_id    text collate "C" not null,
    program_id text collate "C" not null,
    primary key (user_id, program_id)
);

-- Who referred whom, for walking up a line in one query. Rows are never changed.
create table referrals (
    program_id       text collate "C" not null,
    referee_user_id  text collate "C" not null,
    referrer_user_id text collate "C" not null,
    primary key (program_id, referee_user_id)
);

-- The last batches of each server process, so that a batch that is sent again after a lost connection gets
-- the first answer instead of being appended twice. Rows are never updated: versions of one row would
-- accumulate while any old snapshot is open, and every append would have to skip them.
create table writers (
    writer      uuid        not null,
    batch       bigint      not null,
    head        bigint      not null,
    recorded_at timestamptz not null,
    verdicts    smallint[]  not null,
    facts       jsonb,
    primary key (writer, batch)
);

-- The secret key of fingerprints and of other hashes whose input must not be guessable.
create table secrets (
    name  text collate "C" primary key,
    value bytea not null
);

insert into secrets (name, value)
values ('fingerprint', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Epochs: lives of the database. A restored or moved database may hold less than what was acknowledged, so
-- that a position of an earlier epoch is only valid up to the end of that epoch.
create table epochs (
    -- Increases with time: the second in which the epoch began, counted from 2020, or one more than the last.
    epoch             integer primary key,
    -- Identity of the cluster, its timeline, the database in it, and the table of events with its file.
    system_identifier bigint  not null,
    timeline          bigint  not null,
    database_oid      bigint  not null,
    events_oid        bigint  not null,
    events_filenode   bigint  not null,
    -- The head of the log when the epoch began.
    start_position    bigint  not null
);

-- The functions created from `migrations/functions`, by this release and others. Their names end with a hash
-- of their content, so that the functions of several releases can coexist.
create table database_functions (
    name       text collate "C" primary key,
    created_at timestamptz not null
);
