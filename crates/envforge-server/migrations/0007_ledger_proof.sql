-- The ledger proves itself (expand): what is still to be sealed, how verification stands, anchors of pruned chains, search.

-- Chains are named by their org; the installation's by the nil UUID, so that one index and one condition serve both.
CREATE FUNCTION current_chain() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_org(), '00000000-0000-0000-0000-000000000000')
$$;

-- What has no place yet: written with the event, deleted with its sealing. The ledger itself need not be searched for it.
CREATE TABLE ledger_unsealed (
    chain uuid NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (chain, seq)
);
INSERT INTO ledger_unsealed (chain, seq)
SELECT coalesce(e.org_id, '00000000-0000-0000-0000-000000000000'), e.seq
FROM ledger_events e WHERE NOT EXISTS (SELECT FROM ledger_seals s WHERE s.event_id = e.id);
ALTER TABLE ledger_unsealed ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ledger_unsealed USING (chain = current_chain()) WITH CHECK (chain = current_chain());
GRANT SELECT, INSERT, DELETE ON ledger_unsealed TO envforge_app;

CREATE OR REPLACE FUNCTION system_unsealed_chains() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT nullif(chain, '00000000-0000-0000-0000-000000000000') FROM ledger_unsealed
$$;

-- How far a chain was verified. No proof by itself: the signed checkpoints are.
CREATE TABLE ledger_states (
    org_id            uuid REFERENCES orgs,
    -- The highest position verified: the chain never ends before it.
    verified_position bigint NOT NULL,
    verified_hash     text NOT NULL,
    verified_at       timestamptz NOT NULL,
    -- Where the round over the whole chain is, while one is under way: first among the events kept below an anchor, then after it.
    round_position    bigint,
    round_hash        text,
    round_kept        bigint,
    whole_at          timestamptz,
    broken_position   bigint,
    broken_reason     text,
    broken_at         timestamptz
);
CREATE UNIQUE INDEX ledger_states_chain ON ledger_states (coalesce(org_id, '00000000-0000-0000-0000-000000000000'));

-- Where a pruned chain goes on: signed, like checkpoints, and never changed.
CREATE TABLE ledger_anchors (
    org_id    uuid REFERENCES orgs,
    position  bigint NOT NULL,
    hash      text NOT NULL,
    before    timestamptz NOT NULL,
    kept      bigint NOT NULL,
    kept_hash text NOT NULL,
    key       text NOT NULL,
    signature text NOT NULL
);
CREATE UNIQUE INDEX ledger_anchors_position ON ledger_anchors (coalesce(org_id, '00000000-0000-0000-0000-000000000000'), position);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger_states', 'ledger_anchors']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id IS NOT DISTINCT FROM current_org()) WITH CHECK (org_id IS NOT DISTINCT FROM current_org())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO envforge_app', name);
    END LOOP;
END $$;
GRANT UPDATE ON ledger_states TO envforge_app;

-- Search: each filter with the time, so that a page is read from an index and not sorted. The meter's own index is small.
ALTER TABLE ledger_events ADD COLUMN area text GENERATED ALWAYS AS (split_part(verb, '.', 1)) STORED;
CREATE INDEX ledger_events_time ON ledger_events (org_id, at, id);
CREATE INDEX ledger_events_actor ON ledger_events (org_id, actor, at, id);
CREATE INDEX ledger_events_verb ON ledger_events (org_id, verb, at, id);
CREATE INDEX ledger_events_area ON ledger_events (org_id, area, at, id);
CREATE INDEX ledger_events_subject_time ON ledger_events (org_id, subject, at, id);
CREATE INDEX ledger_events_windows ON ledger_events (org_id, subject, seq) WHERE verb IN ('window.opened', 'window.closed');
DROP INDEX ledger_events_subject;
DROP INDEX ledger_events_org;

-- The only way anything leaves the ledger. It deletes the events of this transaction's chain up to a position, but the meter's,
-- if that position has a checkpoint and an anchor of the same hash, all of them are older than the anchor says, that is at least
-- 30 days ago, and the chain goes on after it. Signatures are the application's to make and everybody's to check.
CREATE FUNCTION system_prune_ledger(upto bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    nil CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    this uuid := current_chain();
    cutoff timestamptz;
    pruned bigint;
BEGIN
    SELECT a.before INTO cutoff
    FROM ledger_anchors a
    JOIN ledger_checkpoints c ON coalesce(c.org_id, nil) = this AND c.position = upto AND c.hash = a.hash
    JOIN ledger_seals s ON coalesce(s.org_id, nil) = this AND s.position = upto AND s.hash = a.hash
    WHERE coalesce(a.org_id, nil) = this AND a.position = upto;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'position % has no checkpoint and anchor of its hash', upto;
    END IF;
    IF cutoff > now() - interval '30 days' THEN
        RAISE EXCEPTION 'nothing younger than 30 days is pruned';
    END IF;
    IF NOT EXISTS (SELECT FROM ledger_seals s WHERE coalesce(s.org_id, nil) = this AND s.position > upto) THEN
        RAISE EXCEPTION 'the head of a chain is not pruned';
    END IF;
    IF EXISTS (
        SELECT FROM ledger_seals s JOIN ledger_events e ON e.id = s.event_id
        WHERE coalesce(s.org_id, nil) = this AND s.position <= upto AND e.at >= cutoff
          AND e.verb NOT IN ('window.opened', 'window.closed')
    ) THEN
        RAISE EXCEPTION 'an event up to position % is younger than its anchor says', upto;
    END IF;
    WITH seals AS (
        DELETE FROM ledger_seals s USING ledger_events e
        WHERE e.id = s.event_id AND coalesce(s.org_id, nil) = this AND s.position <= upto
          AND e.verb NOT IN ('window.opened', 'window.closed')
        RETURNING s.event_id
    )
    DELETE FROM ledger_events e USING seals WHERE e.id = seals.event_id;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    DELETE FROM ledger_checkpoints c WHERE coalesce(c.org_id, nil) = this AND c.position < upto;
    RETURN pruned;
END $$;
REVOKE ALL ON FUNCTION system_prune_ledger(bigint), current_chain() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_prune_ledger(bigint), current_chain() TO envforge_app;
