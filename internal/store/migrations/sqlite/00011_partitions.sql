-- +goose Up

-- Nothing here: only PostgreSQL's events, deliveries and attempts are partitioned.
SELECT 1;
