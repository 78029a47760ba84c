package etfdata

import "testing"

func TestJudgeNew(t *testing.T) {
	confirmed := update("S.SW", "2026-04-06", "2026-04-13", "completed", "2026-04-13 20:00")
	runCases(t, []judgeCase{
		{name: "euro", after: fresh("A.DE", "2026-04-13", 101), want: [][2]string{{newOf("A.DE"), "keep likely []: 101 after 100.3 of 2026-04-10"}}},
		{name: "a jump at the limit", after: "UPDATE etf_prices SET volume = 1; " + fresh("A.DE", "2026-04-13", 125.37), want: [][2]string{{newOf("A.DE"), "keep likely"}}},
		{name: "a jump", after: fresh("A.DE", "2026-04-13", 125.38), want: [][2]string{{newOf("A.DE"), "quarantine likely []: a jump, and no split"}}},
		{name: "a fall", after: fresh("A.DE", "2026-04-13", 75), want: [][2]string{{newOf("A.DE"), "quarantine likely: a jump"}}},
		{name: "another limit", o: func(o *JudgeOptions) { o.Jump = 0.5 }, after: fresh("A.DE", "2026-04-13", 148), want: [][2]string{{newOf("A.DE"), "keep likely"}}},
		{name: "a split", after: fresh("A.DE", "2026-04-13", 50) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "keep likely"}}},
		{name: "a split of which the source knew", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "keep likely"}}},
		{name: "a split that explains too little", after: fresh("A.DE", "2026-04-13", 25) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine likely: a jump"}}},
		{name: "a split on the day before", after: fresh("A.DE", "2026-04-13", 50) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-13';" + fresh("A.DE", "2026-04-14", 50),
			want: [][2]string{{price("A.DE", "2026-04-14"), "keep likely"}}},
		{name: "a split on the day after", after: fresh("A.DE", "2026-04-14", 50) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-14';" + fresh("A.DE", "2026-04-13", 50),
			want: [][2]string{{newOf("A.DE"), "quarantine likely: a jump"}}},
		{name: "a jump after two months", before: "DELETE FROM etf_prices WHERE etf_id = 'A.DE' AND date > '2026-03-06'", after: fresh("A.DE", "2026-04-13", 140), want: [][2]string{{newOf("A.DE"), "quarantine guess: a jump"}}},

		{name: "a Saturday", after: fresh("A.DE", "2026-04-11", 100), want: [][2]string{{price("A.DE", "2026-04-11"), "quarantine certain: Saturday"}}},
		{name: "tomorrow", after: fresh("A.DE", "2026-04-17", 100) + fresh("A.DE", "2026-04-20", 100),
			want: [][2]string{{price("A.DE", "2026-04-17"), "keep likely"}, {price("A.DE", "2026-04-20"), "quarantine certain: of a day to come"}}},
		{name: "infinity", after: fresh("A.DE", "infinity", 100), want: [][2]string{{price("A.DE", "infinity"), "quarantine certain: of a day to come"}}},
		{name: "labelled dollars", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET currency = 'USD' WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine certain: prices are stored in EUR"}}},
		{name: "of a currency without rates", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET original_currency = 'XXX' WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine certain: currency that has rates"}}},
		{name: "above its high", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET price = 103 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine certain: between low and high"}}},
		{name: "not a number", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET price = 'NaN', high = 'NaN' WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine certain: above zero"}}},
		{name: "a high out of reach", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET high = 126 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine likely: far from the price itself"}}},
		{name: "a high within reach", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET high = 124 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "keep likely"}}},
		{name: "a low of nothing", after: fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET low = 0 WHERE date = '2026-04-13'", want: [][2]string{{newOf("A.DE"), "quarantine likely: far from the price itself"}}},
		{name: "twice, without the constraint", before: "ALTER TABLE etf_prices DROP CONSTRAINT uq_etf_prices_etf_id_date",
			after: fresh("A.DE", "2026-04-10", 100) + fresh("U.US", "2026-04-13", 100) + fresh("U.US", "2026-04-13", 100.5) + fresh("S.SW", "2026-04-13", 100),
			want: [][2]string{{lastOf("A.DE"), "quarantine certain: one price for an ETF"}, {newOf("U.US") + " AND (live->>'price')::numeric = 100", "keep likely"},
				{newOf("U.US") + " AND (live->>'price')::numeric = 100.5", "quarantine certain: one price"}, {newOf("S.SW"), "keep guess"}}},

		{name: "unconverted pence", after: fresh("L.L", "2026-04-13", 8650), want: [][2]string{{newOf("L.L"), "quarantine certain: as if stored without conversion"}}},
		{name: "unconverted dollars, nothing else", after: fresh("U.US", "2026-04-13", 111), want: [][2]string{{newOf("U.US"), "quarantine likely: as if stored without conversion"}}},
		{name: "dollars in between, nearer to right", after: fresh("U.US", "2026-04-13", 104.9), want: [][2]string{{newOf("U.US"), "keep likely"}}},
		{name: "dollars in between, nearer to wrong", after: fresh("U.US", "2026-04-14", 106), want: [][2]string{{price("U.US", "2026-04-14"), "quarantine guess: as if stored without conversion"}}},
		{name: "francs, nothing else", after: fresh("S.SW", "2026-04-13", 97.6), want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "francs, right, nothing else", after: fresh("S.SW", "2026-04-13", 100), want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "francs, without original_currency", form: "0.9", after: wrong("S.SW", "0.97", "date >= '2026-04-08'") +
			"INSERT INTO etf_prices (etf_id, date, price) VALUES ('S.SW', '2026-04-13', 97.6)", want: [][2]string{{newOf("S.SW"), "quarantine certain: prices written with it (3) were stored without"}}},

		{name: "francs in wrong company", after: wrong("S.SW", "0.97", "date >= '2026-04-08'") + fresh("S.SW", "2026-04-13", 97.6),
			want: [][2]string{{newOf("S.SW"), "quarantine certain: prices written with it (3) were stored without"}}},
		{name: "francs that rose in wrong company", after: wrong("S.SW", "0.97", "date >= '2026-04-08'") + fresh("S.SW", "2026-04-13", 100),
			want: [][2]string{{newOf("S.SW"), "quarantine likely: prices written with it (3)"}}},
		{name: "dollars that look right in wrong company", after: wrong("U.US", "1.1", "date >= '2026-04-08'") + fresh("U.US", "2026-04-13", 100.5),
			want: [][2]string{{newOf("U.US"), "keep guess: looks right, but"}}},
		{name: "francs beside another ETF's wrong ones", after: wrong("U.US", "1.1", "date >= '2026-04-08'") + fresh("S.SW", "2026-04-13", 97.6),
			want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "of another transaction, by somebody", after: wrong("S.SW", "0.97", "date >= '2026-04-08'") + "COMMIT; BEGIN;" + fresh("S.SW", "2026-04-13", 97.6),
			want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "of another transaction, by the same writer", o: oneWriter,
			after: wrong("S.SW", "0.97", "date <= '2026-03-06'") + update("S.SW", "2026-03-02", "2026-03-06", "completed", "2026-04-12") + "COMMIT; BEGIN;" + fresh("S.SW", "2026-04-13", 97.6) +
				update("S.SW", "2026-04-13", "2026-04-13", "completed", "2026-04-13 20:00"),
			want: [][2]string{{newOf("S.SW"), "quarantine likely: by the same writer (5) were stored without"}}},
		{name: "of the same currency, by the same writer", o: oneWriter,
			after: `UPDATE etfs SET currency = 'CHF' WHERE id = 'U.US'; UPDATE etf_prices SET original_currency = 'CHF' WHERE etf_id = 'U.US';` + wrong("S.SW", "0.97", "date <= '2026-03-06'") +
				update("S.SW", "2026-03-02", "2026-03-06", "completed", "2026-04-12") + fresh("U.US", "2026-04-13", 97.6) + update("U.US", "2026-04-13", "2026-04-13", "completed", "2026-04-13 20:00"),
			want: [][2]string{{newOf("U.US"), "quarantine likely: other prices in CHF by the same writer (5)"}}},
		{name: "entered by hand", o: oneWriter, after: wrong("S.SW", "0.97", "date >= '2026-04-08'") + update("S.SW", "2026-04-08", "2026-04-13", "completed", "2026-04-13 20:00") + "COMMIT; BEGIN;" +
			"INSERT INTO etf_prices (etf_id, date, price) VALUES ('S.SW', '2026-04-13', 100)",
			want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "the update left the days before alone", after: fresh("S.SW", "2026-04-13", 99) + confirmed, want: [][2]string{{newOf("S.SW"), "keep likely: left older prices as the backup has them"}}},
		{name: "the update corrected the day before", after: wrong("S.SW", "1.011", last) + fresh("S.SW", "2026-04-13", 99) + confirmed, want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "the update failed", after: fresh("S.SW", "2026-04-13", 99) + update("S.SW", "2026-04-06", "2026-04-13", "failed", "2026-04-13 20:00"), want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "the update began later", after: fresh("S.SW", "2026-04-13", 99) + update("S.SW", "2026-04-13", "2026-04-13", "completed", "2026-04-13 20:00"), want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "the update is older than the backup", after: fresh("S.SW", "2026-04-13", 99) + update("S.SW", "2026-04-06", "2026-04-13", "completed", "2026-04-10 20:00"), want: [][2]string{{newOf("S.SW"), "keep guess: would look alike"}}},
		{name: "the update left the days before alone, and jumped", after: fresh("S.SW", "2026-04-13", 130) + confirmed, want: [][2]string{{newOf("S.SW"), "quarantine likely: a jump"}}},
		{name: "the update found the days before wrong, and left them so", after: wrong("S.SW", "0.97", last) + "COMMIT; BEGIN;" + fresh("S.SW", "2026-04-13", 97.6) + confirmed,
			want: [][2]string{{newOf("S.SW"), "quarantine certain: prices written with it (1)"}}},

		{name: "never by a new neighbour", after: fresh("L.L", "2026-04-13", 8650) + fresh("L.L", "2026-04-14", 100),
			want: [][2]string{{newOf("L.L"), "quarantine certain"}, {price("L.L", "2026-04-14"), "keep likely: after 100.3 of 2026-04-10"}}},
		{name: "by the backup's value of a wrong one", after: wrong("A.DE", "1.6", last) + fresh("A.DE", "2026-04-13", 101) + fresh("A.DE", "2026-04-14", 160),
			want: [][2]string{{newOf("A.DE"), "keep likely: after 100.3 of"}, {price("A.DE", "2026-04-14"), "quarantine likely: after 100.3 of"}}},
		{name: "by the present value of a right one", after: wrong("A.DE", "0.5", "true") + fresh("A.DE", "2026-04-13", 50) + fresh("A.DE", "2026-04-14", 100),
			want: [][2]string{{newOf("A.DE"), "keep likely: 50 after 50.15 of"}, {price("A.DE", "2026-04-14"), "quarantine likely: a jump"}}},
		{name: "by a deleted one", after: "DELETE FROM etf_prices WHERE etf_id = 'A.DE' AND date > '2026-03-02';" + fresh("A.DE", "2026-04-13", 101), want: [][2]string{{newOf("A.DE"), "keep likely: after 100.3 of 2026-04-10"}}},
		{name: "a new ETF", after: "INSERT INTO etfs (id, isin, symbol, name, currency) VALUES ('N.US', 'IE00BK5BQT80', 'N', 'N', 'USD');" + fresh("N.US", "2026-04-13", 5) + fresh("N.US", "2026-04-14", 5000),
			want: [][2]string{{newOf("N.US"), "keep guess: no trusted price"}, {price("N.US", "2026-04-14"), "keep guess: no trusted price"}}},
		{name: "a new ETF of a bad writer", o: oneWriter, after: "INSERT INTO etfs (id, isin, symbol, name, currency) VALUES ('N.US', 'IE00BK5BQT80', 'N', 'N', 'USD');" + fresh("N.US", "2026-04-13", 5) +
			wrong("U.US", "1.1", "date >= '2026-04-08'") + update("U.US", "2026-04-08", "2026-04-13", "completed", "2026-04-13 20:00") + update("N.US", "2026-04-13", "2026-04-13", "completed", "2026-04-13 20:00"),
			want: [][2]string{{newOf("N.US"), "keep guess: other prices in USD by the same writer (3) were stored without conversion"}}},
		{name: "older than any", after: fresh("A.DE", "2026-02-27", 99) + fresh("L.L", "2026-02-27", 8600), want: [][2]string{{price("A.DE", "2026-02-27"), "keep guess: 99 before 100 of 2026-03-02"},
			{price("L.L", "2026-02-27"), "quarantine certain: 8600 before 100"}}},
		{name: "another source of the same day", form: "1.1", after: fresh("A.DE", "2026-04-13", 101) + "INSERT INTO etf_prices (etf_id, date, price, source) VALUES ('A.DE', '2026-04-10', 100.4, 'manual'), ('U.US', '2026-04-10', 140, 'manual')",
			want: [][2]string{{lastOf("A.DE"), "keep likely: 100.4 after 100.3 of 2026-04-10"}, {lastOf("U.US"), "quarantine likely: 140 after 100.3 of 2026-04-10"}}},
		{name: "the source that was wrong, not the other", form: "1.1", after: wrong("S.SW", "0.97", "date >= '2026-04-08'") + fresh("S.SW", "2026-04-13", 97.6) +
			"INSERT INTO etf_prices (etf_id, date, price, source, original_currency) VALUES ('S.SW', '2026-04-13', 100, 'manual', 'CHF')",
			want: [][2]string{{newOf("S.SW") + " AND live->>'source' = 'yfinance'", "quarantine certain"}, {newOf("S.SW") + " AND live->>'source' = 'manual'", "keep guess: would look alike"}}},
	})
}
