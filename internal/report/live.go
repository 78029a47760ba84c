package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// barWidth is the number of characters of a progress bar.
const barWidth = 20

// paint replaces the lines at the bottom: first come the permanent ones, which
// stay, then one for each running step. All in one write, so that nothing
// flickers. p.mu is held.
func (p *Printer) paint(permanent ...string) {
	width, height := p.term.size()
	var b strings.Builder
	if rows := p.rows(width); rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", rows)
	}
	b.WriteString("\r")
	for _, line := range permanent {
		b.WriteString(over(line, width))
	}
	p.drawn = p.drawn[:0]
	// The cursor stands below the last line, which needs a row too.
	room := max(1, height-1)
	for i, r := range p.running {
		line := p.line(r, width-1)
		if i == room-1 && len(p.running) > room {
			line = text.Trim(fmt.Sprintf("  and %d more", len(p.running)-i), max(1, width-1))
		}
		b.WriteString(over(line, width))
		p.drawn = append(p.drawn, text.StringWidthWithoutEscSequences(line))
		if i == room-1 {
			break
		}
	}
	b.WriteString("\x1b[J")
	// A closed or stopped terminal must not stop the steps.
	_, _ = io.WriteString(p.w, b.String())
}

// over writes line over what stands in its rows. Rows are cleared one by one:
// terminals that keep what a clearing of the whole screen removes would keep
// every repaint. A row that is full needs no clearing, and must not be: the
// cursor still stands on its last character.
func over(line string, width int) string {
	if text.StringWidthWithoutEscSequences(line)%width != 0 {
		line += "\x1b[K"
	}
	return "\x1b[K" + line + "\n"
}

// rows is how many rows of the terminal the drawn lines take now: a terminal
// that became narrower has wrapped them.
func (p *Printer) rows(width int) (n int) {
	for _, w := range p.drawn {
		n += max(1, (w+width-1)/width)
	}
	return n
}

// line is that of a running step, cut to width so that it takes one row.
func (p *Printer) line(r *running, width int) string {
	parts := []string{fmt.Sprintf("%-*s  %9s", p.wide, clean(r.name), Duration(p.now().Sub(r.start)))}
	if width < 60 { // too narrow for columns
		parts[0] = clean(r.name) + "  " + Duration(p.now().Sub(r.start))
	}
	if r.total > 0 {
		if width >= 72 {
			parts = append(parts, p.bar(r))
		}
		parts = append(parts, fmt.Sprintf("%5s", percent(r)))
	}
	rest := text.Trim(join("  ", append(parts, r.text)...), max(1, width-2))
	return p.term.paint(green, p.spinner()) + " " + rest
}

func (p *Printer) bar(r *running) string {
	full, empty := "█", "░"
	if p.term.ascii {
		full, empty = "#", "."
	}
	n := int(float64(r.done) / float64(r.total) * barWidth)
	n = min(barWidth, max(0, n))
	return strings.Repeat(full, n) + strings.Repeat(empty, barWidth-n)
}

func (p *Printer) spinner() string {
	frames := []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}
	if p.term.ascii {
		frames = []string{"|", "/", "-", `\`}
	}
	return frames[p.frame%len(frames)]
}

// mark is the first character of a finished step's line.
func (p *Printer) mark(outcome string) string {
	mark, known := map[string]string{Done: "✓", Skipped: "–", Failed: "✗", Undone: "↶", Interrupted: "!"}[outcome]
	if !known {
		mark = "·"
	}
	if p.term.ascii {
		mark = map[string]string{"✓": "+", "–": "-", "✗": "x", "↶": "<", "!": "!", "·": "."}[mark]
	}
	return p.term.paint(colourOf(outcome), mark)
}
