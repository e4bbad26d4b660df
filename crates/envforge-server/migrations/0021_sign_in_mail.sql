-- Links to sign in with are mailed by a background job (expand).

-- What the job calls a link, and its token until the mail server has it. One made by an older program has neither.
ALTER TABLE magic_links ADD COLUMN id uuid UNIQUE, ADD COLUMN sealed_token bytea;
GRANT UPDATE (sealed_token) ON magic_links TO envforge_app;
