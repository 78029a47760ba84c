-- The tables that the rules read, as of release 1.0. Constraints that would
-- refuse rows which the rules look for are left out, but for the unique ones.
CREATE TABLE etfs (
    id varchar PRIMARY KEY,
    isin varchar,
    last_price numeric(20,2),
    last_update timestamp
);
CREATE TABLE etf_prices (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL,
    date date NOT NULL,
    price numeric(20,2) NOT NULL,
    currency varchar DEFAULT 'EUR',
    volume numeric(20,2),
    high numeric(20,2),
    low numeric(20,2),
    open numeric(20,2),
    dividends numeric(20,6),
    stock_splits numeric(10,6),
    capital_gains numeric(20,6),
    original_currency varchar,
    CONSTRAINT uq_etf_prices UNIQUE (etf_id, date)
);
CREATE TABLE etf_updates (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL,
    status varchar NOT NULL,
    created_at timestamp NOT NULL,
    missing_dates date[]
);
CREATE TABLE etf_errors (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL,
    date date NOT NULL,
    created_at timestamp NOT NULL,
    resolved boolean
);
CREATE TABLE exchange_rates (
    id serial PRIMARY KEY,
    date date NOT NULL,
    currency varchar NOT NULL,
    rate numeric(20,6) NOT NULL,
    CONSTRAINT uq_exchange_rates UNIQUE (date, currency)
);
CREATE TABLE exchange_rate_updates (
    id serial PRIMARY KEY,
    currencies varchar[],
    status varchar NOT NULL,
    created_at timestamp NOT NULL,
    missing_dates date[]
);
CREATE TABLE exchange_rate_errors (
    id serial PRIMARY KEY,
    date date NOT NULL,
    created_at timestamp NOT NULL,
    resolved boolean
);
-- Refers to an ETF under another name than etf_id.
CREATE TABLE pension_etfs (
    id serial PRIMARY KEY,
    fund varchar REFERENCES etfs (id)
);
INSERT INTO etfs VALUES ('GOOD.DE', 'IE00BK5BQT80', 100.00, '2026-11-20 20:00');
INSERT INTO etf_prices (etf_id, date, price, volume, high, low, open, dividends, original_currency)
VALUES ('GOOD.DE', '2026-11-19', 99.00, 10, 99.50, 98.00, 98.50, 0, 'EUR'),
       ('GOOD.DE', '2026-11-20', 100.00, 10, 101.00, 99.00, 99.50, 0, 'EUR');
-- What is old, but filled or resolved, breaks no rule.
INSERT INTO etf_updates (id, etf_id, status, created_at, missing_dates) VALUES (90, 'GOOD.DE', 'completed', '2026-11-01', '{2026-11-19}');
INSERT INTO etf_errors (id, etf_id, date, created_at, resolved) VALUES (90, 'GOOD.DE', '2026-11-02', '2026-11-02', true);
INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-11-19', 'USD', 1.1);
INSERT INTO exchange_rate_updates (id, currencies, status, created_at, missing_dates) VALUES (90, '{USD}', 'completed', '2026-11-01', '{2026-11-19}');
INSERT INTO exchange_rate_errors (id, date, created_at, resolved) VALUES (90, '2026-11-02', '2026-11-02', true);
INSERT INTO pension_etfs (fund) VALUES ('GOOD.DE');
