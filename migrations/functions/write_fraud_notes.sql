-- Writes what reviewers wrote with their decisions: one object for each decision.
create function {write_fraud_notes}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into fraud_notes (flag_id, number, user_id, referrer_user_id, other_user_id, note, note_time)
    select n.flag_id, n.number, n.user_id, n.referrer_user_id, n.other_user_id, n.note,
        to_timestamp(0) + n.note_time_us * interval '1 microsecond'
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as n(
        flag_id text, number integer, user_id text, referrer_user_id text, other_user_id text, note text,
        note_time_us bigint);
end;
$$;
