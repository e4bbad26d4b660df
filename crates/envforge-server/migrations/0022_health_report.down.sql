DROP FUNCTION system_silent_hosts(timestamptz);
DROP FUNCTION system_ledger_health();
