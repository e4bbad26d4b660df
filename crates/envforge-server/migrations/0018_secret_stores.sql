-- Values of secrets that lie in a store outside the database (expand).

-- Which store, and which of its versions; then nothing is sealed here.
ALTER TABLE secret_versions ADD COLUMN store text;
ALTER TABLE secret_versions ADD COLUMN store_version bigint;
ALTER TABLE secret_versions ADD CONSTRAINT secret_versions_place CHECK (
    (store IS NULL) = (store_version IS NULL) AND (store IS NULL) = (length(sealed) > 0));
