-- Writes notes: one object for each, in the order in which they were written.
create function {write_notes}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into notes (subject_kind, subject_id, user_id, author, note, note_time)
    select n.subject_kind, n.subject_id, n.user_id, n.author, n.note,
        to_timestamp(0) + n.note_time_us * interval '1 microsecond'
    from unnest(contents) with ordinality as c(content, ordinal)
    cross join lateral jsonb_to_record(c.content) as n(
        subject_kind text, subject_id text, user_id text, author text, note text, note_time_us bigint)
    order by c.ordinal;
end;
$$;
