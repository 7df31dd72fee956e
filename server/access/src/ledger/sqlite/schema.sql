-- What is counted, used once or kept for a time. Times are Unix milliseconds; a row whose ends_ms has passed counts as absent.
-- kind: 0 a mark (used once), 1 a counter, 2 a value, 3 a high-water mark.
CREATE TABLE ledger (
    name TEXT NOT NULL,
    kind BIGINT NOT NULL,
    n BIGINT NOT NULL,
    previous_ms BIGINT NOT NULL,
    bumped_ms BIGINT NOT NULL,
    content BYTEA,
    ends_ms BIGINT NOT NULL,
    PRIMARY KEY (name, kind)
);

CREATE INDEX ledger_ends ON ledger (ends_ms);
