package report

import (
	"cmp"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// terminal is what is known about where output goes.
type terminal struct {
	live   bool // lines can be painted over
	colour bool
	ascii  bool // the locale has no ✓
	size   func() (width, height int)
}

// look finds out about w. Width and height are 0 where there is no terminal.
func look(w io.Writer) terminal {
	t := terminal{size: func() (int, int) { return 0, 0 }}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return t
	}
	t.size = func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
	name := os.Getenv("TERM")
	t.live = name != "" && name != "dumb" && os.Getenv("GITHUB_ACTIONS") != "true"
	t.colour = t.live && os.Getenv("NO_COLOR") == ""
	locale := cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG"))
	locale = strings.ToLower(strings.ReplaceAll(locale, "-", ""))
	t.ascii = locale != "" && !strings.Contains(locale, "utf8")
	return t
}

// Colours, as few as possible: the terminal's own palette.
const (
	plain  = ""
	dim    = "2"
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (t terminal) paint(colour, s string) string {
	if !t.colour || colour == plain || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// colourOf is how a status or an outcome is shown.
func colourOf(word string) string {
	switch word {
	case "ok", "done", "running", "verified", "yes":
		return green
	case "warning", "skipped", "interrupted", "undone", "paused":
		return yellow
	case "fault", "failed", "unknown", "stopped", "no":
		return red
	}
	return plain
}

// clean makes text from outside fit for one line of a terminal: no secrets, no
// escape sequences, no control characters.
func clean(s string) string {
	s = text.StripEscape(host.Redact(s))
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// Alarm is s in red where w is a terminal with colours, and s elsewhere.
func Alarm(w io.Writer, s string) string { return look(w).paint(red, s) }
