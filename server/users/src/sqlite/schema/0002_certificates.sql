-- The exact subject of the client certificate that is the user's first factor (RFC 4514).
ALTER TABLE users ADD COLUMN client_certificate TEXT;
