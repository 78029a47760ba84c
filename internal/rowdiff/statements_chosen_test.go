package rowdiff

import (
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// The statements of a choice are those of its rows, and run as they are they do
// what Apply would.
func TestWriteChosenSQL(t *testing.T) {
	w := newWorld(t, service).dump()
	before := w.contents("etf_prices")
	w.exec(`UPDATE etf_prices SET price = 1, volume = 7 WHERE id IN (5, 6); INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', '2030-01-01', 5); DELETE FROM etf_prices WHERE id = 9`)
	w.compare()
	w.judge()
	w.exec("UPDATE etf_ops.work_rows SET class = 'keep'")
	sql := func(c Choice) string {
		t.Helper()
		var out strings.Builder
		if err := WriteChosenSQL(t.Context(), ApplyOptions{Host: host.Local{}, Live: w.live, ApplicationName: "test", Choice: c}, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if text := sql(Choice{BringBack: true}); strings.Contains(text, "UPDATE") || strings.Contains(text, "INSERT") {
		t.Errorf("all are kept:\n%s", text)
	}
	text := sql(Choice{Table: "public.etf_prices", Where: "id = 6"})
	if !strings.Contains(text, `UPDATE "public"."etf_prices" SET "price" = 105.00, "volume" = NULL WHERE "id" = 6;`) || strings.Count(text, "UPDATE") != 1 || strings.Contains(text, "INSERT") {
		t.Errorf("one chosen by hand:\n%s", text)
	}
	same(t, "rows that are done", w.lines("SELECT count(*)::text FROM etf_ops.work_rows WHERE done IS NOT NULL"), []string{"0"})
	all := sql(Choice{Table: "public.etf_prices", Where: "true"})
	w.exec("CREATE TABLE IF NOT EXISTS etf_ops.quarantine (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), operation text, tbl text, key jsonb, row jsonb, why text)")
	w.exec(all)
	same(t, "prices", w.contents("etf_prices"), before)
}
