package cache

import (
	"context"
	"regexp"
)

var runID = regexp.MustCompile(`(?m)^run_id:(\w+)`)

// Identity is what two addresses of the same database have in common, however
// they are written: the present life of the server, and the database's number.
func (c *Client) Identity(ctx context.Context) (server string, database int, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	text, err := c.rdb.Info(ctx, "server").Result()
	if err != nil {
		return "", 0, c.explain(ctx, "asking redis who it is", err)
	}
	if m := runID.FindStringSubmatch(text); m != nil {
		server = m[1]
	}
	return server, c.rdb.Options().DB, nil
}
