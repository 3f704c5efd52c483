-- Copies of read models: tables that are derived from the log alone.
--
-- A read model is a folder in `projections/`. The name of its table contains a hash of the folder's two
-- files, so that servers of different releases each maintain and read their own copy.
create table read_model_copies (
    -- The table's name.
    copy        text collate "C" primary key,
    -- The folder's name.
    name        text collate "C" not null,
    -- Whether the copy has ever reached the head of the log; until then no read uses it.
    is_complete boolean not null
);

-- The position of each copy. Rows are added, never updated: versions of one row would accumulate while any
-- old snapshot is open, and every read would have to skip them. Old rows are deleted from time to time.
create table checkpoints (
    copy      text collate "C" not null references read_model_copies on delete cascade,
    -- The copy has applied all events up to this position.
    position  bigint not null,
    folded_at timestamptz not null,
    primary key (copy, position)
);
