-- Receipts of usage sessions that have ended, and what was reported of them (expand).

-- Written once, never changed: the application may not. The text is what the hash in the ledger is of.
CREATE TABLE receipts (
    session_id   uuid PRIMARY KEY,
    org_id       uuid NOT NULL,
    workspace_id uuid NOT NULL,
    ended_at     timestamptz NOT NULL,
    document     text NOT NULL,
    sha256       text NOT NULL,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX receipts_workspace ON receipts (workspace_id, ended_at, session_id);
CREATE INDEX receipts_org ON receipts (org_id, ended_at, session_id);

-- What is reported to the provider of metered billing. `tried_at`: since when it may have arrived without our knowing; its
-- identifier protects against a second time for a day.
CREATE TABLE billing_reports (
    session_id uuid PRIMARY KEY REFERENCES receipts ON DELETE CASCADE,
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    tried_at   timestamptz,
    sent_at    timestamptz
);
CREATE INDEX billing_reports_org ON billing_reports (org_id);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['receipts', 'billing_reports']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO envforge_app', name);
    END LOOP;
END $$;
GRANT UPDATE ON billing_reports TO envforge_app;
CREATE POLICY reader ON receipts AS RESTRICTIVE USING ((SELECT hidden_list()) = '' OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = receipts.workspace_id));

-- Receipts are proven by their events, for as long as there are receipts.
CREATE OR REPLACE FUNCTION system_prune_ledger(upto bigint) RETURNS bigint
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
          AND e.verb NOT IN ('window.opened', 'window.closed', 'receipt.final')
    ) THEN
        RAISE EXCEPTION 'an event up to position % is younger than its anchor says', upto;
    END IF;
    WITH seals AS (
        DELETE FROM ledger_seals s USING ledger_events e
        WHERE e.id = s.event_id AND coalesce(s.org_id, nil) = this AND s.position <= upto
          AND e.verb NOT IN ('window.opened', 'window.closed', 'receipt.final')
        RETURNING s.event_id
    )
    DELETE FROM ledger_events e USING seals WHERE e.id = seals.event_id;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    DELETE FROM ledger_checkpoints c WHERE coalesce(c.org_id, nil) = this AND c.position < upto;
    RETURN pruned;
END $$;
