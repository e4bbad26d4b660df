-- Workspaces that began as copies of others (expand).

-- The one it is a copy of; deleted workspaces keep their rows.
ALTER TABLE workspaces ADD COLUMN forked_from uuid;
ALTER TABLE workspaces ADD FOREIGN KEY (org_id, forked_from) REFERENCES workspaces (org_id, id);

-- Whether copies on this host share the blocks of their files.
ALTER TABLE hosts ADD COLUMN copy_on_write boolean NOT NULL DEFAULT false;
