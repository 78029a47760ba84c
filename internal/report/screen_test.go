package report

import (
	"strconv"
	"strings"
	"sync"
	"testing"
)

// screen is a terminal that understands what the Printer writes: text that
// wraps at the width, CR, LF, cursor up, erasing of a line and of the rest.
// Anything else fails the test.
type screen struct {
	t     *testing.T
	mu    sync.Mutex
	width int
	rows  []string
	y, x  int
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := []rune(string(b))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; r {
		case '\r':
			s.x = 0
		case '\n':
			s.y, s.x = s.y+1, 0
		case '\x1b':
			end := i + 2
			for text[end] == ';' || (text[end] >= '0' && text[end] <= '9') {
				end++
			}
			s.control(text[end], string(text[i+2:end]))
			i = end
		default:
			if s.x == s.width {
				s.y, s.x = s.y+1, 0
			}
			row := []rune(s.row(s.y))
			for len(row) <= s.x {
				row = append(row, ' ')
			}
			row[s.x] = r
			s.rows[s.y] = string(row)
			s.x++
		}
	}
	s.row(s.y)
	return len(b), nil
}

func (s *screen) control(final rune, arg string) {
	n, _ := strconv.Atoi(arg)
	switch final {
	case 'A':
		if s.y -= max(n, 1); s.y < 0 {
			s.t.Errorf("the cursor goes up beyond the first line")
			s.y = 0
		}
	case 'K', 'J':
		row := []rune(s.row(s.y))
		// On a full row the cursor stands on the last character.
		s.rows[s.y] = string(row[:min(s.x, len(row), s.width-1)])
		if final == 'J' {
			s.rows = s.rows[:s.y+1]
		}
	case 'm':
	default:
		s.t.Errorf("unknown control sequence %q%c", arg, final)
	}
}

func (s *screen) row(y int) string {
	for len(s.rows) <= y {
		s.rows = append(s.rows, "")
	}
	return s.rows[y]
}

// text is what a person sees, without spaces at the ends of lines.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, row := range s.rows {
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// resize reflows: rows longer than the new width are wrapped, as most
// terminals do.
func (s *screen) resize(width int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []string
	cursor := s.y
	for i, row := range s.rows {
		if i == cursor {
			s.y = len(rows)
		}
		r := []rune(strings.TrimRight(row, " "))
		for len(r) > width {
			rows, r = append(rows, string(r[:width])), r[width:]
		}
		rows = append(rows, string(r))
	}
	s.width, s.rows = width, rows
}
