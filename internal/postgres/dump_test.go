package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

func dump(t *testing.T, u URL) (string, DumpInfo) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "database.dump")
	info, err := Dump(t.Context(), host.Local{}, DumpOptions{URL: u, File: file, ApplicationName: "test-dump"})
	if err != nil {
		t.Fatal(err)
	}
	return file, info
}

func TestDumpUnderWritesIsProven(t *testing.T) {
	u := newDatabase(t, "dump")
	const prices = 60000
	fill(t, u, prices)
	ops := connect(t, u)
	if err := errors.Join(EnsureOps(t.Context(), ops), TakeFence(t.Context(), ops, 3, "op-3")); err != nil {
		t.Fatal(err)
	}
	exec(t, ops, "CREATE TABLE etf_ops.quarantine (a int); INSERT INTO etf_ops.quarantine VALUES (1); CREATE TABLE etf_ops.work_1 (a int); INSERT INTO etf_ops.work_1 VALUES (1)")

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	writer := connect(t, u)
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			writer.Exec(ctx, "INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', date '2100-01-01' + $1::int, 1)", i)
		}
	})
	h := &recorder{}
	file := filepath.Join(t.TempDir(), "database.dump")
	wg.Go(func() { // the file is nobody else's to read from the first byte on
		for ctx.Err() == nil {
			if st, err := os.Stat(file + ".part"); err == nil && st.Mode().Perm() != 0o600 {
				t.Errorf("mode of the growing dump is %v", st.Mode())
				return
			}
		}
	})
	info, err := Dump(t.Context(), h, DumpOptions{URL: u, File: file, ApplicationName: "op-3 dump", Progress: func(done, total int64) {
		if done > total || total < prices {
			t.Errorf("progress %d of %d", done, total)
		}
	}})
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range h.commands {
		if strings.Contains(strings.Join(c.Argv, " "), ownerPassword) {
			t.Errorf("the password is in argv: %q", c.Argv)
		}
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 || st.Size() != info.Size {
		t.Errorf("file: %v, %v", st, err)
	}
	if info.Rows["public.etf_prices"] < prices || info.Rows["public.parts_26"] != 30 || info.Rows[oddTable] != 4 || info.Rows["etf_ops.quarantine"] != 1 {
		t.Errorf("rows = %v", info.Rows)
	}
	for _, without := range []string{"etf_ops.fence", "etf_ops.work_1", "public.parts", "public.counts"} {
		if _, ok := info.Rows[without]; ok {
			t.Errorf("%s was counted", without)
		}
	}
	if info.Database != u.Database || info.DatabaseOID == 0 || len(info.SystemIdentifier) < 10 || info.DatabaseSize < 1<<20 || !slices.Equal(info.AlembicHeads, []string{"0002"}) ||
		strings.Count(info.Snapshot, ":") != 2 || info.ServerMajor() < 15 || majorOf(info.ToolVersion) < 15 || info.Encoding != "UTF8" || info.File != "database.dump" {
		t.Errorf("info = %+v", info)
	}
	if err := VerifyDump(t.Context(), host.Local{}, file, info, VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := Dump(t.Context(), host.Local{}, DumpOptions{URL: u, File: file}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second dump under the same name: %v", err)
	}
}

func TestVerifyDumpFindsWhatIsWrong(t *testing.T) {
	u := newDatabase(t, "verify")
	fill(t, u, 5000)
	file, info := dump(t, u)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sized := func(i DumpInfo, b []byte) DumpInfo { // as if the manifest had been made for these bytes
		name := filepath.Join(t.TempDir(), "x")
		os.WriteFile(name, b, 0o600)
		i.SHA256, i.Size, err = Checksum(t.Context(), host.Local{}, name)
		return i
	}
	altered := slices.Clone(content)
	altered[len(altered)/2] ^= 1
	rows := func(change func(map[string]int64)) DumpInfo {
		i := info
		i.Rows = map[string]int64{}
		for k, v := range info.Rows {
			i.Rows[k] = v
		}
		change(i.Rows)
		return i
	}
	for _, test := range []struct {
		name, what string
		content    []byte
		info       DumpInfo
	}{
		{"missing", "missing", nil, info},
		{"truncated", "size", content[:len(content)-100], info},
		{"altered", "checksum", altered, info},
		{"truncated before its checksum was taken", "format", content[:len(content)-3000], sized(info, content[:len(content)-3000])},
		{"not a dump", "format", []byte("hello"), sized(info, []byte("hello"))},
		{"a row too many in the manifest", "rows", content, rows(func(m map[string]int64) { m["public.etf_prices"]++ })},
		{"a table too many in the manifest", "contents", content, rows(func(m map[string]int64) { m["public.more"] = 0 })},
		{"a table missing in the manifest", "rows", content, rows(func(m map[string]int64) { delete(m, oddTable) })},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "database.dump")
			if test.content != nil {
				os.WriteFile(name, test.content, 0o600)
			}
			err := VerifyDump(t.Context(), host.Local{}, name, test.info, VerifyOptions{})
			var mismatch *MismatchError
			if !errors.As(err, &mismatch) || mismatch.What != test.what {
				t.Errorf("VerifyDump: %v, want a mismatch of %s", err, test.what)
			}
		})
	}
}

func TestAnInterruptedDumpLeavesNothing(t *testing.T) {
	u := newDatabase(t, "interrupted")
	fill(t, u, 100)
	blocker := connect(t, u)
	exec(t, blocker, "BEGIN; LOCK TABLE etf_prices IN ACCESS EXCLUSIVE MODE")
	file := filepath.Join(t.TempDir(), "database.dump")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Dump(ctx, host.Local{}, DumpOptions{URL: u, File: file, ApplicationName: "interrupted"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dump behind a lock: %v", err)
	}
	entries, _ := os.ReadDir(filepath.Dir(file))
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	exec(t, blocker, "ROLLBACK")
	os.WriteFile(file+".part", []byte("of a killed run"), 0o644)
	info, err := Dump(t.Context(), host.Local{}, DumpOptions{URL: u, File: file, ApplicationName: "again"})
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyDump(t.Context(), host.Local{}, file, info, VerifyOptions{}); err != nil {
		t.Error(err)
	}
}

func TestToolsThatAreTooOldOrMissing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pg_dump"), []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	u := newDatabase(t, "tools")
	for _, bin := range []string{dir, filepath.Join(dir, "none")} {
		_, err := Dump(t.Context(), host.Local{}, DumpOptions{URL: u, File: filepath.Join(dir, "d"), BinDir: bin})
		if !errors.Is(err, ErrTool) || !strings.Contains(err.Error(), "postgresql-client-") {
			t.Errorf("pg_dump of %s: %v", bin, err)
		}
	}
	if _, _, err := Tool(t.Context(), host.Local{}, "pg_restore", "", 99); !errors.Is(err, ErrTool) {
		t.Errorf("pg_restore 99: %v", err)
	}
}

// Whatever the pieces in which it comes, the text gives the same counts.
func TestCopyCounter(t *testing.T) {
	var text bytes.Buffer
	want := map[string]int64{"public.a": 3, `x.y"z`: 0, "public.b": 1000, "public.c": 2}
	text.WriteString("--\n\\restrict abc\nSET x = 1;\nCOPY public.a (a) FROM stdin;\n\\\\.\nCOPY public.b (a) FROM stdin;\n\\\\.\\n\\\\.\n\\.\n\n")
	text.WriteString("COPY x.\"y\"\"z\" (\"c d\") FROM stdin;\n\\.\n\nSELECT 1;\n\\.\nCOPY nothing\n")
	text.WriteString("COPY public.b (a, b) FROM stdin;\n" + strings.Repeat("1\tx\n", 1000) + "\\.\n")
	text.WriteString("COPY public.c (a) FROM stdin;\n\n\n\\.\n-- end\n")
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := &copyCounter{}
		for rest := text.Bytes(); len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1+int(seed)))
			c.Write(slices.Clone(rest[:n]))
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, c.rows); diff != "" || c.inside {
			t.Fatalf("seed %d: %s (inside: %v)", seed, diff, c.inside)
		}
	}
}

func BenchmarkCopyCounter(b *testing.B) {
	line := "1234567\tE0001.US\t2026-11-20\t123.45\tEUR\t12345\t124.00\t122.00\t123.00\t\\N\t\\N\t\\N\tUSD\tyfinance\tf\n"
	piece := []byte(strings.Repeat(line, 32<<10/len(line)))
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	c := &copyCounter{}
	c.Write([]byte("COPY public.etf_prices (id) FROM stdin;\n"))
	for b.Loop() {
		c.Write(piece)
	}
}

// BenchmarkVerifyDump reads a dump of the size that the environment variable
// BENCH_PRICES says, by default half a million rows.
func BenchmarkVerifyDump(b *testing.B) {
	n := 500_000
	fmt.Sscan(os.Getenv("BENCH_PRICES"), &n)
	u := owner("bench")
	ctx := context.Background()
	conn, err := Connect(ctx, host.Local{}, owner("postgres"), "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	conn.Exec(ctx, "CREATE DATABASE bench")
	defer DropSide(ctx, host.Local{}, u, "bench")
	data, err := Connect(ctx, host.Local{}, u, "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer data.Close(ctx)
	if _, err := data.Exec(ctx, `CREATE TABLE etf_prices AS SELECT i AS id, 'E' || i % 2000 || '.US' AS etf_id, date '2000-01-01' + i % 9000 AS date,
		(random() * 100)::numeric(20,2) AS price, 'EUR' AS currency, (random() * 1e6)::numeric(20,2) AS volume, 'yfinance' AS source, false AS is_adjusted FROM generate_series(1, $1::int) i`, n); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "d")
	begin := time.Now()
	info, err := Dump(ctx, host.Local{}, DumpOptions{URL: u, File: file, ApplicationName: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	dumped := time.Since(begin)
	for b.Loop() {
		if err := VerifyDump(ctx, host.Local{}, file, info, VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/dumped.Seconds(), "dumped-rows/s")
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "verified-rows/s")
}
