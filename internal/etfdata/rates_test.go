package etfdata

import "testing"

func TestRates(t *testing.T) {
	connect := prepare(t, "rates", "old", `
		INSERT INTO etfs VALUES ('US', NULL, NULL, NULL), ('L', NULL, NULL, NULL), ('CH', NULL, NULL, NULL), ('SE', NULL, NULL, NULL), ('JP', NULL, NULL, NULL);
		-- USD: Friday's rate holds for seven days, not for eight
		INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-10-02', 'USD', 1.1);
		INSERT INTO etf_prices (etf_id, date, price, original_currency) VALUES
			('US', '2026-10-02', 1, 'USD'), ('US', '2026-10-09', 1, 'USD'), ('US', '2026-10-10', 1, 'USD'), ('US', '2026-10-12', 1, 'USD');
		-- and is new again later; a second hole follows
		INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-10-13', 'USD', 1.1);
		INSERT INTO etf_prices (etf_id, date, price, original_currency) VALUES
			('US', '2026-10-13', 1, 'USD'), ('US', '2026-10-14', 1, 'USD'), ('US', '2026-10-30', 1, 'USD');
		-- pence and pounds need the same rate; none before the 5th
		INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-10-05', 'GBP', 0.86), ('2026-10-05', 'GBp', 86);
		INSERT INTO etf_prices (etf_id, date, price, original_currency) VALUES
			('L', '2026-10-01', 1, 'GBp'), ('CH', '2026-10-01', 1, 'GBP'), ('L', '2026-10-02', 1, 'GBp'), ('L', '2026-10-05', 1, 'GBp');
		-- rates of zero are none; rates without prices need nothing
		INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-10-01', 'CHF', 0), ('2026-10-01', 'NOK', 11.6);
		INSERT INTO etf_prices (etf_id, date, price, original_currency) VALUES ('CH', '2026-10-02', 1, 'CHF'), ('CH', '2026-10-05', 1, NULL), ('JP', '2026-10-05', 1, '')`)
	c, err := Rates(t.Context(), connect, 7)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		" 2026-10-05 to 2026-10-05: 1 prices, no rate before",
		"CHF 2026-10-02 to 2026-10-02: 1 prices, no rate before",
		"GBP 2026-10-01 to 2026-10-02: 3 prices, no rate before",
		"USD 2026-10-10 to 2026-10-12: 2 prices, last rate 2026-10-02",
		"USD 2026-10-30 to 2026-10-30: 1 prices, last rate 2026-10-13",
	}
	if len(c.Holes) != len(want) {
		t.Fatalf("%d holes: %v", len(c.Holes), c.Holes)
	}
	for i, h := range c.Holes {
		if h.String() != want[i] {
			t.Errorf("hole %d: %s, want %s", i, h, want[i])
		}
	}
	if c.Prices != 13 || c.Days != 12 {
		t.Errorf("%d prices, %d days", c.Prices, c.Days)
	}
	q, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if n := rows(t, q, c.SQL); n != len(want) {
		t.Errorf("the SQL shows %d rows", n)
	}
	if c, err = Rates(t.Context(), connect, 8); err != nil || len(c.Holes) != 5 || c.Holes[3].Prices != 1 {
		t.Errorf("with eight days: %v, %v", c.Holes, err)
	}
}

func TestRatesWithout(t *testing.T) {
	for name, test := range map[string]struct{ sql, absent, err string }{
		"foreign_prices": {},
		"prices":         {sql: "TRUNCATE etf_prices"},
		"currencies":     {sql: "ALTER TABLE etf_prices DROP COLUMN original_currency", absent: "the schema has no etf_prices.original_currency"},
		"rates":          {sql: "DROP TABLE exchange_rates", err: "looking at the coverage of rates: the schema has no table exchange_rates"},
		"any_day":        {sql: "UPDATE etf_prices SET date = 'infinity', original_currency = 'USD' WHERE id = 1; INSERT INTO exchange_rates (date, currency, rate) VALUES ('-infinity', 'USD', 1)"},
	} {
		connect := prepare(t, "rates_without_"+name, "new", test.sql)
		c, err := Rates(t.Context(), connect, 7)
		if len(c.Holes) != 0 || c.Prices != 0 || c.Absent != test.absent || (err != nil) != (test.err != "") || err != nil && err.Error() != test.err {
			t.Errorf("without %s: %+v, %v", name, c, err)
		}
	}
}
