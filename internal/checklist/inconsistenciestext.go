package checklist

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// count adds up the rows of one class in one table; "" stands for every table.
func (i *Inconsistencies) count(table, class string) (n int64) {
	for _, c := range i.Judged {
		if c.Class == class && (table == "" || c.Table == table) {
			n += c.Rows
		}
	}
	return n
}

func (i *Inconsistencies) summary() string {
	return fmt.Sprintf("%s that differ from backup %s: %s to restore, %s to quarantine, %s right, %s deleted since; listed in %s",
		rowsText(i.Diff.Differ()), i.Backup, report.Count(i.count("", rowdiff.ClassRestore)), report.Count(i.count("", rowdiff.ClassQuarantine)),
		report.Count(i.count("", rowdiff.ClassKeep)), report.Count(i.count("", rowdiff.ClassMissing)), i.CSV)
}

// table counts the rows by table and class.
func (i *Inconsistencies) table() *report.Table {
	table := report.NewTable("table", "restore", "quarantine", "keep", "missing", "compared")
	table.Right(1, 2, 3, 4)
	diffs := slices.Clone(i.Diff.Tables)
	slices.SortFunc(diffs, func(a, b rowdiff.TableDiff) int { return cmp.Compare(a.Table, b.Table) })
	for _, d := range diffs {
		how := d.How
		if len(d.LeftOut) > 0 {
			how += "; without " + join(d.LeftOut)
		}
		cells := []string{d.Table}
		for _, class := range []string{rowdiff.ClassRestore, rowdiff.ClassQuarantine, rowdiff.ClassKeep, rowdiff.ClassMissing} {
			cells = append(cells, report.Count(i.count(d.Table, class)))
		}
		table.Row(append(cells, how)...)
	}
	for _, name := range i.Diff.NoKey {
		table.Row(name, "", "", "", "", "the number of rows only: it has no primary key")
	}
	return table
}

// WriteInconsistencies prints what an operation has found.
func (t *Target) WriteInconsistencies(w io.Writer, op *step.Operation, asJSON bool) error {
	var found Inconsistencies
	if ok, err := op.Fact(factInconsistencies, &found); err != nil || !ok {
		return err
	}
	if asJSON {
		return report.JSON(w, found)
	}
	if err := found.table().Write(w); err != nil {
		return err
	}
	for _, release := range slices.Sorted(maps.Keys(found.Wrong)) {
		fmt.Fprintf(w, "\nrelease %s wrote %s of the wrong rows\n", release, report.Count(found.Wrong[release]))
	}
	_, err := fmt.Fprintf(w, "\nbackup  %s, read from %s\nrows    %s\nSQL     %s\n", found.Backup, found.Source, found.CSV, found.SQL)
	return err
}

// tableLines is the table with only those rows in which something differs.
func (i *Inconsistencies) tableLines() []string {
	var lines []string
	for _, d := range i.Diff.Tables {
		if d.Added+d.Changed+d.Deleted == 0 && len(d.LeftOut) == 0 {
			continue
		}
		line := fmt.Sprintf("%s: %s to restore, %s to quarantine, %s right, %s deleted since", d.Table,
			report.Count(i.count(d.Table, rowdiff.ClassRestore)), report.Count(i.count(d.Table, rowdiff.ClassQuarantine)),
			report.Count(i.count(d.Table, rowdiff.ClassKeep)), report.Count(i.count(d.Table, rowdiff.ClassMissing)))
		if len(d.LeftOut) > 0 {
			line += "; compared without " + join(d.LeftOut)
		}
		lines = append(lines, line)
	}
	return lines
}
