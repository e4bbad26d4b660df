-- What keeps a host from taking anything new on, as it last said: code, cause, fix (expand).
ALTER TABLE hosts ADD COLUMN trouble jsonb;
