-- The participants that decisions about these users, participants and codes will need: the
-- participants of each user, the owner of each code, and the lines above all of them.
with recursive start (code, program_id, user_id) as (
    select null, e.program_id, e.user_id
    from unnest($1::text[]) as u(user_id)
    cross join lateral (select * from enrollments where enrollments.user_id = u.user_id) as e
    union all
    select null, p.program_id, p.user_id
    from unnest($2::text[], $3::text[]) as p(program_id, user_id)
    union all
    select c.code, split_part(owned.owner, '/', 1), substr(owned.owner, strpos(owned.owner, '/') + 1)
    from unnest($4::text[]) as c(code)
    cross join lateral (
        select owner from claims where claims.kind = 'code' and claims.value = c.code limit 1
    ) as owned
), line (code, program_id, user_id, level) as (
    select code, program_id, user_id, 0 from start
    union all
    select null, line.program_id, above.referrer_user_id, line.level + 1
    from line
    cross join lateral (
        select referrer_user_id from referrals
        where referrals.program_id = line.program_id and referrals.referee_user_id = line.user_id
        limit 1
    ) as above
    where line.level < $5
)
select distinct code, program_id, user_id from line
