-- Inserts keys, and marks keys as revoked: in this order, as one batch may create a key and revoke it.
create function {write_api_keys}(contents jsonb[]) returns void
language plpgsql
volatile
set search_path from current
as $$
begin
    insert into api_keys (
        key_id, hash, name, role, user_id, rpcs, program_ids, created_at, expires_at, created_by,
        creator_user_id)
    select
        k.key_id, decode(k.hash, 'hex'), k.name, k.role, k.user_id, k.rpcs, k.program_ids,
        to_timestamp(0) + k.create_time_us * interval '1 microsecond',
        to_timestamp(0) + k.expire_time_us * interval '1 microsecond', k.created_by, k.creator_user_id
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as k(
        key_id text, hash text, name text, role text, user_id text, rpcs text[], program_ids text[],
        create_time_us bigint, expire_time_us bigint, created_by text, creator_user_id text)
    where c.content ? 'hash';

    update api_keys
    set revoked_at = to_timestamp(0) + r.revoke_time_us * interval '1 microsecond'
    from unnest(contents) as c(content)
    cross join lateral jsonb_to_record(c.content) as r(key_id text, revoke_time_us bigint)
    where not c.content ? 'hash' and api_keys.key_id = r.key_id;
end;
$$;
