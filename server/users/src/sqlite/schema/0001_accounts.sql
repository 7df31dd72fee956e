-- Accounts and all that hangs on them. Names of columns are those of the documents where there is one.
-- Times are Unix milliseconds. Lists are comma-separated words or JSON, read as a whole and never searched.
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    created BIGINT NOT NULL,
    enabled BOOLEAN NOT NULL,
    admin BOOLEAN NOT NULL,
    password TEXT,
    email TEXT,
    phone TEXT,
    otp_auth BOOLEAN NOT NULL,
    otp_auth_on TEXT NOT NULL,
    otp_auth_off TEXT NOT NULL,
    otp_token_timeout BIGINT,
    root BYTEA,
    mounts TEXT NOT NULL,
    rules TEXT NOT NULL,
    read_only BOOLEAN NOT NULL,
    quota BIGINT,
    allowed_protocols TEXT NOT NULL,
    ip_restrictions TEXT NOT NULL,
    max_logins BIGINT,
    account_expire BIGINT,
    texts TEXT NOT NULL
);

CREATE TABLE user_keys (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    remark TEXT NOT NULL,
    added BIGINT NOT NULL,
    PRIMARY KEY (user_name, fingerprint)
);

CREATE TABLE enrolments (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    added BIGINT NOT NULL,
    PRIMARY KEY (user_name, channel)
);

CREATE TABLE recovery_codes (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    digest BYTEA NOT NULL,
    PRIMARY KEY (user_name, digest)
);

CREATE TABLE app_passwords (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    id TEXT NOT NULL,
    label TEXT NOT NULL,
    protocols TEXT NOT NULL,
    digest BYTEA NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT,
    PRIMARY KEY (user_name, id)
);

CREATE TABLE known_addresses (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    address TEXT NOT NULL,
    seen BIGINT NOT NULL,
    PRIMARY KEY (user_name, address)
);
