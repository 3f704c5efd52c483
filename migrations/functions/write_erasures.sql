-- Erases users: one object for each. Called after the functions that write rows, so that nothing of a user who was
-- registered or changed in the same batch is left.
create function {write_erasures}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    perform {erase_user}(c.content ->> 'user_id') from unnest(contents) as c(content);
end;
$$;
