// Package beat looks at Celery's scheduler: what a release's timetable says,
// what beat has really sent, by the file in which it keeps that, and whether
// each periodic task has run when it was last due.
package beat

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

//go:embed timetable.py
var script string

// Options say how a release's application is imported.
type Options struct {
	Python string // interpreter of the release
	Dir    string // folder that the application is imported from
	App    string // as in celery -A
}

// A Question is what is known before the release is asked.
type Question struct {
	Process  Process              // the beat that runs; the zero value: none
	Started  time.Time            // of it; what its file says from before is not its own
	Patience time.Duration        // for what it writes when it starts
	Tasks    map[string]time.Time // when each task last ran, by what its tables say
	Entries  map[string]time.Time // the same by entry of the timetable
	Since    time.Time            // when the release went live
}

// A Timetable is what a release's code registers and what its beat has sent.
type Timetable struct {
	Now       time.Time
	Tasks     []string // that the release registers, without Celery's own
	Scheduler string   // the class that beat keeps its timetable with
	File      string   // in which beat keeps it; empty: elsewhere
	Written   time.Time
	Unread    string        // why File could not be read; empty: it was
	Live      bool          // File is what the beat that runs has written, not one before it
	InMemory  bool          // its dbm writes File when beat ends, not before
	MostSleep time.Duration // between two writes of File
	Entries   []Entry       // of the release, by name
	Strange   []string      // entries that beat runs and the release does not have
}

// Read reports whether beat's own file could be read.
func (t Timetable) Read() bool { return t.File != "" && t.Unread == "" }

// An Entry is one periodic task. Times are zero where they are not known.
type Entry struct {
	Name, Task, Schedule string
	Next                 time.Time // when it is due next

	InFile     bool   // beat has it
	Same       bool   // and as the release has it
	Stored     string // how beat has it where that differs
	Runs       int    // how often beat has sent it
	Last       time.Time
	AfterLast  time.Time // when it was or is due after Last; Last without Runs is when beat first knew of it
	PassedOver bool      // it was due, and Celery's beat_cron_starting_deadline has beat not make up for it

	AfterTables time.Time // due after it last ran by what tables say
	AfterSince  time.Time // due after the release went live
	Unknown     string    // why its times cannot be known; empty: they are
}

// Ask has the release's own Python import the application, which is the one
// place where its timetable and Celery's arithmetic can be had, and read a copy
// of beat's file. It ends with ctx.
func Ask(ctx context.Context, h host.Host, o Options, q Question) (Timetable, error) {
	doing := "asking the release for its timetable"
	question, err := json.Marshal(map[string]any{
		"app": o.App, "cwd": q.Process.Dir, "file": q.Process.File, "scheduler": q.Process.Scheduler,
		"started": epoch(q.Started), "patience": q.Patience.Seconds(), "since": epoch(q.Since),
		"task_runs": epochs(q.Tasks), "entry_runs": epochs(q.Entries),
	})
	if err != nil {
		return Timetable{}, fmt.Errorf("%s: %w", doing, err)
	}
	limit := host.DefaultTimeout
	if at, ok := ctx.Deadline(); ok {
		limit = max(time.Until(at), time.Millisecond)
	}
	res, err := h.Run(ctx, host.Command{
		Argv: []string{o.Python, "-", string(question)}, Dir: o.Dir,
		Env: []string{"PYTHONDONTWRITEBYTECODE=1"}, Stdin: strings.NewReader(script), Timeout: limit, Grace: time.Second,
	})
	if err != nil {
		return Timetable{}, fmt.Errorf("%s: %w", doing, err)
	}
	out := strings.TrimSpace(string(res.Stdout))
	var a answer
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), &a); err != nil {
		return Timetable{}, fmt.Errorf("%s: its answer is not JSON: %w", doing, err)
	}
	return a.timetable(), nil
}

type answer struct {
	Now          float64
	Tasks        []string
	Scheduler    string
	File         string
	Written      *float64
	Unread       string
	Live         bool
	InMemory     bool    `json:"in_memory"`
	LongestSleep float64 `json:"longest_sleep"`
	Strange      []string
	Entries      []struct {
		Name, Task, Schedule string
		InFile               bool `json:"in_file"`
		Same                 bool
		Stored               string
		Runs                 int
		Last                 *float64
		AfterLast            *float64 `json:"after_last"`
		AfterTables          *float64 `json:"after_tables"`
		AfterSince           *float64 `json:"after_since"`
		Next                 *float64
		PassedOver           bool `json:"passed_over"`
		Unknown              string
	}
}

func (a answer) timetable() Timetable {
	t := Timetable{
		Now: moment(&a.Now), Tasks: a.Tasks, Scheduler: a.Scheduler, File: a.File, Written: moment(a.Written), Unread: a.Unread, Live: a.Live, InMemory: a.InMemory,
		MostSleep: time.Duration(a.LongestSleep * float64(time.Second)), Strange: a.Strange,
	}
	for _, e := range a.Entries {
		t.Entries = append(t.Entries, Entry{
			Name: e.Name, Task: e.Task, Schedule: e.Schedule, InFile: e.InFile, Same: e.Same, Stored: e.Stored, Runs: e.Runs,
			Last: moment(e.Last), AfterLast: moment(e.AfterLast), AfterTables: moment(e.AfterTables), AfterSince: moment(e.AfterSince),
			Next: moment(e.Next), PassedOver: e.PassedOver, Unknown: e.Unknown,
		})
	}
	return t
}

// epoch is a time as Python counts it; nil for none.
func epoch(at time.Time) *float64 {
	if at.IsZero() {
		return nil
	}
	s := float64(at.UnixMicro()) / 1e6
	return &s
}

func epochs(times map[string]time.Time) map[string]*float64 {
	all := map[string]*float64{}
	for name, at := range times {
		if !at.IsZero() {
			all[name] = epoch(at)
		}
	}
	return all
}

func moment(seconds *float64) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(*seconds * 1e6))).UTC()
}
