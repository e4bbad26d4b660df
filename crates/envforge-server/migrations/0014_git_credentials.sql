-- People's credentials for Git hosts, and for whom Git in a workspace acts (expand).

CREATE TABLE git_credentials (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    host         text NOT NULL,
    username     text NOT NULL,
    sealed       bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    UNIQUE (user_id, host)
);
-- People belong to no org: a transaction inside one sees none of them.
ALTER TABLE git_credentials ENABLE ROW LEVEL SECURITY;
CREATE POLICY installation ON git_credentials USING (current_org() IS NULL) WITH CHECK (current_org() IS NULL);
GRANT SELECT, INSERT, DELETE ON git_credentials TO envforge_app;
GRANT UPDATE (last_used_at) ON git_credentials TO envforge_app;

-- Who attached to the shell last; nobody yet is whoever made the workspace.
ALTER TABLE workspaces ADD COLUMN acting_user uuid REFERENCES users;

-- Where the installation's GitHub App is installed for an org, as its operator has checked.
CREATE TABLE git_installations (
    org_id       uuid PRIMARY KEY REFERENCES orgs ON DELETE CASCADE,
    -- Whose repositories it reaches.
    account      text NOT NULL,
    installation bigint NOT NULL CHECK (installation > 0),
    created_at   timestamptz NOT NULL
);
ALTER TABLE git_installations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON git_installations USING (org_id = current_org()) WITH CHECK (org_id = current_org());
GRANT SELECT, INSERT, DELETE ON git_installations TO envforge_app;

-- An org by the name the operator gives.
CREATE FUNCTION system_find_org(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT o.org_id FROM orgs o WHERE o.slug = wanted
$$;
REVOKE ALL ON FUNCTION system_find_org(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_find_org(text) TO envforge_app;
