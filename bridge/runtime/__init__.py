"""One web process's engine, pool, keys and ledger, put together."""
