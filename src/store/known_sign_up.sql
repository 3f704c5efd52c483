-- What of a sign-up is known already: who has its username ($1) and its e-mail address ($2), both in normal form, and
-- whether a request with its key ($3, may be null) was carried out.
select
    exists (select from claims where kind = 'username' and value = $1) as username_taken,
    exists (select from claims where kind = 'email' and value = $2) as email_taken,
    exists (select from receipts where key = $3) as is_repetition
