package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A Criterion is one of the plan's success criteria with its evidence.
type Criterion struct {
	Number   int    `json:"number"`
	Text     string `json:"text"`
	Met      bool   `json:"met"`
	Evidence string `json:"evidence"`

	Findings []report.Finding `json:"findings"` // that the evidence quotes from

	lines []string // of the evidence
}

// successCriteria are the plan's, each with the checks that are its evidence.
var successCriteria = []struct {
	text   string
	checks []string
}{
	{"All API endpoints responding correctly", []string{"verify:api"}},
	{"Celery tasks running as scheduled", []string{"verify:tasks", "verify:update"}},
	{"No high-severity errors in logs", []string{"verify:logs"}},
	{"Metrics being collected", []string{"verify:metrics"}},
	{"Alerts properly configured", []string{"verify:alerts"}},
	{"Backup systems operational", []string{"verify:backups"}},
}

// Criteria holds the success criteria against findings. One whose checks were
// not made counts as not met.
func Criteria(findings []report.Finding) []Criterion {
	var all []Criterion
	for i, c := range successCriteria {
		criterion := Criterion{Number: i + 1, Text: c.text, Met: true}
		for _, name := range c.checks {
			var of []report.Finding
			for _, f := range findings {
				if f.Check == name {
					of = append(of, f)
				}
			}
			if len(of) == 0 {
				criterion.Met = false
				criterion.lines = append(criterion.lines, name+": not looked at")
				continue
			}
			criterion.Met = criterion.Met && Judge(of) == nil
			criterion.Findings = append(criterion.Findings, of...)
			criterion.lines = append(criterion.lines, evidenceOf(name, of)...)
		}
		criterion.Evidence = strings.Join(criterion.lines, "; ")
		all = append(all, criterion)
	}
	return all
}

// criteriaFromFindings judges by what the operation's checks have noted.
func criteriaFromFindings(op *step.Operation) ([]Criterion, error) {
	var all []report.Finding
	for _, c := range Verification {
		var findings []report.Finding
		if _, err := op.Fact("findings/"+c.Name, &findings); err != nil {
			return nil, err
		}
		all = append(all, findings...)
	}
	return Criteria(all), nil
}

// VerifyCriteria looks at everything that the criteria ask for. What cannot be
// looked at counts as not met, also when that is all of it.
func (t *Target) VerifyCriteria(ctx context.Context) ([]Criterion, error) {
	subject, subjectErr := t.SubjectAlone(ctx, "")
	var findings []report.Finding
	if subjectErr == nil {
		first, _ := t.RunChecks(ctx, PostDeployment, subject)
		second, _ := t.RunChecks(ctx, PostDeploymentTrace, subject)
		findings = append(first, second...)
	}
	criteria := Criteria(findings)
	var unmet []string
	for _, c := range criteria {
		if !c.Met {
			unmet = append(unmet, fmt.Sprintf("%d %s", c.Number, c.Text))
		}
	}
	if len(unmet) > 0 {
		return criteria, errors.Join(fmt.Errorf("%w: not met: %s", step.ErrFault, join(unmet)), subjectErr)
	}
	return criteria, nil
}
