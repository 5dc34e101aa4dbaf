-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE decisions_local ON CLUSTER shop
    ADD COLUMN IF NOT EXISTS controls Array(LowCardinality(String)) COMMENT 'Snoozes and holds that changed this decision, by their ids' AFTER holdout,
    ADD COLUMN IF NOT EXISTS snoozed_rules Array(LowCardinality(String)) COMMENT 'Rules that hit and were snoozed: they decided nothing' AFTER shadow_rules,
    COMMENT COLUMN shadow_rules 'Shadow rules that hit, and live ones whose breaker is tripped: they decided nothing';
ALTER TABLE decisions ON CLUSTER shop
    ADD COLUMN IF NOT EXISTS controls Array(LowCardinality(String)) COMMENT 'Snoozes and holds that changed this decision, by their ids' AFTER holdout,
    ADD COLUMN IF NOT EXISTS snoozed_rules Array(LowCardinality(String)) COMMENT 'Rules that hit and were snoozed: they decided nothing' AFTER shadow_rules,
    COMMENT COLUMN shadow_rules 'Shadow rules that hit, and live ones whose breaker is tripped: they decided nothing';
ALTER TABLE hits_local ON CLUSTER shop
    COMMENT COLUMN mode 'live; or shadow (by its file, or its breaker is tripped), or snoozed: then it decided nothing';
ALTER TABLE hits ON CLUSTER shop
    COMMENT COLUMN mode 'live; or shadow (by its file, or its breaker is tripped), or snoozed: then it decided nothing';
