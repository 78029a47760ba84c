package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Outcomes that Finished knows a mark and a colour for; others are printed too.
const (
	Done        = "done"
	Skipped     = "skipped"
	Failed      = "failed"
	Undone      = "undone"
	Interrupted = "interrupted"
)

// progressEvery is the shortest time between two plain lines of progress of
// one step.
const progressEvery = 5 * time.Second

// Printer shows steps as they run. On a terminal each running step has a line
// at the bottom that is painted over, and leaves one permanent line when it is
// finished. Elsewhere (a pipe, a dumb terminal, GitHub Actions) every event is
// a line with its UTC time. All methods may be called from several goroutines.
type Printer struct {
	w    io.Writer
	term terminal
	now  func() time.Time

	mu      sync.Mutex
	running []*running
	wide    int    // longest name so far
	drawn   []int  // widths of the lines that stand at the bottom now
	frame   int    // of the spinner
	stop    func() // ends the repainting
}

type running struct {
	name        string
	start       time.Time
	done, total int64
	text        string
	told        time.Time // plain: when progress was last printed
}

// NewPrinter returns a Printer that writes to w. Close it.
func NewPrinter(w io.Writer) *Printer { return newPrinter(w, look(w)) }

func newPrinter(w io.Writer, t terminal) *Printer {
	p := &Printer{w: w, term: t, now: time.Now, wide: 20, stop: func() {}}
	if !t.live {
		return p
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	p.stop = sync.OnceFunc(func() { close(quit); <-ended })
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				p.mu.Lock()
				if len(p.running) > 0 {
					p.frame++
					p.paint()
				}
				p.mu.Unlock()
			}
		}
	}()
	return p
}

// Started says that a step runs now.
func (p *Printer) Started(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.running = append(p.running, &running{name: name, start: now, told: now})
	p.wide = min(max(p.wide, len(name)), 32)
	if p.term.live {
		p.paint()
		return
	}
	p.plain(name, "started", "")
}

// Progress says how far a step is: done of total, in whatever unit, for the
// bar (total 0: not known), and text for people, like "412 MB of 1.1 GB".
func (p *Printer) Progress(name string, done, total int64, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.find(name)
	if i < 0 {
		return
	}
	r := p.running[i]
	r.done, r.total, r.text = done, total, clean(text)
	if now := p.now(); !p.term.live && now.Sub(r.told) >= progressEvery {
		r.told = now
		p.plain(name, "running", join("  ", percent(r), r.text))
	}
}

// Finished says how a step ended, how long it took, and what came of it.
func (p *Printer) Finished(name, outcome string, d time.Duration, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.find(name); i >= 0 {
		p.running = slices.Delete(p.running, i, i+1)
	}
	p.wide = min(max(p.wide, len(name)), 32)
	first, rest, _ := strings.Cut(strings.TrimSpace(detail), "\n")
	if !p.term.live {
		p.plain(name, outcome, fmt.Sprintf("%9s  %s", Duration(d), clean(first)))
		for line := range lines(rest) {
			p.plain(name, "", line)
		}
		return
	}
	line := fmt.Sprintf("%s %-*s  %9s  %s", p.mark(outcome), p.wide, clean(name), Duration(d), p.outcome(outcome, clean(first)))
	permanent := []string{strings.TrimRight(line, " ")}
	for line := range lines(rest) {
		permanent = append(permanent, "    "+line)
	}
	p.paint(permanent...)
}

// outcome is what stands behind the duration: the mark alone says done.
func (p *Printer) outcome(outcome, detail string) string {
	if outcome == Done {
		return detail
	}
	return join(": ", p.term.paint(colourOf(outcome), outcome), detail)
}

// Log shows a line that a step's command printed.
func (p *Printer) Log(name, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range lines(line) {
		if p.term.live {
			p.paint(p.term.paint(dim, "  "+clean(name)+": "+line))
		} else {
			p.plain(name, "log", line)
		}
	}
}

// Print shows a text of the suite itself between the steps.
func (p *Printer) Print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Collect(lines(text))
	if p.term.live {
		p.paint(all...)
		return
	}
	for _, line := range all {
		fmt.Fprintln(p.w, line)
	}
}

// Close ends the repainting. Steps that still run leave a line that says so.
func (p *Printer) Close() {
	p.mu.Lock()
	left := slices.Clone(p.running)
	p.mu.Unlock()
	for _, r := range left {
		p.Finished(r.name, Interrupted, p.now().Sub(r.start), r.text)
	}
	p.stop()
}

func (p *Printer) find(name string) int {
	return slices.IndexFunc(p.running, func(r *running) bool { return r.name == name })
}

// plain writes one line with its time.
func (p *Printer) plain(name, word, text string) {
	line := fmt.Sprintf("%s  %-*s  %-8s  %s", p.now().UTC().Format("15:04:05Z"), p.wide, clean(name), word, text)
	fmt.Fprintln(p.w, strings.TrimRight(line, " "))
}

// lines gives the cleaned, non-empty lines of a text.
func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(text, "\n") {
			// What a program wrote over its own line counts as the last of it.
			line = strings.TrimRight(line, "\r")
			if i := strings.LastIndexByte(line, '\r'); i >= 0 {
				line = line[i+1:]
			}
			if line = strings.TrimRight(clean(line), " "); line != "" && !yield(line) {
				return
			}
		}
	}
}

func percent(r *running) string {
	if r.total <= 0 {
		return ""
	}
	return fmt.Sprintf("%d %%", min(100, max(0, int(float64(r.done)/float64(r.total)*100))))
}

func join(by string, parts ...string) string {
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, by)
}
