-- Secrets that are lent to requests on their way out, and given to no service (expand).

-- Where this version is added, and how; null for one that services are given.
ALTER TABLE secret_versions ADD COLUMN egress jsonb;
