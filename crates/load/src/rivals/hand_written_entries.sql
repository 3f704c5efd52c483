-- Inserts both rewards of a purchase.
insert into entries (user_id, number, amount_minor, payload)
values ($1, $2, $3, $4::jsonb), ($5, $6, $7, $8::jsonb)
