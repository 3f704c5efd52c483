-- Erases users: one object for each. Called after the functions that write rows, so that nothing of a user who was
-- registered or changed in the same batch is left.
create function {write_erasures}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    -- What Stripe tells about one of them is taken in before or after: whoever is later sees the other. All locks are
    -- taken before any row of `stripe_payments` or `stripe_events` is, and in one order.
    perform pg_advisory_xact_lock(
        hashtextextended('stripe ' || current_schema() || ' user:' || erased.user_id, 0)
    )
    from (
        select c.content ->> 'user_id' as user_id from unnest(contents) as c(content) order by 1
    ) as erased;

    perform {erase_user}(c.content ->> 'user_id') from unnest(contents) as c(content);
end;
$$;
