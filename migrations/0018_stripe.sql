-- What Stripe told by webhooks. Payments stand beside the log: what is recorded of them is purchases, refunds and
-- disputes, and what is here says what was told, and what still waits.

-- A payment, by everything that was told about it.
create table stripe_payments (
    -- The payment intent, which is also the id of the purchase.
    payment_id text        collate "C" primary key,
    -- For pages, in the order in which payments were first heard of.
    number     bigint      generated always as identity unique,
    -- Everything that was told, in the form of the crate of Stripe's webhooks. Personal data: it names buyers in words
    -- of the merchant.
    state      jsonb       not null,
    -- Raised with each change of the state, so that nobody acts on an older one.
    version    bigint      not null default 1,
    -- The buyer, as far as known: by the purchase, else the first who is named.
    user_id    text        collate "C",
    -- All whom the state names and who can be users: each has a right that it is forgotten.
    named_user_ids text[]  not null default '{}',
    -- The last event of the purchase's stream that was known when it was noted what waits.
    noted_sequence bigint  not null default 0,
    -- What waits for an event or an operator, as a list; null if nothing does.
    parked     jsonb,
    first_at   timestamptz not null default clock_timestamp(),
    changed_at timestamptz not null default clock_timestamp()
);

-- For the list of payments that wait: few.
create index stripe_payments_parked on stripe_payments (number) where parked is not null;
-- For erasing a user.
create index stripe_payments_of_user on stripe_payments (user_id) where user_id is not null;
create index stripe_payments_naming on stripe_payments using gin (named_user_ids);

-- The objects of Stripe that belong to a payment: sessions, invoices, charges and the payment intent itself.
create table stripe_payment_keys (
    key        text collate "C" not null,
    payment_id text collate "C" not null references stripe_payments on delete cascade,
    primary key (key, payment_id)
);

-- For deleting a payment.
create index stripe_payment_keys_of_payment on stripe_payment_keys (payment_id);

-- Events as they came, for some days.
create table stripe_events (
    -- A repeated delivery has the same one.
    event_id    text        collate "C" primary key,
    event_type  text        collate "C" not null,
    -- The payment that the event is about, once that is known.
    payment_id  text        collate "C",
    -- The buyer, as far as known: by the payment, else the first whom the event names.
    user_id     text        collate "C",
    -- All whom the event names and who can be users.
    named_user_ids text[]   not null default '{}',
    -- The raw body. Personal data; null if the buyer, or anybody named, was erased before it came.
    body        text,
    received_at timestamptz not null default clock_timestamp()
);

-- For naming the buyer, when that becomes known.
create index stripe_events_of_payment on stripe_events (payment_id) where payment_id is not null;
-- For erasing a user.
create index stripe_events_of_user on stripe_events (user_id) where user_id is not null;
create index stripe_events_naming on stripe_events using gin (named_user_ids);
-- For cleaning, which asks for the oldest again and again.
create index stripe_events_time on stripe_events (received_at);

-- The objects that an event names which names no payment: it waits for one that has the same object.
create table stripe_event_keys (
    key      text collate "C" not null,
    event_id text collate "C" not null references stripe_events on delete cascade,
    primary key (key, event_id)
);

-- For deleting an event.
create index stripe_event_keys_of_event on stripe_event_keys (event_id);
