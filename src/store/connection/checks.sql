-- What no connection can set.
select current_setting('server_encoding') as encoding,
    current_setting('default_transaction_read_only')::boolean as is_read_only,
    current_schema()::text as schema,
    current_setting('search_path') as search_path,
    current_setting('default_transaction_isolation') as isolation,
    current_setting('fsync') as fsync,
    current_setting('full_page_writes') as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit
