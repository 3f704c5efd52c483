-- Adds visits ($1 codes, $2 days from 1970, $3 counts). Rows are written in one order by all servers, so that they wait
-- for each other and never in a circle. Somebody who is just being erased is passed by: a row that is added meanwhile
-- would stay.
with counted as (
    select
        split_part(claimed.owner, '/', 1) as program_id,
        substr(claimed.owner, strpos(claimed.owner, '/') + 1) as user_id,
        date '1970-01-01' + given.day as day,
        given.visit_count
    from unnest($1::text[], $2::integer[], $3::bigint[]) as given (code, day, visit_count)
    cross join lateral (
        select owner from claims where claims.kind = 'code' and claims.value = given.code limit 1
    ) as claimed
),
of_participants as (
    insert into visits (user_id, program_id, day, visit_count)
    select counted.user_id, counted.program_id, counted.day, counted.visit_count
    from counted
    cross join lateral (
        select from profiles where profiles.user_id = counted.user_id limit 1 for key share skip locked
    ) as not_erased
    order by counted.user_id, counted.program_id, counted.day
    on conflict (user_id, program_id, day)
    do update set visit_count = visits.visit_count + excluded.visit_count
)
insert into program_visits (program_id, day, visit_count)
select program_id, day, sum(visit_count) from counted group by program_id, day order by program_id, day
on conflict (program_id, day)
do update set visit_count = program_visits.visit_count + excluded.visit_count
