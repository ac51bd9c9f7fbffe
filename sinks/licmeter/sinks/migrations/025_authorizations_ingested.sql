-- Which days have new authorizations, without reading all of them.
ALTER TABLE authorizations
    ADD INDEX IF NOT EXISTS ix_ingested_at ingested_at TYPE minmax GRANULARITY 1;
