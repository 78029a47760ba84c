// Package acceptance runs the compiled program as a person and a pipeline do,
// against a sandbox of its own: deployments, failures, signals, bad input.
package acceptance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// theStack is brought up once for all tests; they run in the order of the
// story that they tell.
var theStack *stack.Stack

func TestMain(m *testing.M) {
	code, err := withStack(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withStack(run func() int) (code int, err error) {
	ctx := context.Background()
	s, err := stack.Up(ctx, 8, os.Stderr)
	if err != nil {
		return 1, err
	}
	defer func() {
		if code != 0 && os.Getenv("ETF_KEEP") != "" {
			fmt.Fprintln(os.Stderr, "kept for a look:", s.Dir)
			return
		}
		err = errors.Join(err, s.Down(ctx))
	}()
	theStack = s
	return run(), nil
}
