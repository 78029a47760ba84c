package rowdiff

import (
	"context"
	"fmt"
	"io"
)

// WriteChosenSQL writes the statements that Apply would run with the same
// options, to be read beforehand, and changes nothing.
func WriteChosenSQL(ctx context.Context, o ApplyOptions, w io.Writer) error {
	conn, err := open(ctx, o.Host, o.Live, o.ApplicationName, present)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	a := &applier{ApplyOptions: o, conn: conn}
	if a.targets, err = targets(ctx, conn); err != nil {
		return err
	}
	if a.order, err = parentsFirst(ctx, conn); err != nil {
		return err
	}
	todo, err := a.choose(ctx)
	if err != nil {
		return err
	}
	var chosen []int64
	for _, rows := range todo {
		chosen = append(chosen, rows...)
	}
	columns := "w.changed"
	if !a.byHand() {
		columns = "CASE WHEN w.class = 'restore' THEN coalesce(w.columns, w.changed) ELSE w.changed END"
	}
	return writeStatements(ctx, conn, w, fmt.Sprintf(statementsSQL, columns, "w.n = ANY ($2)"), true, a.order, chosen)
}
