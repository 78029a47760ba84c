package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Status is the outcome of a check.
type Status string

// Statuses of a check, from good to bad.
const (
	OK      Status = "ok"
	Warning Status = "warning" // somebody should look; nothing is held up
	Unknown Status = "unknown" // could not look: never a pass
	Fault   Status = "fault"
)

// findingsVersion is that of the JSON form.
const findingsVersion = 1

// A Finding is what one check has to say.
type Finding struct {
	Check   string `json:"check"` // pre:data, or pre:data/price-range
	Status  Status `json:"status"`
	Looked  string `json:"looked"`            // at what
	Found   string `json:"found"`             // in a few words
	Do      string `json:"do,omitempty"`      // what to do about it
	Command string `json:"command,omitempty"` // the plan's command that the check stands for

	// For programs, which must not have to read sentences:
	Key     string           `json:"key,omitempty"`     // what was looked at, by a name that stays: price-range, worker0@etf, disk
	Counts  map[string]int64 `json:"counts,omitempty"`  // by names that stay: looked, violations, tolerated; sizes in bytes, times in ms
	Samples []string         `json:"samples,omitempty"` // keys of the first rows, tasks, files concerned
	SQL     string           `json:"sql,omitempty"`     // shows all rows concerned
	Details any              `json:"details,omitempty"` // whatever else there is

	Duration time.Duration `json:"took_ns,omitempty"`
}

// Findings are the results of a section of checks.
type Findings struct {
	Environment string
	At          time.Time
	List        []Finding
}

// Worst is the worst status among the findings; Unknown when there are none,
// since then nothing was looked at.
func (f Findings) Worst() Status {
	worst := OK
	rank := map[Status]int{OK: 0, Warning: 1, Unknown: 2, Fault: 3}
	for _, one := range f.List {
		n, known := rank[one.Status]
		if !known {
			one.Status, n = Unknown, rank[Unknown]
		}
		if n > rank[worst] {
			worst = one.Status
		}
	}
	if len(f.List) == 0 {
		return Unknown
	}
	return worst
}

// Write prints the findings as a table, with what to do below it. explain adds
// the plan's command that each check stands for.
func (f Findings) Write(w io.Writer, explain bool) error {
	t := NewTable("CHECK", "STATUS", "LOOKED AT", "FOUND")
	if explain {
		t = NewTable("CHECK", "STATUS", "LOOKED AT", "FOUND", "STANDS FOR")
	}
	var todo strings.Builder
	for _, one := range f.List {
		cells := []string{one.Check, string(one.Status), one.Looked, one.Found}
		if explain {
			cells = append(cells, one.Command)
		}
		t.Row(cells...)
		if one.Status != OK && one.Do != "" {
			fmt.Fprintf(&todo, "%s: %s\n", one.Check, cleanCell(one.Do))
		}
	}
	if err := t.Write(w); err != nil {
		return err
	}
	if todo.Len() > 0 {
		_, err := fmt.Fprintf(w, "\nWhat to do\n%s", todo.String())
		return err
	}
	return nil
}

// JSON prints the findings for programs.
func (f Findings) JSON(w io.Writer) error {
	list := f.List
	if list == nil {
		list = []Finding{}
	}
	return JSON(w, struct {
		Version     int       `json:"version"`
		Environment string    `json:"environment,omitempty"`
		At          time.Time `json:"at"`
		Status      Status    `json:"status"`
		Findings    []Finding `json:"findings"`
	}{findingsVersion, f.Environment, f.At.UTC(), f.Worst(), list})
}

// JSON prints v, indented, without secrets.
func JSON(w io.Writer, v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err := io.WriteString(w, host.Redact(b.String()))
	return err
}
