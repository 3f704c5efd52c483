-- Erasing users: finding the values that a user has claimed, and remembering addresses without keeping them.

-- For releasing what a user has claimed, and for finding the address of a user. Codes are never released. Plans are made
-- and cached while tables are small, when all indexes look equally good: queries by owner name the kind in this form,
-- which the primary key is no use for, or they would search all addresses.
create index claims_of_users on claims (owner)
where kind || '' in ('username', 'email', 'mailbox', 'look_alike', 'fingerprint');

-- The key of the hashes by which the addresses of erased users are recognised (claims of the kind `erased_email`).
insert into secrets (name, value)
values ('addresses', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
