CREATE TABLE people (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
  color      text NOT NULL DEFAULT 'blue',
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX people_name_key ON people (lower(name));

CREATE TABLE shifts (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  title      text NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
  starts_at  timestamptz NOT NULL,
  ends_at    timestamptz NOT NULL,
  person_id  integer REFERENCES people (id) ON DELETE SET NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (ends_at > starts_at)
);

CREATE INDEX shifts_starts_at_idx ON shifts (starts_at);
CREATE INDEX shifts_person_id_idx ON shifts (person_id, starts_at);
