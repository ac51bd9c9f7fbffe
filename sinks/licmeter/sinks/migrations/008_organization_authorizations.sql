-- Authorizations are received beside the reports (schemas/counters.py): what they add to the books of an organization.
ALTER TABLE organization_counters
    ADD COLUMN IF NOT EXISTS granted UInt64 DEFAULT 0 COMMENT 'authorizations' AFTER rejected,
    ADD COLUMN IF NOT EXISTS refused UInt64 DEFAULT 0 COMMENT 'authorizations' AFTER granted,
    ADD COLUMN IF NOT EXISTS notices_withheld UInt64 DEFAULT 0
        COMMENT 'breach events beyond the bound of one organization and day' AFTER refused,
    COMMENT COLUMN charged 'reports',
    COMMENT COLUMN uncharged 'reports',
    COMMENT COLUMN duplicate 'reports and authorizations',
    COMMENT COLUMN rejected 'records of any kind';
