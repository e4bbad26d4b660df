-- Values of secrets that lie in a store outside the database (expand).

-- Which store, and which of its versions; or the value itself, sealed.
ALTER TABLE secret_versions ALTER COLUMN sealed DROP NOT NULL;
ALTER TABLE secret_versions ADD COLUMN store text;
ALTER TABLE secret_versions ADD COLUMN store_version bigint;
ALTER TABLE secret_versions ADD CONSTRAINT secret_versions_place CHECK (
    (sealed IS NOT NULL AND store IS NULL AND store_version IS NULL)
    OR (sealed IS NULL AND store IS NOT NULL AND store_version IS NOT NULL));
