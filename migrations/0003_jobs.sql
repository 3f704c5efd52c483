-- Work that must be done once, after the events that call for it: mails, webhooks, cleaning. Rows come from
-- reactions (see `reactions/`), or are inserted by whoever wants something done.
create table jobs (
    -- 1, 2, 3, ..., perhaps with gaps; what was inserted later has the greater one.
    id                bigint      generated always as identity primary key,
    -- What is to be done. A server leaves alone what it does not know.
    kind              text collate "C" not null,
    -- What it is to be done to. Ids only, never personal data.
    payload           jsonb       not null,
    -- The same kind and key is the same job, which is inserted once.
    dedupe_key        text collate "C" not null,
    -- queued, running, done, parked. A parked one has failed too often, and waits for an operator.
    state             text collate "C" not null default 'queued'
        check (state in ('queued', 'running', 'done', 'parked')),
    -- How often it was begun. Only the attempt with the last number can finish it.
    attempts          integer     not null default 0,
    -- How many of these an operator has forgiven, by having it tried again.
    forgiven_attempts integer     not null default 0,
    -- When it can be begun. While it runs: when its worker must be dead, so that another may begin it.
    run_after         timestamptz not null default clock_timestamp(),
    -- Why the last attempt failed. Never personal data.
    last_error        text,
    created_at        timestamptz not null default clock_timestamp(),
    -- When it was done; null before.
    finished_at       timestamptz,
    unique (kind, dedupe_key)
);

-- For taking what is due.
create index jobs_due on jobs (kind, run_after) where state in ('queued', 'running');
-- For lists, the newest first.
create index jobs_of_state on jobs (state, id);
create index jobs_of_kind on jobs (kind, id);
-- For cleaning.
create index jobs_finished on jobs (finished_at) where state = 'done';

-- Durable consumers of the log, by the names of their folders. Whoever moves one locks its row first.
create table reactions (
    name           text collate "C" primary key,
    -- The head of the log when it was first seen: what was recorded before concerns it not.
    start_position bigint not null
);

-- How far each reaction has come. Rows are added, never updated, as with the checkpoints of read models: the
-- versions of one row would pile up while any old snapshot is open. Old rows are deleted now and then.
create table reaction_checkpoints (
    reaction text collate "C" not null references reactions,
    -- The jobs that everything up to here calls for have been inserted.
    position bigint not null,
    moved_at timestamptz not null,
    primary key (reaction, position)
);
