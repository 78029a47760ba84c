-- The tables that the rules read, as of release 1.0. Constraints that would
-- refuse rows which the rules look for are left out, but for the unique one.
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
    original_currency varchar,
    CONSTRAINT uq_etf_prices UNIQUE (etf_id, date)
);
CREATE TABLE etf_updates (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL,
    status varchar NOT NULL,
    created_at timestamp NOT NULL
);
CREATE TABLE exchange_rates (
    id serial PRIMARY KEY,
    date date NOT NULL,
    currency varchar NOT NULL,
    rate numeric(20,6) NOT NULL,
    UNIQUE (date, currency)
);
CREATE TABLE exchange_rate_updates (
    id serial PRIMARY KEY,
    status varchar NOT NULL,
    created_at timestamp NOT NULL
);
INSERT INTO etfs VALUES ('GOOD.DE', 'IE00BK5BQT80', 100.00, '2026-11-20 20:00');
INSERT INTO etf_prices (etf_id, date, price, volume, high, low, open, dividends, original_currency)
VALUES ('GOOD.DE', '2026-11-19', 99.00, 10, 99.50, 98.00, 98.50, 0, 'EUR'),
       ('GOOD.DE', '2026-11-20', 100.00, 10, 101.00, 99.00, 99.50, 0, 'EUR');
