package faults

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// results are what came of all cells, for the matrix at the end.
type results struct {
	cells   map[string]map[fault]result
	servers []serverResult
}

func newResults() *results { return &results{cells: map[string]map[fault]result{}} }

func (r *results) add(c result) {
	if r.cells[c.step] == nil {
		r.cells[c.step] = map[fault]result{}
	}
	r.cells[c.step][c.fault] = c
}

func (r *results) addServer(s serverResult) { r.servers = append(r.servers, s) }

// write prints the matrix, and writes it to a file where one is named.
func (r *results) write(t *testing.T, file string) {
	text := r.markdown()
	fmt.Print("\n", text)
	if file == "" {
		return
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

func (r *results) markdown() string {
	var b strings.Builder
	line := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	b.WriteString("# Faults at every step of a deployment\n\n")
	b.WriteString("✓: the service ran whole afterwards, every acknowledged row was there. ")
	b.WriteString("After a kill, what ended the operation; after a failure, how it ended by itself.\n\n")
	if len(r.cells) > 0 {
		head, rule := []string{"step"}, []string{"---"}
		for _, f := range faults {
			head, rule = append(head, string(f)), append(rule, "---")
		}
		line(head...)
		line(rule...)
		for _, step := range steps {
			row := []string{step}
			for _, f := range faults {
				row = append(row, r.text(step, f))
			}
			if r.cells[step] != nil {
				line(row...)
			}
		}
	}
	if len(r.servers) > 0 {
		b.WriteString("\n")
		line("server", "", "ended by")
		line("---", "---", "---")
		for _, s := range r.servers {
			line(s.name, mark(s.ok), s.how)
		}
	}
	return b.String()
}

func (r *results) text(step string, f fault) string {
	c, run := r.cells[step][f]
	switch {
	case !run:
		return ""
	case f.kills():
		return mark(c.ok) + " " + string(c.way)
	case papers(step):
		return mark(c.ok) + " warning"
	case touches(step):
		return mark(c.ok) + " undone"
	}
	return mark(c.ok) + " unchanged"
}

func mark(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}
