-- Inserts enrollments. Their rows are never changed.
create function {write_enrollments}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into enrollments (user_id, program_id)
    select e.user_id, e.program_id
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as e(user_id text, program_id text);
end;
$$;
