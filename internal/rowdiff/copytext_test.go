package rowdiff

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Whatever the pieces in which it comes, the text gives the same rows.
func TestCopyText(t *testing.T) {
	var text bytes.Buffer
	text.WriteString("--\n\\restrict abc\nSET x = 1;\nCOPY nothing\nCOPY x.y z FROM stdin;\n")
	text.WriteString(`COPY public."a ""b"".(c) FROM stdin;" ("b c", id, "x, ""y"")") FROM stdin;` + "\n")
	rows := []string{"1\t2\t3\n", "\\\\.\t\\N\t\n", "\\\\.\\n\\\\.\t\t\\.\n", "\n", "COPY public.b (a) FROM stdin;\t1\t2\n", strings.Repeat("long", 5000) + "\ta\tb\n"}
	for range 200 {
		rows = append(rows, "7\tx\ty\n")
	}
	for _, row := range rows {
		text.WriteString(row)
	}
	text.WriteString("\\.\n\nSELECT setval('x', 1);\nCOPY public.c (a) FROM stdin;\n1\n\\.\n")
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var got []string
		var columns []string
		c := &copyText{begin: func(names []string) error { columns = names; return nil }, row: func(line []byte) error { got = append(got, string(line)); return nil }}
		if c.finish() == nil {
			t.Fatal("no rows, and no error")
		}
		for rest := text.Bytes(); len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1+int(seed)))
			if _, err := c.Write(slices.Clone(rest[:n])); err != nil {
				t.Fatal(err)
			}
			if len(got) > 0 && len(got) < len(rows) && c.finish() == nil {
				t.Fatal("rows that do not end, and no error")
			}
			rest = rest[n:]
		}
		if err := c.finish(); err != nil || c.rows != int64(len(rows)) {
			t.Fatalf("seed %d: %d rows, %v", seed, c.rows, err)
		}
		same(t, "columns", columns, []string{"b c", "id", `x, "y")`})
		if !slices.Equal(got, rows) {
			t.Fatalf("seed %d: %q", seed, got)
		}
	}
	full := errors.New("full")
	c := &copyText{begin: func([]string) error { return nil }, row: func([]byte) error { return full }}
	if _, err := c.Write(text.Bytes()); !errors.Is(err, full) {
		t.Errorf("error of a row: %v", err)
	}
}

func TestKeyReader(t *testing.T) {
	for _, test := range []struct{ columns, key, line, want string }{
		{"id a", "id", "17\tx\n", "17"},
		{"a id", "id", "x\t17\n", "17"},
		{"a b c", "c a", "1\t2\t3\n", "3\t1"},
		{"a b c", "b c", "\\N\t\t\\t\n", "\t\\t"},
		{"id", "id", "5\n", "5"},
	} {
		r := newKeyReader(strings.Fields(test.columns), strings.Fields(test.key))
		for range 2 {
			if got := string(r.key([]byte(test.line))); got != test.want {
				t.Errorf("%+v: %q", test, got)
			}
		}
	}
	if newKeyReader([]string{"a"}, []string{"b"}) != nil {
		t.Error("a key that is not there")
	}
}

func TestBucketOf(t *testing.T) {
	for key, want := range map[string]int64{"0": 0, "255": 0, "256": 1, "-1": -1, "-256": -1, "-257": -2, "9223372036854775807": 1<<55 - 1, "-9223372036854775808": -1 << 55} {
		if got := bucketOf([]byte(key)); got != want {
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
}
