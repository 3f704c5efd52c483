-- How users are paid: what a provider of payments knows them by. The log only has whether there is a method.
create table payout_methods (
    user_id   text collate "C" primary key,
    -- What the reference is of, as `paypal` or `sepa`.
    kind      text collate "C" not null,
    -- What the provider knows the user by. Personal data.
    reference text not null,
    -- When the user, or somebody for them, said so.
    set_time  timestamptz not null
);
