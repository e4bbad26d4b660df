REVOKE UPDATE (sealed_token) ON magic_links FROM envforge_app;
ALTER TABLE magic_links DROP COLUMN id, DROP COLUMN sealed_token;
