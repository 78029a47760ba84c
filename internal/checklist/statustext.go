package checklist

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// textWidth is that of the status for people, in columns.
const textWidth = 96

// A pageWriter writes keys with their texts, broken so that a small window
// shows them whole.
type pageWriter struct{ w io.Writer }

func (p pageWriter) row(key, format string, args ...any) {
	for _, line := range wrapped(fmt.Sprintf(format, args...), textWidth-13) {
		fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf("%-12s %s", key, line), " "))
		key = ""
	}
}

// alarm is a row that is not to be overlooked.
func (p pageWriter) alarm(key, text string) {
	for _, line := range wrapped(text, textWidth-13) {
		fmt.Fprintln(p.w, report.Alarm(p.w, fmt.Sprintf("%-12s %s", key, line)))
		key = ""
	}
}

// wrapped breaks a text between words; a longer word stays whole.
func wrapped(text string, width int) []string {
	// A command is to be copied whole.
	text = commandForm.ReplaceAllStringFunc(text, func(c string) string { return strings.ReplaceAll(c, " ", string(noBreak)) })
	var lines []string
	line := ""
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r != noBreak && unicode.IsSpace(r) }) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + strings.ReplaceAll(word, string(noBreak), " "))
	}
	return append(lines, line)
}

var commandForm = regexp.MustCompile("`[^`]{1,50}`")

// noBreak is a space that a line is not broken at.
const noBreak = '\u00a0'

// ago is a time and how long it was before now.
func ago(at, now time.Time) string {
	return fmt.Sprintf("%s (%s)", at.UTC().Format(time.RFC3339), strings.ReplaceAll(report.Duration(now.Sub(at))+" ago", " ", string(noBreak)))
}

// Text is the status for people.
func (s *Status) Text(w io.Writer, now time.Time) error {
	p := pageWriter{w}
	p.row("environment", "%s", s.Environment)
	s.releaseText(p, now)
	s.operationText(p, now)
	switch {
	case s.missing("pause flag"):
		p.row("updates", "not seen, whether they are paused")
	case s.Pause != nil:
		p.alarm("updates", "PAUSED "+s.Paused)
	}
	s.backupText(p, now)
	s.keptText(p, now)
	s.alertText(p, now)
	table := report.NewTable("process", "state", "pid", "release")
	for _, ps := range s.Processes {
		table.Row(ps.Name, ps.State, pidText(ps.PID), ps.Release)
	}
	fmt.Fprintln(w)
	if len(s.Processes) > 0 {
		if err := table.Write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	for _, texts := range []struct {
		key  string
		list []string
	}{{"damaged", s.Damaged}, {"disagrees", s.Disagreements}, {"not seen", s.Unseen}} {
		for _, text := range texts.list {
			p.row(texts.key, "%s", text)
		}
	}
	p.row("next:", "%s", s.Next)
	return nil
}

func (s *Status) releaseText(p pageWriter, now time.Time) {
	switch {
	case s.Live != nil:
		p.row("live", "%s %s “%s”, %s", s.Live.ID, s.Live.Ref, s.Live.Subject, s.Live.State)
		a := s.Activated
		by := "by " + a.By
		if a.By == "" {
			by = "by whom is not known, the journal is gone"
		}
		if a.At != nil {
			p.row("", "since %s %s in %s %s", ago(*a.At, now), by, orNone(a.Operation), a.Run)
		}
	case s.Current != "":
		p.row("live", "%s, of which the records say nothing", s.Current)
	case s.missing("releases"):
		p.row("live", "not seen")
	default:
		p.row("live", "no release")
	}
	code := "not known"
	if s.Live != nil {
		code = orNone(s.Live.Head)
	}
	p.row("Alembic head", "%s in the code, %s in the database", code, orNone(s.Database))
}

func (s *Status) operationText(p pageWriter, now time.Time) {
	if o := s.Operation; o != nil {
		state := o.Outcome
		if o.unfinished() {
			state = strings.ToUpper(o.Outcome)
		}
		p.row("operation", "%s %s, by %s, since %s %s", o.ID, state, o.By, ago(o.Began, now), o.Run)
		if len(o.OpenSteps) > 0 {
			p.row("", "at %s; last heard of %s ago", join(o.OpenSteps), report.Duration(now.Sub(o.HeardOf)))
		}
		if o.Text != "" && o.Outcome != journal.Succeeded {
			p.row("", "%s", firstLine(o.Text))
		}
	}
	if s.Lease != nil {
		p.row("lease", "%s: %s", s.LeaseState, s.Lease)
	}
}

func (s *Status) backupText(p pageWriter, now time.Time) {
	newest, good := s.Backup, s.GoodBackup
	switch {
	case s.missing("backups"):
		p.row("good backup", "not seen")
	case good == nil && newest == nil:
		p.row("good backup", "none")
	case good == nil:
		p.row("good backup", "NONE is proven; the newest is %s: backup:verify", newest.ID)
	default:
		p.row("good backup", "%s, %s old, %s", good.ID, report.Duration(now.Sub(good.Created)), report.Bytes(good.Database.Size))
	}
	if good != nil && newest != good {
		p.row("", "the newest, %s, is not proven: backup:verify", newest.ID)
	}
}

func (s *Status) keptText(p pageWriter, now time.Time) {
	if len(s.Kept) == 0 {
		return
	}
	var total int64
	var names []string
	for _, k := range s.Kept {
		total += k.Bytes
		what := k.fate(now)
		if k.Side {
			what = "side, " + what
		}
		names = append(names, fmt.Sprintf("%s (%s)", k.Name, what))
	}
	p.row("kept", "%s, %s: %s; backup:list says why", plural(len(s.Kept), "database", "databases"), report.Bytes(total), join(names))
}

func (s *Status) alertText(p pageWriter, now time.Time) {
	if s.missing("alerts") {
		p.row("alerts", "not seen")
		return
	}
	if len(s.Alerts) == 0 {
		p.row("alerts", "none fires")
	}
	key := "alerts"
	for _, a := range s.Alerts {
		p.row(key, "%s (%s) since %s: %s", a.Name, orNone(a.Severity), ago(a.Since, now), a.Summary)
		key = ""
	}
}

func pidText(pid int) string {
	if pid == 0 {
		return ""
	}
	return strconv.Itoa(pid)
}
