-- What operators and callers write for people to read: the reason of a refund, the note of an adjustment. The log has
-- short codes only.
create table notes (
    number       bigint      generated always as identity primary key,
    -- What the note is about.
    subject_kind text        collate "C" not null,
    subject_id   text        collate "C" not null,
    -- The user whom the note is about, and with whose data it is erased.
    user_id      text        collate "C" not null,
    -- Who wrote it, as the log names actors.
    author       text        collate "C" not null,
    -- Free text. Personal data.
    note         text        not null,
    note_time    timestamptz not null
);

-- For showing notes with their subjects.
create index notes_of_subject on notes (subject_kind, subject_id);
-- For erasing a user.
create index notes_of_user on notes (user_id);
-- For cleaning. Rows are inserted nearly in this order.
create index notes_time on notes using brin (note_time);
