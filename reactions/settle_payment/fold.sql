-- For each payment of Stripe of which a command of somebody else has recorded something, a job that records what is due
-- of it besides: what Stripe has told before can mean something else now. Whoever sent the command may have left, or the
-- server stopped, before that was done. What a webhook has not finished, Stripe delivers again.
with changes as materialized (
    -- The few events that can call for it, each with the door of its command.
    select event.position, event.aggregate_id, command.door
    from events as event
    cross join lateral (
        select start.metadata ->> 'door' as door
        from events as start
        where start.position > $1 and start.position <= event.position and start.metadata ? 'command_events'
        order by start.position desc
        limit 1
    ) as command
    -- Without any payment there is nothing to read.
    where (select exists (select from stripe_payments))
        and event.position > $1 and event.position <= $2
        -- By its first letters, and not by `like`, so that no plan looks for all payments there ever were.
        and event.aggregate_type = 'Purchase' and left(event.aggregate_id, 3) = 'pi_'
        and event.event_type in ('PurchaseRecorded', 'PurchaseRefunded', 'RefundCancelled', 'DisputeOpened',
            'DisputeUpdated', 'DisputeClosed')
)
insert into jobs (kind, dedupe_key, payload)
select 'settle_payment', changed.payment_id || '/' || changed.position,
    jsonb_build_object('payment_id', changed.payment_id)
from (
    select change.aggregate_id as payment_id, max(change.position) as position
    from changes as change
    where change.door <> 'webhook:stripe'
    group by change.aggregate_id
) as changed
where exists (select from stripe_payments as known where known.payment_id = changed.payment_id)
on conflict (kind, dedupe_key) do nothing
