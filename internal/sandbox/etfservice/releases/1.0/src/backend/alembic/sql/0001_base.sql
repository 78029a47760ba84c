-- The schema of release 1.0. Plain statements, each ended by a semicolon at the end of a line.
-- Timestamps are UTC.

CREATE TABLE etfs (
    id varchar PRIMARY KEY,
    isin varchar NOT NULL,
    symbol varchar NOT NULL,
    name varchar NOT NULL,
    currency varchar NOT NULL,
    asset_class varchar,
    domicile varchar,
    inception_date date,
    fund_size numeric(20, 2),
    ter numeric(10, 4),
    distribution_policy varchar,
    last_price numeric(20, 2),
    last_update timestamp,
    ytd_return numeric(10, 4),
    one_year_return numeric(10, 4),
    volatility_30d numeric(10, 4),
    sharpe_ratio numeric(10, 4)
);

CREATE TABLE etf_prices (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL REFERENCES etfs (id),
    date date NOT NULL,
    price numeric(20, 2) NOT NULL,
    currency varchar NOT NULL DEFAULT 'EUR',
    volume numeric(20, 2),
    high numeric(20, 2),
    low numeric(20, 2),
    open numeric(20, 2),
    dividends numeric(20, 6),
    stock_splits numeric(10, 6),
    capital_gains numeric(20, 6),
    original_currency varchar,
    CONSTRAINT uq_etf_prices_etf_id_date UNIQUE (etf_id, date)
);

CREATE TABLE etf_updates (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL REFERENCES etfs (id) ON DELETE CASCADE,
    update_type varchar NOT NULL,
    start_date date,
    end_date date,
    status varchar NOT NULL DEFAULT 'pending',
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    completed_at timestamp,
    error varchar,
    missing_dates date[],
    retry_count integer NOT NULL DEFAULT 0,
    notes varchar
);

CREATE INDEX ix_etf_updates_etf_id_created_at ON etf_updates (etf_id, created_at);

CREATE TABLE etf_errors (
    id serial PRIMARY KEY,
    etf_id varchar NOT NULL REFERENCES etfs (id) ON DELETE CASCADE,
    error_type varchar NOT NULL,
    date date NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    resolved boolean NOT NULL DEFAULT false,
    resolved_at timestamp,
    context varchar,
    CONSTRAINT uq_etf_errors_etf_id_error_type_date UNIQUE (etf_id, error_type, date)
);

CREATE TABLE exchange_rates (
    id serial PRIMARY KEY,
    date date NOT NULL,
    currency varchar NOT NULL,
    rate numeric(20, 6) NOT NULL,
    CONSTRAINT uq_exchange_rates_date_currency UNIQUE (date, currency)
);

CREATE TABLE exchange_rate_updates (
    id serial PRIMARY KEY,
    start_date date,
    end_date date,
    currencies varchar[],
    status varchar NOT NULL DEFAULT 'pending',
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    completed_at timestamp,
    error varchar,
    missing_dates date[],
    retry_count integer NOT NULL DEFAULT 0
);

CREATE TABLE exchange_rate_errors (
    id serial PRIMARY KEY,
    date date NOT NULL,
    error_type varchar NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    resolved boolean NOT NULL DEFAULT false,
    resolved_at timestamp,
    context varchar,
    CONSTRAINT uq_exchange_rate_errors_date_error_type UNIQUE (date, error_type)
);

CREATE TABLE daily_update_tracking (
    date date NOT NULL,
    update_type varchar NOT NULL,
    attempted boolean NOT NULL DEFAULT false,
    data_found boolean NOT NULL DEFAULT false,
    PRIMARY KEY (date, update_type)
);

CREATE TABLE households (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE pension_etfs (
    id serial PRIMARY KEY,
    household_id integer NOT NULL REFERENCES households (id) ON DELETE CASCADE,
    etf_id varchar NOT NULL REFERENCES etfs (id),
    monthly_amount numeric(20, 2) NOT NULL,
    units numeric(20, 6) NOT NULL DEFAULT 0
);

CREATE TABLE pension_contributions (
    id serial PRIMARY KEY,
    pension_id integer NOT NULL REFERENCES pension_etfs (id) ON DELETE CASCADE,
    etf_id varchar NOT NULL REFERENCES etfs (id),
    date date NOT NULL,
    amount numeric(20, 2) NOT NULL,
    price numeric(20, 2) NOT NULL,
    units numeric(20, 6) NOT NULL,
    CONSTRAINT uq_pension_contributions_pension_id_date UNIQUE (pension_id, date)
);

CREATE TABLE task_status (
    task_id varchar PRIMARY KEY,
    task_name varchar NOT NULL,
    status varchar NOT NULL,
    started_at timestamp NOT NULL,
    finished_at timestamp,
    detail varchar
);

CREATE INDEX ix_task_status_task_name_started_at ON task_status (task_name, started_at);
