-- People's SSH keys for Git hosts (expand).

CREATE TABLE git_keys (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    host         text NOT NULL,
    -- The line to register at the host.
    public_key   text NOT NULL,
    sealed       bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (user_id, host)
);
-- People belong to no org: a transaction inside one sees none of them.
ALTER TABLE git_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY installation ON git_keys USING (current_org() IS NULL) WITH CHECK (current_org() IS NULL);
GRANT SELECT, INSERT, DELETE ON git_keys TO envforge_app;
GRANT UPDATE (last_used_at) ON git_keys TO envforge_app;
