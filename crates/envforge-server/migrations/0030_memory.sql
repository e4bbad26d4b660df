-- What hosts say of their memory (expand).

-- Swap of the host's machine in bytes, zram included; none of a host that never said.
ALTER TABLE hosts ADD COLUMN swap bigint;
-- Why memory is short there, while it is.
ALTER TABLE hosts ADD COLUMN memory_short text;
-- When a runtime was last stopped for it.
ALTER TABLE hosts ADD COLUMN relieved_at timestamptz;
