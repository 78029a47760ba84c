package rowdiff

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
)

// The statements to be read do what Apply does.
func TestWriteSQLRuns(t *testing.T) {
	w := newWorld(t, awkward+service+"CREATE TABLE t (t int PRIMARY KEY, j json); INSERT INTO t VALUES (1, '[1 ,2]'), (2, '[1 ,2]')").dump()
	tables := []string{oddName, "stamped", "identified", "etf_prices", "etfs", "etf_updates", "t"}
	before := w.contents(tables...)
	w.exec(`UPDATE ` + oddName + ` SET n = 7, f8 = 7, d = '2020-01-01', tz = '2020-01-01', ds = '{2020-01-01}', ns = '{7}', tt = '{7}', by = '\x07', t = '7', c = '7', b = NULL, j = '7', jb = '7', p = '(7,7)', ps = '{"(7,7)"}', js = '{"7"}', r = '[7,8)', m = '7';
		DELETE FROM stamped WHERE kind = 'b'; INSERT INTO identified (v) VALUES ('1'); UPDATE etf_prices SET price = 1, volume = 2 WHERE id = 5; INSERT INTO etfs VALUES ('N'); INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'N', '2030-01-01', 5);
		UPDATE etf_updates SET missing_dates = NULL WHERE id = 1; UPDATE t SET j = '1' WHERE t = 1; INSERT INTO t VALUES (3, '{}')`)
	w.compare()
	w.judge()
	w.exec("UPDATE etf_ops.work_rows SET why = E'two\nlines; --', columns = '{price}' WHERE tbl = 'public.etf_prices' AND kind = 'changed'")
	var out bytes.Buffer
	if err := WriteSQL(t.Context(), w.conn, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"certain: two lines; --\n-- was \"price\" = 1.00\nUPDATE \"public\".\"etf_prices\" SET \"price\" = 104.00 WHERE \"id\" = 5;\n",
		"\n-- INSERT INTO \"public\".\"stamped\" (\"at\", \"kind\", \"v\") OVERRIDING SYSTEM VALUE VALUES ('2026-01-01T10:00:00+00:00', 'b   ', 1);\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	w.exec(strings.ReplaceAll(out.String(), "-- INSERT", "INSERT"))
	w.exec("UPDATE etf_prices SET volume = NULL WHERE id = 5") // it was not to be restored
	same(t, "contents", w.contents(tables...), before)
	same(t, "quarantine", w.lines("SELECT concat_ws(' ', operation, tbl, key, row, why) FROM etf_ops.quarantine WHERE tbl = 'public.t'"), []string{`op-7 public.t {"t": 3} {"j": {}, "t": 3} because of "x"`})
}

func (w *world) csv() string {
	w.Helper()
	var out bytes.Buffer
	if err := WriteCSV(w.Context(), w.conn, &out); err != nil {
		w.Fatal(err)
	}
	return out.String()
}

func reviewWorld(t *testing.T) *world {
	w := newWorld(t, service).dump()
	w.exec(`UPDATE etf_prices SET price = 1, volume = 2 WHERE id IN (5, 6, 7); UPDATE etfs SET name = E'a "new", name;\nof two lines' WHERE id = 'E1';
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5), (4001, 'E1', '2030-01-02', 6); DELETE FROM etf_prices WHERE id IN (20, 21)`)
	w.compare()
	return w.judge()
}

func TestWriteCSVAndTally(t *testing.T) {
	w := reviewWorld(t)
	records, err := csv.NewReader(strings.NewReader(w.csv())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "lines", [][]string{records[0], records[1], records[4], records[6], records[8]}, [][]string{
		{"n", "table", "key", "kind", "class", "sure", "why", "writer", "changed", "backup", "live"},
		{"1", "public.etf_prices", `{"id": 5}`, "changed", "restore", "certain", `because of "x"`, "op-1", "price volume", `{"price": 104.00, "volume": null}`, `{"price": 1.00, "volume": 2.00}`},
		{"4", "public.etf_prices", `{"id": 20}`, "deleted", "missing", "certain", `because of "x"`, "op-1", "", `{"id": 20, "date": "2026-01-03", "price": 119.00, "etf_id": "E2", "source": "yfinance", "volume": null}`, ""},
		{"6", "public.etf_prices", `{"id": 4000}`, "added", "quarantine", "certain", `because of "x"`, "op-1", "", "", `{"id": 4000, "date": "2030-01-01", "price": 5.00, "etf_id": "E1", "source": "yfinance", "volume": null}`},
		{"8", "public.etfs", `{"id": "E1"}`, "changed", "restore", "certain", `because of "x"`, "op-1", "name", `{"name": "ETF 1"}`, `{"name": "a \"new\", name;\nof two lines"}`},
	})
	w.apply(Choice{})
	tally, err := Tally(t.Context(), w.conn)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tally", tally, []Tallied{
		{"public.etf_prices", "added", "quarantine", "certain", "quarantined", 2},
		{"public.etf_prices", "changed", "restore", "certain", "restored", 3},
		{"public.etf_prices", "deleted", "missing", "certain", "", 2},
		{"public.etfs", "changed", "restore", "certain", "restored", 1},
	})
}

// Of a reviewed file exactly the lines that are in it are dealt with, by its
// classes.
func TestAReviewedFile(t *testing.T) {
	for name, form := range map[string]func([][]string, *csv.Writer, *bytes.Buffer){
		"as written": func(_ [][]string, _ *csv.Writer, _ *bytes.Buffer) {},
		"of a spreadsheet": func(_ [][]string, out *csv.Writer, to *bytes.Buffer) {
			to.WriteString("\uFEFF")
			out.Comma, out.UseCRLF = ';', true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := reviewWorld(t)
			w.exec(`UPDATE etf_ops.work_rows SET columns = '{price}' WHERE n = 1; UPDATE etf_ops.work_rows SET class = 'keep' WHERE n = 2`)
			records, _ := csv.NewReader(strings.NewReader(w.csv())).ReadAll()
			classes := map[string]string{"1": "restore", "2": "restore", "3": "keep", "4": "restore", "5": "missing", "7": "quarantine"} // neither 6 nor 8
			var text bytes.Buffer
			out := csv.NewWriter(&text)
			form(records, out, &text)
			out.Write(records[0])
			for i := len(records) - 1; i > 0; i-- {
				if class := classes[records[i][0]]; class != "" {
					records[i][4], records[i][6] = class, "seen by a person"
					out.Write(records[i])
				}
			}
			out.Flush()
			same(t, "applied", w.apply(Choice{CSV: &text}), &Applied{Restored: 2, Quarantined: 1, BroughtBack: 1})
			same(t, "prices", w.lines("SELECT concat_ws(' ', id, price, volume) FROM etf_prices WHERE id IN (5, 6, 7, 20, 21) OR id > 3000 ORDER BY id"),
				[]string{"5 104.00 2.00", "6 105.00", "7 1.00 2.00", "20 119.00", "4000 5.00"})
			if v := w.verify(); v.Restored != 2 || v.Quarantined != 1 || v.BroughtBack != 1 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestAReviewedFileThatDoesNotFit(t *testing.T) {
	w := reviewWorld(t)
	original := w.csv()
	before := w.contents("etf_prices", "etfs", "etf_ops.work_rows")
	replace := func(pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(original, pairs[i]) {
				t.Fatalf("no %q in the file", pairs[i])
			}
		}
		return strings.NewReplacer(pairs...).Replace(original)
	}
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"altered in many places": {replace(`""price"": 104.00`, `""price"": 104.01`, "\n2,public", "\n99,public", `{""id"": 7}`, `{""id"": 8}`, `20}",deleted,missing`, `20}",deleted,quarantine`,
			"21}\",deleted,missing", "21}\",deleted,perhaps", "6,public.etf_prices", "6,public.etf_price", "\n7,", "\n6,", `"{""name"": ""a \""new`, `"{""name"": ""b \""new`), []string{
			"line 2: the backup's values of row 1 are not as compared",
			"line 3: no row '99' was compared",
			`line 4: the key of row 3 is {"id": 7}, not {"id": 8}`,
			"line 5: a row that was deleted cannot be of class quarantine",
			"line 6: class 'perhaps' is none of",
			"line 7: row 6 is there more than once",
			"line 8: row 6 is there more than once",
			"line 9: the live values of row 8 are not as compared",
		}},
		"another table":        {replace("6,public.etf_prices", "6,public.etf_price"), []string{"line 7: row 6 is of table public.etf_prices, not 'public.etf_price'"}},
		"an added row":         {replace("4000}\",added,quarantine", "4000}\",added,restore"), []string{"line 7: a row that was added cannot be of class restore"}},
		"without a column":     {replace(",live\n", ",lively\n"), []string{`its first line has no column "live"`}},
		"a line of few fields": {original + "9,x\n", []string{"wrong number of fields"}},
		"empty":                {"", []string{"it is empty"}},
		"of many faults":       {"n,table,key,class,backup,live\n" + strings.Repeat("77,,,,,\n", 30), []string{"line 2: no row '77'", "and 10 more"}},
	} {
		_, err := Apply(t.Context(), w.applyOptions(Choice{CSV: strings.NewReader(test.file)}))
		contains(t, err, test.want...)
		if err == nil {
			t.Fatal(name)
		}
	}
	same(t, "contents", w.contents("etf_prices", "etfs", "etf_ops.work_rows"), before)
}

func TestRowsChosenByHand(t *testing.T) {
	w := reviewWorld(t)
	w.exec("UPDATE etf_ops.work_rows SET class = 'keep', columns = '{price}'; ALTER TABLE etf_prices ADD COLUMN is_adjusted boolean NOT NULL DEFAULT false; UPDATE etf_prices SET is_adjusted = true WHERE id = 6")
	choose := func(where string) Choice { return Choice{Table: "public.etf_prices", Where: where} }
	for _, test := range []struct {
		choice Choice
		want   string
	}{
		{choose("kind = 'added'"), `column "kind" does not exist`}, // ours, not the table's
		{choose("id = "), "syntax error"},
		{choose("nextval('etf_prices_id_seq') > 0"), "read-only transaction"},
		{choose(""), "give a condition"},
		{Choice{Where: "true"}, "name the table"},
		{Choice{Table: "etf_prices", Where: "true"}, "table etf_prices was not compared"},
		{Choice{Table: "public.etf_prices", Where: "true", CSV: strings.NewReader("")}, "not by both"},
	} {
		_, err := Apply(t.Context(), w.applyOptions(test.choice))
		contains(t, err, test.want)
	}
	if n := w.lines("SELECT count(*)::text FROM etf_ops.work_rows WHERE done IS NOT NULL"); n[0] != "0" {
		t.Errorf("%s rows were dealt with", n[0])
	}
	same(t, "applied", w.apply(choose("etf_prices.id IN (5, 100) AND price = 1 -- these")), &Applied{Restored: 1})
	same(t, "applied", w.apply(choose("is_adjusted OR id IN (20, 4001) AND is_adjusted IS NOT TRUE")), &Applied{Restored: 2, Quarantined: 1, BroughtBack: 1})
	same(t, "prices", w.lines("SELECT concat_ws(' ', id, price, volume) FROM etf_prices WHERE id IN (5, 6, 7, 20, 21) OR id > 3000 ORDER BY id"), []string{"5 104.00", "6 105.00", "7 1.00 2.00", "20 119.00", "4000 5.00"})
	if v := w.verify(); fmt.Sprint(v.Restored, v.Quarantined, v.BroughtBack) != "2 1 1" {
		t.Errorf("%+v", v)
	}
}
