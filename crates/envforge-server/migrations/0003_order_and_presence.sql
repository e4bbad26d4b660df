-- What the order of commands and the presence of hosts need (expand).

-- Whether the last report of the present generation saw nothing run: with it, the answer to a start tells whether what was
-- started is gone again.
ALTER TABLE runtimes ADD COLUMN absent boolean NOT NULL DEFAULT false;
