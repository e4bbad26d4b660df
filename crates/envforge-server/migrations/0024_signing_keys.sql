-- Keys that sign tokens (expand). They belong to the installation.

CREATE TABLE signing_keys (
    -- As in the tokens: the start of the public key's digest.
    id             text PRIMARY KEY,
    public_key     text NOT NULL,
    -- The seed of the private half; destroyed when nobody signs with it any more.
    sealed         bytea,
    announced_at   timestamptz NOT NULL,
    signs_from     timestamptz NOT NULL,
    verifies_until timestamptz CHECK (verifies_until > signs_from)
);
-- One is the newest.
CREATE UNIQUE INDEX signing_keys_newest ON signing_keys ((true)) WHERE verifies_until IS NULL;
ALTER TABLE signing_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY installation ON signing_keys USING (current_org() IS NULL) WITH CHECK (current_org() IS NULL);
GRANT SELECT, INSERT, DELETE ON signing_keys TO envforge_app;
GRANT UPDATE (sealed, verifies_until) ON signing_keys TO envforge_app;
