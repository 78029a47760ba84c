// Package faults is the proof that the suite can be killed anywhere and
// nothing is lost: deployments are killed, made to fail and to hang at every
// step, servers are taken away under them, while a writer commits rows; after
// each the service has to run whole on one release, with every row there.
//
// `go test` runs a part of it in which every step and every fault occurs;
// `go tool mage faults` runs all of it.
package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// What runs is chosen by these variables; go tool mage faults sets them.
const (
	suiteVariable = "ETF_FAULT_SUITE" // whole, kills, or nothing for the part
	onlyVariable  = "ETF_FAULT_ONLY"  // a step, or a fault of a server: nothing else is run
	killsVariable = "ETF_FAULT_KILLS" // how many kills at random instants
	seedVariable  = "ETF_FAULT_SEED"  // of those instants
	outVariable   = "ETF_FAULT_OUT"   // file for the matrix, as Markdown
)

// theRig is brought up once for all tests.
var theRig *rig

func TestMain(m *testing.M) {
	code, err := withRig(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withRig(run func() int) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	theRig = &rig{}
	defer func() {
		if code != 0 && os.Getenv("ETF_KEEP") != "" && theRig.Stack != nil {
			fmt.Fprintln(os.Stderr, "kept for a look:", theRig.Dir)
			return
		}
		err = errors.Join(err, theRig.down(context.WithoutCancel(ctx)))
	}()
	if err := theRig.up(ctx); err != nil {
		return 1, err
	}
	defer context.AfterFunc(ctx, abandon)()
	return run(), nil
}

// abandoned: nothing may bring the sandbox up again.
var abandoned atomic.Bool

// abandon takes the sandbox down, whose servers would be left running, and
// ends this process, which was asked to end.
func abandon() {
	abandoned.Store(true)
	fmt.Fprintln(os.Stderr, "asked to end: taking the sandbox down")
	if theRig.Stack != nil {
		killAll(theRig.programs())
		if err := theRig.Stack.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(1)
}

// number reads a variable that holds a number.
func number(t *testing.T, variable string) int64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: a number is wanted", variable, text)
	}
	return n
}
