package checklist

import (
	"fmt"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// evidenceShown is how many findings a criterion's evidence quotes of a check.
const evidenceShown = 4

// evidenceOf says what a check has found, in its findings' own words: what is
// not well before what is.
func evidenceOf(check string, findings []report.Finding) (lines []string) {
	sorted := slices.SortedStableFunc(slices.Values(findings), func(a, b report.Finding) int { return rank(b.Status) - rank(a.Status) })
	for _, f := range sorted[:min(evidenceShown, len(sorted))] {
		line := check + ": " + f.Looked + ": " + firstLine(f.Found)
		if f.Status != report.OK {
			line = string(f.Status) + ": " + line
		}
		lines = append(lines, line)
	}
	if more := sorted[len(lines):]; len(more) > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more: %s", check, len(more), statusText(more)))
	}
	return lines
}

// statusText counts findings by their status.
func statusText(findings []report.Finding) string {
	var texts []string
	for _, status := range []report.Status{report.Fault, report.Unknown, report.Warning, report.OK} {
		n := 0
		for _, f := range findings {
			if f.Status == status {
				n++
			}
		}
		if n > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return join(texts)
}
