-- Copies of read models: tables that are folded from the log and hold nothing that it does not.
--
-- A read model is a folder in `projections/`. Its table carries a hash of the folder's two files in its
-- name, so that servers of different releases each keep and read the copy that they know.
create table read_model_copies (
    -- The table's name.
    copy        text collate "C" primary key,
    -- The folder's name.
    name        text collate "C" not null,
    -- Whether it has ever reached the head of the log; before that, nobody is answered from it.
    is_complete boolean not null
);

-- How far each copy has come. Rows are added, never updated: versions of one row would pile up while any
-- old snapshot is open, and every read would have to step over them. Old rows are deleted now and then.
create table checkpoints (
    copy      text collate "C" not null references read_model_copies on delete cascade,
    -- Everything up to here is in the copy.
    position  bigint not null,
    folded_at timestamptz not null,
    primary key (copy, position)
);
