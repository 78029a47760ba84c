package step_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

const (
	maxStep        = 10 * time.Millisecond // what a step may cost beside what it does
	stepsOfOneList = 100                   // more than any operation has
)

// BenchmarkStep measures what the engine and the journal add to a step, on a
// real file system, beside what the same disk needs in the same moment to
// keep one line: a step writes two, so a ratio of 2 is the least.
func BenchmarkStep(b *testing.B) {
	raw, err := os.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	var op *step.Operation
	var disk, steps time.Duration
	n := 0
	for b.Loop() {
		if n%stepsOfOneList == 0 {
			op, _ = operation(b)
		}
		list := []step.Step{plain{fmt.Sprintf("step:%d", n)}}
		n++
		begin := time.Now()
		if err := op.Do(ctx, list); err != nil {
			b.Fatal(err)
		}
		steps += time.Since(begin)

		begin = time.Now()
		if _, err := raw.Write(make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
		if err := raw.Sync(); err != nil {
			b.Fatal(err)
		}
		disk += time.Since(begin)
	}
	perStep, perLine := steps/time.Duration(n), disk/time.Duration(n)
	b.ReportMetric(0, "ns/op") // both together say nothing
	b.ReportMetric(perStep.Seconds()*1e3, "ms/step")
	b.ReportMetric(perLine.Seconds()*1e3, "ms/line-by-hand")
	b.ReportMetric(float64(perStep)/float64(perLine), "ratio")
	if perStep > maxStep {
		b.Errorf("a step costs %s, at most %s is allowed; the disk needs %s for a line", perStep, maxStep, perLine)
	}
}
