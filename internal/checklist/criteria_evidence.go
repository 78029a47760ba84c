package checklist

import (
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// evidenceShown is how many findings a criterion's evidence quotes of a check.
const evidenceShown = 4

// evidenceOf says what a check has found, in its findings' own words: what is
// not well, or else the first of what is.
func evidenceOf(check string, findings []report.Finding) string {
	worst := report.OK
	for _, f := range findings {
		if rank(f.Status) > rank(worst) {
			worst = f.Status
		}
	}
	var quoted []string
	of := 0
	for _, f := range findings {
		if f.Status != worst {
			continue
		}
		if of++; len(quoted) < evidenceShown {
			quoted = append(quoted, f.Looked+": "+firstLine(f.Found))
		}
	}
	text := check + ": "
	if worst != report.OK {
		text += fmt.Sprintf("%d of %d looks end with %s: ", of, len(findings), worst)
	}
	text += strings.Join(quoted, "; ")
	if more := len(findings) - len(quoted); more > 0 && worst == report.OK {
		text += fmt.Sprintf("; and %d more, all well", more)
	}
	return text
}
