-- The state of a payment without the name of a buyer, wherever it names one: as `Payment::forget` in the crate of
-- Stripe's webhooks leaves it, which keeps that somebody was named, and when. A test compares both.
create function {forget_buyer}(state jsonb, forgotten text) returns jsonb
language sql
immutable
set search_path from current
as $$
    select state
        || '{"has_forgotten": true}'
        || case when state ->> 'attached_user_id' = forgotten
            then '{"attached_user_id": null}' else '{}' end::jsonb
        || case when state #>> '{intent_user_id,value}' = forgotten
            then jsonb_build_object('intent_user_id', state -> 'intent_user_id' || '{"value": ""}')
            else '{}' end
        || jsonb_build_object(
            'sessions', coalesce((
                select jsonb_object_agg(
                    session.key,
                    session.value
                        || case when session.value #>> '{reference,value}' = forgotten
                            then jsonb_build_object(
                                'reference', session.value -> 'reference' || '{"value": ""}'
                            )
                            else '{}' end
                        || case when session.value #>> '{metadata_user_id,value}' = forgotten
                            then jsonb_build_object(
                                'metadata_user_id', session.value -> 'metadata_user_id' || '{"value": ""}'
                            )
                            else '{}' end
                )
                from jsonb_each(state -> 'sessions') as session
            ), '{}'),
            'invoices', coalesce((
                select jsonb_object_agg(
                    invoice.key,
                    invoice.value
                        || case when invoice.value #>> '{subscription_user_id,value}' = forgotten
                            then jsonb_build_object(
                                'subscription_user_id', invoice.value -> 'subscription_user_id' || '{"value": ""}'
                            )
                            else '{}' end
                )
                from jsonb_each(state -> 'invoices') as invoice
            ), '{}')
        )
$$;
