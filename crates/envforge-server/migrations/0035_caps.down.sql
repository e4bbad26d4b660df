DROP FUNCTION system_waking(uuid);
DROP TABLE cap_overrides;
DROP TABLE cap_steps;
ALTER TABLE runtimes DROP COLUMN cap_grace_since, DROP COLUMN cap_micros, DROP COLUMN cap_warn_at, DROP COLUMN cap_grace_minutes;
ALTER TABLE orgs DROP COLUMN cap_micros, DROP COLUMN cap_warn_at, DROP COLUMN cap_grace_minutes;
ALTER TABLE projects DROP COLUMN cap_mode, DROP COLUMN cap_minutes, DROP COLUMN cap_micros, DROP COLUMN cap_warn_at,
    DROP COLUMN cap_grace_minutes;
