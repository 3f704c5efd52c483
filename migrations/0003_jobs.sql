-- Work that must be done once, after the events that require it: mails, webhooks, cleaning. Reactions insert
-- rows (see `reactions/`), and so may any other code.
create table jobs (
    -- 1, 2, 3, ..., possibly with gaps; later rows have greater ids.
    id                bigint      generated always as identity primary key,
    -- What is to be done. A server ignores kinds that it does not know.
    kind              text collate "C" not null,
    -- What the job is to be done to. Ids only, never personal data.
    payload           jsonb       not null,
    -- Jobs with the same kind and key are the same job, which is inserted once.
    dedupe_key        text collate "C" not null,
    -- queued, running, done, parked. A parked job has failed too often, and waits for an operator.
    state             text collate "C" not null default 'queued'
        check (state in ('queued', 'running', 'done', 'parked')),
    -- Number of attempts begun. Only the attempt with the last number can finish the job.
    attempts          integer     not null default 0,
    -- How many of these attempts no longer count, because an operator retried the job.
    forgiven_attempts integer     not null default 0,
    -- When the job may be begun. While it runs: when its worker must be dead, so that another may begin it.
    run_after         timestamptz not null default clock_timestamp(),
    -- Why the last attempt failed. Never personal data.
    last_error        text,
    created_at        timestamptz not null default clock_timestamp(),
    -- When the job was done; null before.
    finished_at       timestamptz,
    unique (kind, dedupe_key),
    -- Times that have no form outside of Postgres, such as `infinity`, would make lists of jobs unreadable.
    check (run_after between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00'),
    check (created_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00'),
    check (finished_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00')
);

-- For taking due jobs.
create index jobs_due on jobs (kind, run_after) where state in ('queued', 'running');
-- For lists, newest first.
create index jobs_of_state on jobs (state, id);
create index jobs_of_kind on jobs (kind, id);
-- For cleaning.
create index jobs_finished on jobs (finished_at) where state = 'done';

-- Durable consumers of the log, by the names of their folders. Moving a reaction requires a lock on its row.
create table reactions (
    name           text collate "C" primary key,
    -- The head of the log when the reaction was registered: earlier events do not concern it.
    start_position bigint not null
);

-- The position of each reaction. Rows are added, never updated, as with the checkpoints of read models:
-- versions of one row would accumulate while any old snapshot is open. Old rows are deleted from time to
-- time.
create table reaction_checkpoints (
    reaction text collate "C" not null references reactions,
    -- The jobs required by all events up to this position have been inserted.
    position bigint not null,
    moved_at timestamptz not null,
    primary key (reaction, position)
);
