// Package acceptance runs the compiled program as a person and a pipeline do,
// against a sandbox of its own: deployments, failures, signals, bad input.
package acceptance

import (
	"os"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// theStack is brought up once for all tests; they run in the order of the
// story that they tell.
var theStack *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(stack.With(8, func(s *stack.Stack) int {
		theStack = s
		return m.Run()
	}))
}
