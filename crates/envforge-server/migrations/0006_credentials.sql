-- What a credential may do, who operates the installation, and keys for encryption at rest (expand).

ALTER TABLE users ADD COLUMN is_operator boolean NOT NULL DEFAULT false;
-- The owner that the first start made.
UPDATE users u SET is_operator = true
WHERE EXISTS (SELECT 1 FROM api_keys k WHERE k.user_id = u.id AND k.name = 'first start');

ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;
-- Names of scopes; none is no limit.
ALTER TABLE api_keys ADD COLUMN scopes text[] NOT NULL DEFAULT '{}';

DROP FUNCTION system_authenticate(text);
CREATE FUNCTION system_authenticate(key_digest text)
RETURNS TABLE (
    key_id uuid, user_id uuid, user_name text, org_id uuid, org_slug text, role text,
    expires_at timestamptz, scopes text[], is_operator boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id, u.id, u.name, o.org_id, o.slug, m.role, k.expires_at, k.scopes, u.is_operator
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN memberships m ON m.user_id = u.id
    LEFT JOIN orgs o ON o.org_id = m.org_id
    WHERE k.digest = key_digest AND k.revoked_at IS NULL
$$;
REVOKE ALL ON FUNCTION system_authenticate(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_authenticate(text) TO envforge_app;

-- Keys that encrypt values at rest, each wrapped under a key-encryption key that is not in this database.
CREATE TABLE data_keys (
    id         uuid PRIMARY KEY,
    org_id     uuid REFERENCES orgs ON DELETE CASCADE,
    -- Which key-encryption key wraps it.
    wrapped_by text NOT NULL,
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Since when it opens old values only.
    retired_at timestamptz
);
-- One key in use per org, and one of the installation (org_id null).
CREATE UNIQUE INDEX data_keys_in_use ON data_keys (coalesce(org_id, '00000000-0000-0000-0000-000000000000'))
    WHERE retired_at IS NULL;
CREATE INDEX data_keys_org ON data_keys (org_id);
ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON data_keys
    USING (org_id IS NOT DISTINCT FROM current_org()) WITH CHECK (org_id IS NOT DISTINCT FROM current_org());
GRANT SELECT, INSERT, UPDATE ON data_keys TO envforge_app;
