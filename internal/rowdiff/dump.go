package rowdiff

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// A source has the rows of the backup.
type source interface {
	// has says how many rows of the table the backup has, and whether it has
	// that table at all.
	has(ctx context.Context, t table) (rows int64, ok bool, err error)
	// whole says that picking rows by so many keys is not worth it and all are
	// to be loaded.
	whole(keys int64) bool
	// read loads what is wanted. After an error finish has to be called still.
	read(ctx context.Context, r *reading) error
	// count counts the rows of the table, which was read before, by bucket;
	// it has about as many as given. There may be no buckets for such a key.
	count(ctx context.Context, t table, rows int64) (counts buckets, ok bool, err error)
	close(ctx context.Context)
}

// newSource is the side database where there is one, else the dump.
func newSource(ctx context.Context, o Options) (source, error) {
	if o.Backup.Side == "" {
		o.Backup.Info.Encoding = cmp.Or(o.Backup.Info.Encoding, "UTF8")
		return &dump{host: o.Host, backup: o.Backup}, nil
	}
	return openSide(ctx, o)
}

// A dump is read by pg_restore, a table at a time, and not at all where nothing
// of a table is wanted.
type dump struct {
	host   host.Host
	backup Backup
	counts buckets // of the table that was read last
}

func (d *dump) close(context.Context) {}

func (d *dump) has(_ context.Context, t table) (int64, bool, error) {
	n, ok := d.backup.Info.Rows[t.name]
	return n, ok, nil
}

// maxKeys is how many keys are held in memory, to pick rows by: about 30 MB.
var maxKeys int64 = 500_000 // fewer in a test

func (d *dump) whole(keys int64) bool { return keys > maxKeys }

// read picks rows by the text of their keys. Equal keys of some types may have
// different texts (1.0 and 1.00): such a row is not found, the counts then say
// that rows are missing, and all are loaded.
func (d *dump) read(ctx context.Context, r *reading) error {
	pick, err := wantedKeys(ctx, r, d.backup.Info.Encoding)
	if err != nil {
		return err
	}
	var keys *keyReader
	byBucket := bucketed(r.table)
	d.counts = buckets{}
	text := &copyText{}
	text.begin = func(columns []string) error {
		if keys = newKeyReader(columns, r.table.key); keys == nil {
			return errNoBackupKey
		}
		return r.begin(ctx, columns, d.backup.Info.Encoding)
	}
	text.row = func(line []byte) error {
		if text.rows&(1<<18-1) == 0 {
			r.seen(text.rows)
		}
		key := keys.key(line)
		var bucket int64
		if byBucket {
			bucket = bucketOf(key)
			if len(d.counts) <= maxBuckets {
				d.counts[bucket]++
			}
		}
		if pick != nil && !pick[string(key)] || r.within != nil && r.within[bucket] == 0 {
			return nil
		}
		_, err := r.rows.Write(line)
		return err
	}
	err = postgres.ReadTable(ctx, d.host, postgres.ReadOptions{
		File: d.backup.File, Info: d.backup.Info, BinDir: d.backup.BinDir, Schema: r.table.schema, Table: r.table.base,
	}, text)
	if r.pump != nil && r.pump.failure() != nil {
		return r.pump.failure() // why reading was ended
	}
	if err == nil {
		err = text.finish()
	}
	if want := d.backup.Info.Rows[r.table.name]; err == nil && text.rows != want {
		err = fmt.Errorf("it has %d rows of %s, not %d as its manifest says: verify the backup", text.rows, r.table.name, want)
	}
	return wrap("reading "+r.table.name+" from dump "+d.backup.File, err)
}

func (d *dump) count(_ context.Context, t table, _ int64) (buckets, bool, error) {
	return d.counts, bucketed(t) && len(d.counts) <= maxBuckets, nil
}

// wantedKeys reads the keys of the rows to pick; nil: not by key.
func wantedKeys(ctx context.Context, r *reading, encoding string) (map[string]bool, error) {
	if r.wanted == "" {
		return nil, nil
	}
	pick := map[string]bool{}
	_, err := r.conn.PgConn().CopyTo(ctx, lineFunc(func(line []byte) {
		pick[string(bytes.TrimSuffix(line, []byte("\n")))] = true
	}), "COPY ("+r.wanted+") TO STDOUT (ENCODING "+literal(encoding)+")")
	return pick, wrap("reading the keys of "+r.table.name, err)
}

// A lineFunc takes what COPY sends: a row at a time.
type lineFunc func(line []byte)

func (f lineFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}
