-- Appends a batch of commands to the log: all their checks, events and rows in one round trip and one
-- transaction.
--
-- Appends of all servers queue at one lock, and positions are assigned while it is held. The order of
-- positions is therefore the order of commits, there are no gaps, and a reader that has seen position n has
-- seen everything before it.
--
-- Commands are numbered 1 to command_count. Each gets a verdict:
--   0 appended   its events are in the log
--   1 duplicate  its receipt exists; facts.duplicates has the positions and the fingerprint
--   2 taken      a value that it claims belongs to another; facts.taken has the claim's number and the owner
--   3 conflict   a stream that it read has changed (facts.moved), its decision rests on an owner who no
--                longer owns the value (facts.changed), or an earlier command of the batch, on which it
--                builds, has not been appended
--
-- A stream's version is that before the batch; dependencies cover what earlier commands of the batch do to a
-- stream.
--
-- Looking up the last event of every stream that was read would be half of the work. A server that knows its
-- streams as of the last event of the log therefore passes that event: if it is still the last one, no other
-- server can have changed anything.
create function {append}(
    -- The server process and the number of its batch. The same numbers again get the same answer.
    writer uuid,
    batch bigint,
    command_count integer,
    -- Streams that were read, each once, and their versions before the batch.
    stream_types text[],
    stream_ids text[],
    stream_versions bigint[],
    -- Whether the version is known to be current at this end of the log.
    stream_is_known boolean[],
    expected_head bigint,
    expected_recorded_at timestamptz,
    -- Pairs: this command read that stream (its index in the arrays above).
    check_commands integer[],
    check_streams integer[],
    -- Pairs: this command builds on that earlier one. In the order of the first.
    dependency_commands integer[],
    dependency_on integer[],
    -- Events, in the order of the log.
    event_commands integer[],
    event_aggregate_types text[],
    event_aggregate_ids text[],
    event_sequences bigint[],
    event_types text[],
    event_versions text[],
    event_payloads text[],
    event_metadata text[],
    -- The number of events of each command.
    event_counts integer[],
    receipt_commands integer[],
    receipt_keys uuid[],
    receipt_fingerprints bytea[],
    -- Whether the receipt is stored; that of a refused command is only looked up.
    receipt_keeps boolean[],
    -- Steps of commands on claims, in order: 0 claims the value for the owner, 1 releases it, 2 states that
    -- the decision rests on the fact that the value belongs to this owner, or to nobody if the owner is null.
    claim_commands integer[],
    claim_kinds text[],
    claim_values text[],
    claim_owners text[],
    claim_steps smallint[],
    -- Rows outside the log, in order: the function that writes them, and each row as JSON.
    row_commands integer[],
    row_writers text[],
    row_contents text[],
    out head bigint,
    out recorded_at timestamptz,
    out verdicts smallint[],
    out facts jsonb,
    -- Whether the end of the log was as expected.
    out is_expected boolean
)
language plpgsql
volatile
-- The plans below may be cached while the tables are still empty, when a sequential scan looks cheap. Every
-- look-up is therefore a lateral subquery with a limit, so that the planner has to use the index.
set search_path from current
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
#variable_conflict use_column
declare
    previous record;
    duplicates jsonb;
    taken jsonb;
    changed integer[];
    given_up integer[];
    moved integer[];
    first_positions bigint[];
begin
    -- With an older snapshot the head read below could be outdated.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append needs read committed, not %', current_setting('transaction_isolation');
    end if;

    perform pg_advisory_xact_lock({log_key}());

    -- A separate statement, so that its snapshot is taken after the lock.
    select w.batch, w.head, w.recorded_at, w.verdicts, w.facts into previous
    from writers w where w.writer = {append}.writer order by w.batch desc limit 1;
    if found and previous.batch = {append}.batch then
        head := previous.head;
        recorded_at := previous.recorded_at;
        verdicts := previous.verdicts;
        facts := previous.facts;
        is_expected := false;
        return;
    elsif found and previous.batch > {append}.batch then
        raise exception 'batch % of writer % comes after batch %', {append}.batch, {append}.writer, previous.batch;
    end if;

    select e.position, e.recorded_at into head, recorded_at
    from events e order by e.position desc limit 1;
    is_expected := coalesce(head = expected_head and recorded_at = expected_recorded_at, false);
    head := coalesce(head, 0);
    recorded_at := greatest(recorded_at, clock_timestamp());
    verdicts := array_fill(0::smallint, array[command_count]);

    -- A stream can also be shorter than when it was read, in a database that has lost the end of its log.
    select array_agg(s.ordinal::integer) into moved
    from unnest(stream_types, stream_ids, stream_versions, stream_is_known)
        with ordinality as s(aggregate_type, aggregate_id, version, is_known, ordinal)
    left join lateral (
        select e.sequence from events e
        where e.aggregate_type = s.aggregate_type and e.aggregate_id = s.aggregate_id
        order by e.sequence desc
        limit 1
    ) as last_event on true
    where not (s.is_known and is_expected) and coalesce(last_event.sequence, 0) <> s.version;

    if cardinality(receipt_commands) > 0 then
        select jsonb_agg(jsonb_build_object(
                'command', r.command,
                'fingerprint', encode(known.fingerprint, 'hex'),
                'first_position', known.first_position,
                'last_position', known.last_position))
        into duplicates
        from unnest(receipt_commands, receipt_keys) as r(command, key)
        cross join lateral (
            select * from receipts where receipts.key = r.key limit 1
        ) as known;
    end if;

    if cardinality(claim_commands) > 0 then
        given_up := array_positions(claim_steps, 1::smallint);
        -- A value that its owner releases earlier in the batch is free. (The command that claims it builds on
        -- the one that releases it, so the former is not appended without the latter.)
        select jsonb_agg(jsonb_build_object(
                'command', c.command, 'claim', c.ordinal, 'owner', known.owner))
        into taken
        from unnest(claim_commands, claim_kinds, claim_values, claim_owners, claim_steps)
            with ordinality as c(command, kind, value, owner, step, ordinal)
        cross join lateral (
            select owner from claims where claims.kind = c.kind and claims.value = c.value limit 1
        ) as known
        where c.step = 0 and known.owner <> c.owner
            and not exists (
                select from unnest(given_up) as earlier(ordinal)
                where earlier.ordinal < c.ordinal
                    and claim_kinds[earlier.ordinal] = c.kind
                    and claim_values[earlier.ordinal] = c.value
                    and claim_owners[earlier.ordinal] = known.owner);

        -- Decisions that rest on an owner who no longer owns the value.
        select array_agg(distinct c.command) into changed
        from unnest(claim_commands, claim_kinds, claim_values, claim_owners, claim_steps)
            as c(command, kind, value, owner, step)
        left join lateral (
            select owner from claims where claims.kind = c.kind and claims.value = c.value limit 1
        ) as known on true
        where c.step = 2 and known.owner is distinct from c.owner;
    end if;

    if coalesce(duplicates, taken, to_jsonb(changed), to_jsonb(moved)) is not null then
        facts := jsonb_build_object(
            'duplicates', coalesce(duplicates, '[]'),
            'taken', coalesce(taken, '[]'),
            'changed', coalesce(to_jsonb(changed), '[]'),
            'moved', coalesce(to_jsonb(moved), '[]'));
        for previous in
            select f.command, min(f.verdict) as verdict
            from (
                select (d ->> 'command')::integer as command, 1::smallint as verdict
                from jsonb_array_elements(facts -> 'duplicates') d
                union all
                select (t ->> 'command')::integer, 2::smallint
                from jsonb_array_elements(facts -> 'taken') t
                union all
                select command, 3::smallint from unnest(changed) as c(command)
                union all
                select c.command, 3::smallint
                from unnest(check_commands, check_streams) as c(command, stream)
                where c.stream = any (moved)
            ) as f
            group by f.command
        loop
            verdicts[previous.command] := previous.verdict;
        end loop;
        for previous in
            select d.command, d.builds_on
            from unnest(dependency_commands, dependency_on)
                with ordinality as d(command, builds_on, ordinal)
            order by d.ordinal
        loop
            if verdicts[previous.command] = 0 and verdicts[previous.builds_on] <> 0 then
                verdicts[previous.command] := 3;
            end if;
        end loop;
    end if;

    insert into events (
        position, sequence, recorded_at, aggregate_type, aggregate_id,
        event_type, event_version, payload, metadata)
    -- In the order of the arrays, in which `unnest` yields them.
    select head + row_number() over (), e.sequence, {append}.recorded_at,
        e.aggregate_type, e.aggregate_id, e.event_type, e.event_version,
        e.payload::jsonb, e.metadata::jsonb
    from unnest(
            event_commands, event_aggregate_types, event_aggregate_ids, event_sequences,
            event_types, event_versions, event_payloads, event_metadata)
        as e(
            command, aggregate_type, aggregate_id, sequence,
            event_type, event_version, payload, metadata)
    where verdicts[e.command] = 0;

    if cardinality(receipt_commands) > 0 then
        select array_agg(c.first_position order by c.ordinal) into first_positions
        from (
            select n.ordinal, head + 1 - n.events + sum(n.events) over (order by n.ordinal)
                as first_position
            from (
                select c.ordinal,
                    case when verdicts[c.ordinal::integer] = 0 then c.events else 0 end as events
                from unnest(event_counts) with ordinality as c(events, ordinal)
            ) as n
        ) as c;
        insert into receipts (key, fingerprint, first_position, last_position)
        select r.key, r.fingerprint, first_positions[r.command],
            first_positions[r.command] + event_counts[r.command] - 1
        from unnest(receipt_commands, receipt_keys, receipt_fingerprints, receipt_keeps)
            as r(command, key, fingerprint, keep)
        where r.keep and verdicts[r.command] = 0;
    end if;

    if cardinality(claim_commands) > 0 then
        -- The same value can be released and claimed several times in a batch. A claim that is released later
        -- in the batch is not written at all.
        if cardinality(given_up) > 0 then
            delete from claims where ctid = any (array(
                select known.ctid
                from unnest(claim_commands, claim_kinds, claim_values, claim_owners, claim_steps)
                    as c(command, kind, value, owner, step)
                cross join lateral (
                    select claims.ctid, owner from claims
                    where claims.kind = c.kind and claims.value = c.value
                    limit 1
                ) as known
                where c.step = 1 and verdicts[c.command] = 0 and known.owner = c.owner));
        end if;
        insert into claims (kind, value, owner)
        select c.kind, c.value, c.owner
        from unnest(claim_commands, claim_kinds, claim_values, claim_owners, claim_steps)
            with ordinality as c(command, kind, value, owner, step, ordinal)
        where c.step = 0 and verdicts[c.command] = 0
            and not exists (
                select from unnest(given_up) as later(ordinal)
                where later.ordinal > c.ordinal and verdicts[claim_commands[later.ordinal]] = 0
                    and claim_kinds[later.ordinal] = c.kind
                    and claim_values[later.ordinal] = c.value
                    and claim_owners[later.ordinal] = c.owner)
        on conflict (kind, value) do nothing;
    end if;

    if cardinality(row_commands) > 0 then
        for previous in
            select r.writer, array_agg(r.content::jsonb order by r.ordinal) as contents
            from unnest(row_commands, row_writers, row_contents)
                with ordinality as r(command, writer, content, ordinal)
            where verdicts[r.command] = 0
            group by r.writer
            -- Erasures delete what the others write.
            order by r.writer like 'write\_erasures\_%', r.writer
        loop
            execute format('select %I($1)', previous.writer) using previous.contents;
        end loop;
    end if;

    insert into writers (writer, batch, head, recorded_at, verdicts, facts)
    values ({append}.writer, {append}.batch, {append}.head, {append}.recorded_at, {append}.verdicts, {append}.facts);
    -- Only the last batch is ever looked up. The range is bounded, so that the search never scans more than
    -- it removes.
    if {append}.batch % 100 = 0 then
        delete from writers w
        where w.writer = {append}.writer and w.batch between {append}.batch - 100 and {append}.batch - 1;
    end if;
end;
$$;
