-- What an operator is told of hosts and ledgers of all orgs (expand).

-- Registered hosts that were not heard of since a time, the longest silent first.
CREATE FUNCTION system_silent_hosts(since timestamptz)
RETURNS TABLE (name text, org_slug text, heard_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.name, o.slug, coalesce(h.last_seen_at, h.created_at)
    FROM hosts h JOIN orgs o ON o.org_id = h.org_id
    WHERE h.key_digest IS NOT NULL AND coalesce(h.last_seen_at, h.created_at) < since
    ORDER BY coalesce(h.last_seen_at, h.created_at) LIMIT 20
$$;

-- Numbers of all chains, and of the first broken one what is told of it.
CREATE FUNCTION system_ledger_health()
RETURNS TABLE (
    chains bigint, oldest_verified_at timestamptz, unsealed bigint, oldest_unsealed_at timestamptz,
    broken bigint, broken_chain text, broken_position bigint, broken_reason text, broken_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT (SELECT count(*) + 1 FROM orgs), v.oldest, u.events, u.oldest,
           v.broken, b.chain, b.position, b.reason, b.at
    FROM (SELECT min(verified_at) AS oldest, count(*) FILTER (WHERE broken_at IS NOT NULL) AS broken FROM ledger_states) v
    CROSS JOIN (
        SELECT count(*) AS events, min(e.at) AS oldest FROM ledger_unsealed w JOIN ledger_events e ON e.seq = w.seq
    ) u
    LEFT JOIN LATERAL (
        SELECT coalesce(o.slug, 'the installation') AS chain, s.broken_position AS position, s.broken_reason AS reason, s.broken_at AS at
        FROM ledger_states s LEFT JOIN orgs o ON o.org_id = s.org_id
        WHERE s.broken_at IS NOT NULL ORDER BY s.broken_at LIMIT 1
    ) b ON true
$$;
REVOKE ALL ON FUNCTION system_silent_hosts(timestamptz), system_ledger_health() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_silent_hosts(timestamptz), system_ledger_health() TO envforge_app;
