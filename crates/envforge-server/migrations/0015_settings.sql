-- Settings that are edited at run time (expand). A change is a new row; rows are never changed, but to seal them anew.

CREATE TABLE setting_versions (
    id         uuid PRIMARY KEY,
    org_id     uuid REFERENCES orgs ON DELETE CASCADE,
    name       text NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    sealed     bytea NOT NULL,
    reason     text NOT NULL,
    restored   bigint,
    created_by uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL
);
-- A version exists once; two changes at once can't both be the next.
CREATE UNIQUE INDEX setting_versions_version
    ON setting_versions (coalesce(org_id, '00000000-0000-0000-0000-000000000000'), name, version);
CREATE INDEX setting_versions_org ON setting_versions (org_id);
ALTER TABLE setting_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON setting_versions
    USING (org_id IS NOT DISTINCT FROM current_org()) WITH CHECK (org_id IS NOT DISTINCT FROM current_org());
GRANT SELECT, INSERT, UPDATE (sealed) ON setting_versions TO envforge_app;
