package checklist

import (
	"context"
	"errors"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// KeptDatabases lists the databases that were kept or left beside the live
// one. It asks over another database of the server: a swap that was cut off
// leaves the live one closed, and then they are wanted most.
func (t *Target) KeptDatabases(ctx context.Context) ([]postgres.KeptDatabase, error) {
	u, err := t.databaseURL()
	if err != nil {
		return nil, err
	}
	conn, err := postgres.Connect(ctx, t.Host, u.WithDatabase("postgres"), "etf-deploy")
	if errors.Is(err, postgres.ErrNoDatabase) || errors.Is(err, postgres.ErrNotAccepting) || errors.Is(err, postgres.ErrLogin) {
		conn, err = postgres.Connect(ctx, t.Host, u, "etf-deploy")
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.Kept(ctx, conn)
}

func keptTable(all []postgres.KeptDatabase) *report.Table {
	table := report.NewTable("database", "what", "since", "size", "by", "why")
	for _, k := range all {
		what, when, size := "kept", "", report.Bytes(k.Bytes)
		if k.Side {
			what = "side, left over"
		}
		if k.Side && k.InUse {
			what = "side, in use"
		}
		if !k.When.IsZero() {
			when = k.When.Format(time.RFC3339)
		}
		if k.Bytes == 0 {
			size = "not seen"
		}
		table.Row(k.Name, what, when, size, k.Operation, k.Reason)
	}
	return table
}
