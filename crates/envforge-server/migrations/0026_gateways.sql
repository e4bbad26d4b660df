-- Several gateways beside each other: which are there, and what is open at each (expand).

-- Of the installation. Its feed renews `heard_at`; a row whose feed ended longer ago than a lease is deleted.
CREATE TABLE gateways (
    id       uuid PRIMARY KEY,
    address  text NOT NULL CHECK (length(address) <= 64),
    heard_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateways TO envforge_app;

-- Requests open at a gateway: a fact for the idle rule, which sees their sum. `runtimes.in_flight` and
-- `system_forget_requests()` are what the release before knew in their place.
CREATE TABLE gateway_requests (
    workspace_id uuid NOT NULL,
    gateway_id   uuid NOT NULL REFERENCES gateways ON DELETE CASCADE,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    in_flight    integer NOT NULL CHECK (in_flight > 0),
    PRIMARY KEY (workspace_id, gateway_id),
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX gateway_requests_gateway ON gateway_requests (gateway_id);
ALTER TABLE gateway_requests ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON gateway_requests USING (org_id = current_org()) WITH CHECK (org_id = current_org());
CREATE POLICY reader ON gateway_requests AS RESTRICTIVE USING ((SELECT hidden_projects()) = '{}' OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = gateway_requests.workspace_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_requests TO envforge_app;
