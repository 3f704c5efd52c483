-- The hash by which the address of an erased user is recognised: HMAC-SHA-256 (RFC 2104) of the address in the form
-- in which addresses are compared. Without the key, which stays in the database, nobody can try addresses out.
create function {address_key}(address text) returns text
language plpgsql
stable
set search_path from current
as $$
declare
    secret bytea;
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
begin
    -- The key has 32 bytes, fewer than the 64 of a block.
    select value into strict secret from secrets where name = 'addresses';
    for place in 0 .. length(secret) - 1 loop
        inner_pad := set_byte(inner_pad, place, get_byte(inner_pad, place) # get_byte(secret, place));
        outer_pad := set_byte(outer_pad, place, get_byte(outer_pad, place) # get_byte(secret, place));
    end loop;
    return encode(sha256(outer_pad || sha256(inner_pad || convert_to(address, 'UTF8'))), 'hex');
end;
$$;
