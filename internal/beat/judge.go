package beat

import "time"

// A State is what can be said of an entry's last due run.
type State string

// States of an entry.
const (
	Ran        State = "ran"         // since it was last due
	NotDueYet  State = "not due yet" // never since it is known
	Waiting    State = "waiting"     // it is due, and within its time or not yet written down
	PassedOver State = "passed over" // Celery itself does not make up for it
	Late       State = "late"        // it should have run, and there is no evidence that it did
	NotSeen    State = "not seen"    // there is nothing to look at
)

// Evidence is what is known beside beat's own file.
type Evidence struct {
	Started   time.Time     // of the beat that runs; zero: none does
	Ran       time.Time     // when the entry last ran by what tables say; zero: they say nothing
	Tables    bool          // there are tables that would say it
	Tolerance time.Duration // how long after it was due, or beat was started, an entry may take
}

// A Verdict says how an entry stands.
type Verdict struct {
	State State
	At    time.Time // of the last run that is known
	Sent  bool      // beat's file says so; else tables do
	Due   time.Time // when it was due since At, or is due next
}

// Judge says whether e has run when it was last due. Beat writes what it has
// sent every few minutes, or with some kinds of dbm when it ends: what it should
// have sent since is waited for, or looked for in tables alone.
func (t Timetable) Judge(e Entry, ev Evidence) Verdict {
	v := e.lastRun(t, ev)
	switch {
	case v.Due.IsZero(): // its kind of timetable is not known
		v.State = NotSeen
		return v
	case v.Due.After(t.Now):
		v.State = NotDueYet
		if !v.At.IsZero() {
			v.State = Ran
		}
		return v
	case e.PassedOver && v.Due.Before(ev.Started):
		v.State, v.Due = PassedOver, e.Next
		return v
	}
	// A beat that stood still when it was due makes up for it when it starts.
	limit := v.Due
	if limit.Before(ev.Started) {
		limit = ev.Started
	}
	limit = limit.Add(ev.Tolerance)
	switch inFile := e.InFile && t.Live; {
	case t.Now.Before(limit), inFile && t.Written.Before(limit):
		v.State = Waiting
	case inFile, ev.Tables:
		v.State = Late
	default:
		v.State = NotSeen
	}
	return v
}

// lastRun is the newest evidence of a run, and when the entry is due after
// that or, without any, after it was first known.
func (e Entry) lastRun(t Timetable, ev Evidence) Verdict {
	sent := e.InFile && e.Runs > 0
	switch {
	case !ev.Ran.IsZero() && (!sent || ev.Ran.After(e.Last)):
		return Verdict{At: ev.Ran, Due: e.AfterTables}
	case sent:
		return Verdict{At: e.Last, Sent: true, Due: e.AfterLast}
	case e.InFile:
		return Verdict{Due: e.AfterLast}
	}
	return Verdict{Due: e.AfterSince}
}

// Unexecuted reports whether beat has sent an entry and, long since, no worker
// has begun it: recorded is when the tables last took note of any task.
func (t Timetable) Unexecuted(e Entry, ev Evidence, recorded time.Time) bool {
	const skew = time.Minute // between two clocks
	return ev.Tables && e.InFile && e.Runs > 0 && e.Last.Add(ev.Tolerance).Before(t.Now) &&
		ev.Ran.Before(e.Last.Add(-skew)) && recorded.After(e.Last)
}

// Hangs reports whether beat has not written its file for longer than it ever
// sleeps.
func (t Timetable) Hangs(tolerance time.Duration) bool {
	return t.Live && t.Written.Add(t.MostSleep+tolerance).Before(t.Now)
}
