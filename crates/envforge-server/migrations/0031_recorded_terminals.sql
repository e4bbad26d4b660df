-- Whether an organization's terminals are recorded (expand).

ALTER TABLE orgs ADD COLUMN record_terminals boolean NOT NULL DEFAULT false;
