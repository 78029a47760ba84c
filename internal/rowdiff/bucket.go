package rowdiff

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// buckets counts rows by a part of their keys, so that whole parts of two
// tables can be seen to have the same keys without comparing these.
type buckets map[int64]int64

// bucketed reports whether the buckets of a table can be told from the text of
// its keys: by integers.
func bucketed(t table) bool {
	key := t.keyColumns()
	return len(key) == 1 && (key[0].typ == "smallint" || key[0].typ == "integer" || key[0].typ == "bigint")
}

// bucketBits is how many keys share a bucket, as a power of two: few enough to
// read all their rows, many enough for all counts to fit in memory.
const bucketBits = 8

// bucketSQL is the expression for the bucket of a row.
func bucketSQL(alias string, t table) string {
	key := t.keyColumns()
	if bucketed(t) {
		return "(" + alias + quote(key[0].name) + "::bigint >> " + strconv.Itoa(bucketBits) + ")"
	}
	return "(hashtextextended(concat_ws(chr(9), " + each(key, ", ", func(c column) string { return alias + quote(c.name) + "::text" }) + "), 0) & 65535)"
}

// bucketOf is the bucket of an integer key.
func bucketOf(key []byte) int64 {
	negative := len(key) > 0 && key[0] == '-'
	if negative {
		key = key[1:]
	}
	var n int64
	for _, digit := range key {
		n = n*10 + int64(digit-'0')
	}
	if negative {
		n = -n
	}
	return n >> bucketBits
}

// countBuckets counts the rows of a table. Ranges of integers are counted by
// the index of the key, unless there are gaps much greater than they.
func countBuckets(ctx context.Context, q postgres.Querier, t table, rows int64) (buckets, error) {
	if !bucketed(t) {
		return queryBuckets(ctx, q, "SELECT "+bucketSQL("t.", t)+", count(*) FROM "+t.ident()+" t GROUP BY 1")
	}
	var first, last *int64
	id := "t." + quote(t.key[0])
	bits := strconv.Itoa(bucketBits)
	err := q.QueryRow(ctx, "SELECT min("+id+")::bigint >> "+bits+", max("+id+")::bigint >> "+bits+" FROM "+t.ident()+" t").Scan(&first, &last)
	if err != nil || first == nil {
		return nil, err
	}
	if span := *last - *first; span < 0 || span > 1000+rows/16 {
		return queryBuckets(ctx, q, "SELECT "+bucketSQL("t.", t)+", count(*) FROM "+t.ident()+" t GROUP BY 1")
	}
	return queryBuckets(ctx, q, fmt.Sprintf("SELECT w.b, (SELECT count(*) FROM %s t WHERE %s) FROM generate_series(%d::bigint, %d::bigint) w (b)", t.ident(), inBucket(id, "w.b"), *first, *last))
}

// inBucket is the condition that an integer key lies in a bucket, in a form
// that an index serves.
func inBucket(id, bucket string) string {
	return fmt.Sprintf("%s BETWEEN %s << %d AND (%[2]s << %[3]d) + %d", id, bucket, bucketBits, 1<<bucketBits-1)
}

func queryBuckets(ctx context.Context, q postgres.Querier, sql string) (buckets, error) {
	rows, err := q.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	counts := buckets{}
	var bucket, n int64
	_, err = pgx.ForEachRow(rows, []any{&bucket, &n}, func() error { counts[bucket] = n; return nil })
	return counts, err
}

// unlike is the buckets of b that other has with another count.
func (b buckets) unlike(other buckets) buckets {
	list := buckets{}
	for bucket, n := range b {
		if other[bucket] != n {
			list[bucket] = n
		}
	}
	return list
}

// literal is an array of the buckets for a statement.
func (b buckets) literal() string {
	var list strings.Builder
	for bucket := range b {
		if list.Len() > 0 {
			list.WriteByte(',')
		}
		list.WriteString(strconv.FormatInt(bucket, 10))
	}
	return "'{" + list.String() + "}'::bigint[]"
}
