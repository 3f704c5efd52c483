-- The tables and functions of these names that the schema lacks.
select 'table' as kind, wanted.name
from unnest($1::text[]) as wanted(name)
where not exists (
    select from pg_class
    where pg_class.relname = wanted.name
        and pg_class.relnamespace = to_regnamespace(quote_ident(current_schema()))
        and pg_class.relkind in ('r', 'p')
)
union all
select 'function', wanted.name
from unnest($2::text[]) as wanted(name)
where not exists (
    select from pg_proc
    where pg_proc.proname = wanted.name
        and pg_proc.pronamespace = to_regnamespace(quote_ident(current_schema()))
)
order by kind, name
