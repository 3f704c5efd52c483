-- For each payment of Stripe of which a command of somebody else has recorded something, a job that records what is due
-- of it besides: what Stripe has told before can mean something else now. Whoever sent the command may have left, or the
-- server stopped, before that was done. What a webhook has not finished, Stripe delivers again.
insert into jobs (kind, dedupe_key, payload)
select 'settle_payment', changed.payment_id || '/' || changed.position,
    jsonb_build_object('payment_id', changed.payment_id)
from (
    select event.aggregate_id as payment_id, max(event.position) as position
    from events as event
    cross join lateral (
        select start.metadata ->> 'door' as door
        from events as start
        where start.position > $1 and start.position <= event.position and start.metadata ? 'command_events'
        order by start.position desc
        limit 1
    ) as command
    where event.position > $1 and event.position <= $2
        and event.aggregate_type = 'Purchase' and event.aggregate_id like 'pi\_%'
        and event.event_type in ('PurchaseRecorded', 'PurchaseRefunded', 'RefundCancelled', 'DisputeOpened',
            'DisputeUpdated', 'DisputeClosed')
        and command.door <> 'webhook:stripe'
        and exists (select from stripe_payments as known where known.payment_id = event.aggregate_id)
    group by event.aggregate_id
) as changed
on conflict (kind, dedupe_key) do nothing
