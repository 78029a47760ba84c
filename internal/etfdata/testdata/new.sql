-- What release 1.1 changes in old.sql.
ALTER TABLE etf_prices ADD COLUMN source varchar NOT NULL DEFAULT 'yfinance';
ALTER TABLE etf_prices ADD COLUMN is_adjusted boolean NOT NULL DEFAULT false;
ALTER TABLE etf_prices DROP CONSTRAINT uq_etf_prices;
ALTER TABLE etf_prices ADD CONSTRAINT uq_etf_prices UNIQUE (etf_id, date, source);
