package sandbox

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A progress writes one line for each finished part. On a terminal a last
// line that is rewritten in place names what is still under way.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	live  bool
	start time.Time
	open  []string
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	f, ok := out.(*os.File)
	return &progress{out: out, live: ok && term.IsTerminal(int(f.Fd()))}
}

// watch keeps the live line going until the returned function is called.
func (p *progress) watch() func() {
	p.start = time.Now()
	if !p.live {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				p.mu.Lock()
				p.clear()
				p.mu.Unlock()
				return
			case <-tick.C:
				p.mu.Lock()
				p.redraw()
				p.mu.Unlock()
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// begin says that a part is under way; the returned function prints its line.
func (p *progress) begin(name string) func(result string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := time.Now()
	p.open = append(p.open, name)
	return func(result string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := slices.Index(p.open, name); i >= 0 {
			p.open = slices.Delete(p.open, i, i+1)
		}
		if result == "" {
			return // it failed: the error says so
		}
		p.clear()
		fmt.Fprintf(p.out, "%-14s %-10s %6.1fs\n", name, result, time.Since(start).Seconds())
		p.redraw()
	}
}

// Write passes on what others print, whole lines.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.out.Write(text)
}

// note prints a line of its own.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *progress) clear() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) redraw() {
	if p.live && len(p.open) > 0 {
		fmt.Fprintf(p.out, "\r\x1b[K… %.0fs  %s", time.Since(p.start).Seconds(), strings.Join(p.open, ", "))
	}
}
