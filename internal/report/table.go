package report

import (
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Table is a plain, aligned table. On a terminal, wide cells are wrapped so
// that it fits; elsewhere each row is one line, for grep and awk.
type Table struct {
	header []string
	rows   [][]string
	right  []int
}

// NewTable makes a table with these column titles.
func NewTable(header ...string) *Table { return &Table{header: header} }

// Row adds a row. Words like ok, done, warning and failed that fill a cell are
// coloured on a terminal.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Right aligns these columns, counted from 0, to the right: numbers, times.
func (t *Table) Right(columns ...int) { t.right = append(t.right, columns...) }

// Write prints the table to w.
func (t *Table) Write(w io.Writer) error {
	term := look(w)
	width, _ := term.size()
	_, err := io.WriteString(w, t.render(term, width))
	return err
}

// minCell is the width below which a column is not squeezed.
const minCell = 8

func (t *Table) render(term terminal, width int) string {
	w := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format = table.FormatOptions{Header: text.FormatDefault, Row: text.FormatDefault}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	w.SetStyle(style)
	all := append([][]string{t.header}, t.rows...)
	limits := t.limits(all, width)
	var columns []table.ColumnConfig
	for i, limit := range limits {
		c := table.ColumnConfig{Number: i + 1, WidthMax: limit, WidthMaxEnforcer: text.WrapSoft}
		if slices.Contains(t.right, i) {
			c.Align, c.AlignHeader = text.AlignRight, text.AlignRight
		}
		columns = append(columns, c)
	}
	w.SetColumnConfigs(columns)
	for n, cells := range all {
		row := make(table.Row, len(cells))
		for i, cell := range cells {
			cell = cleanCell(cell)
			if row[i] = term.paint(colourOf(cell), cell); n == 0 {
				row[i] = term.paint(bold, cell)
			}
		}
		if n == 0 {
			w.AppendHeader(row)
		} else {
			w.AppendRow(row)
		}
	}
	var b strings.Builder
	for line := range strings.SplitSeq(w.Render(), "\n") {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// cleanCell keeps the line breaks that a cell has.
func cleanCell(s string) string {
	lines := strings.Split(host.Redact(s), "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// limits are the widths of the columns: their natural ones or, where the sum
// is more than width, the widest made narrower until it fits. 0 width: no limit.
func (t *Table) limits(all [][]string, width int) []int {
	var limits []int
	for _, cells := range all {
		for i, cell := range cells {
			if i == len(limits) {
				limits = append(limits, 1)
			}
			limits[i] = max(limits[i], text.LongestLineLen(cleanCell(cell)))
		}
	}
	if width <= 0 {
		return limits
	}
	total := 2 * (len(limits) - 1)
	for _, n := range limits {
		total += n
	}
	for ; total > width; total-- {
		widest := slices.Index(limits, slices.Max(limits))
		if limits[widest] <= minCell {
			break
		}
		limits[widest]--
	}
	return limits
}
