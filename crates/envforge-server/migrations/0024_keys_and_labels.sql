-- Keys that sign tokens, and labels that are never given to another org (expand).

-- They belong to the installation.
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

-- A label outlives everything but the installation: no org takes its labels with it, and the server deletes none.
ALTER TABLE labels DROP CONSTRAINT labels_org_id_fkey, ADD FOREIGN KEY (org_id) REFERENCES orgs;
REVOKE DELETE ON labels FROM envforge_app;

-- Whether the whole slug of another org is what is left of this one in an abbreviated label, or the other way round.
CREATE FUNCTION system_org_is_abbreviated(wanted text, short text, width integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM orgs WHERE slug <> wanted AND (slug = short OR rtrim(left(slug, width), '-') = wanted))
$$;
REVOKE ALL ON FUNCTION system_org_is_abbreviated(text, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_org_is_abbreviated(text, text, integer) TO envforge_app;
