merge into {table} as known
using (
    select aggregate_id as approval_id,
        max(position) as last_position,
        max(position) filter (where event_type = 'ApprovalRequested') as requested_position,
        (array_agg(payload -> 'asked') filter (where event_type = 'ApprovalRequested'))[1] as asked,
        -- Each of these is the first event of its command, which says by whom.
        max(metadata ->> 'actor') filter (where event_type = 'ApprovalRequested') as asked_by,
        max(recorded_at) filter (where event_type = 'ApprovalRequested') as request_time,
        -- Somebody decides once.
        max(case event_type when 'ApprovalGranted' then 'approved' when 'ApprovalDeclined' then 'declined' end)
            as decision,
        max(metadata ->> 'actor') filter (where event_type <> 'ApprovalRequested') as decided_by,
        max(recorded_at) filter (where event_type <> 'ApprovalRequested') as decide_time
    from events
    where position > $1 and position <= $2
        and event_type in ('ApprovalRequested', 'ApprovalGranted', 'ApprovalDeclined')
    group by aggregate_id
) as change
on known.approval_id = change.approval_id
when matched then update set
    last_position = change.last_position,
    state = coalesce(change.decision, known.state),
    decided_by = coalesce(change.decided_by, known.decided_by),
    decide_time = coalesce(change.decide_time, known.decide_time)
when not matched then insert (
    approval_id, last_position, requested_position, program_id, user_id, state, asked, asked_by, request_time,
    decided_by, decide_time)
values (
    change.approval_id, change.last_position, change.requested_position,
    -- The first slash ends the program, and the last one the user.
    split_part(change.approval_id, '/', 1),
    regexp_replace(change.approval_id, '^[^/]*/(.*)/[^/]*$', '\1'),
    coalesce(change.decision, 'pending'), change.asked, coalesce(change.asked_by, ''), change.request_time,
    change.decided_by, change.decide_time)
