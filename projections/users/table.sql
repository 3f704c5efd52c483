-- All users. Names and addresses are personal data and are stored elsewhere.
create table {table} (
    user_id             text collate "C" primary key,
    -- The last event that changed the row.
    last_position       bigint      not null,
    registered_position bigint      not null,
    register_time       timestamptz not null,
    is_active           boolean     not null,
    is_erased           boolean     not null
);

create index on {table} (registered_position);
