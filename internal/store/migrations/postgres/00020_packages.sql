-- +goose Up

-- How the packages of a machine stand, as its agent said last. JSON; empty: it has not.
ALTER TABLE agents ADD COLUMN packages TEXT NOT NULL DEFAULT '';

INSERT INTO schema_versions (version, oldest) VALUES (20, 9);
