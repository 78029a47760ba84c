package checklist

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A DrillReport is what a drill saw. Times are seconds since the alert was sent.
type DrillReport struct {
	Environment string         `json:"environment"`
	Drill       string         `json:"drill"` // label of the alert
	Sent        time.Time      `json:"sent"`
	Silenced    bool           `json:"silenced"`             // once the first contact was called
	BrokenOff   bool           `json:"broken_off,omitempty"` // who was not called might have been
	Contacts    []DrillContact `json:"contacts"`

	toldOver time.Duration // until contacts hear that it is over
}

// A DrillContact is a contact in a drill.
type DrillContact struct {
	Level    string   `json:"level"`
	Name     string   `json:"name"`
	Way      string   `json:"way"`                // email, webhook, slack
	Seen     string   `json:"seen,omitempty"`     // that it was called: SeenArrived or SeenSent
	Due      float64  `json:"due"`                // when it should be called
	After    *float64 `json:"after,omitempty"`    // when it was
	Resolved *float64 `json:"resolved,omitempty"` // when it heard that the alert is over
	Fault    string   `json:"fault,omitempty"`
	Text     string   `json:"text,omitempty"` // what else is known
}

// How it is seen that a contact was called.
const (
	SeenArrived = "arrived" // its receiver was this program
	SeenSent    = "sent"    // Alertmanager counts it as sent; whether it arrived, the contact has to say
)

// drilled is a contact while the drill goes on.
type drilled struct {
	DrillContact
	due  time.Duration
	ways []string // Alertmanager's integrations
	own  bool     // its webhook is this program's
	path string   // of that
	lost bool     // Alertmanager has no route to it
}

func (c *drilled) called() bool { return c.After != nil }

// awaited reports whether a contact may still be called.
func (c *drilled) awaited(since time.Duration) bool {
	return !c.called() && !c.lost && since <= c.due+drillPatience
}

// report judges what was seen, of a drill that was broken off only what is
// known for certain.
func (d *drill) report(brokenOff bool) *DrillReport {
	r := &DrillReport{Environment: d.t.Config.Environment, Drill: d.id, Sent: d.sent.UTC(), Silenced: d.silenced != "", BrokenOff: brokenOff, toldOver: d.toldOver}
	for i, c := range d.contacts {
		switch {
		case c.called() && c.own:
			c.Seen = SeenArrived
		case c.called():
			c.Seen = SeenSent
		}
		if c.called() || c.lost || !brokenOff {
			c.Fault = d.fault(i)
		}
		r.Contacts = append(r.Contacts, c.DrillContact)
	}
	return r
}

func (d *drill) fault(contact int) string {
	c := d.contacts[contact]
	quiet := d.silence && contact > 0
	switch {
	case quiet && c.called():
		return "called though the alert was silenced"
	case quiet && !c.lost:
		return ""
	case c.lost:
		return "not called"
	case !c.called():
		return fmt.Sprintf("not called within %s", report.Duration(c.due+drillPatience))
	case *c.After < (c.due - max(time.Second, c.due/10)).Seconds():
		return fmt.Sprintf("called too early: %s was to be waited", report.Duration(c.due))
	case contact > 0 && d.contacts[contact-1].called() && *c.After < *d.contacts[contact-1].After:
		return "called before " + d.contacts[contact-1].Level
	case d.awaited && c.own && c.Resolved == nil:
		return fmt.Sprintf("did not hear within %s that it is over", report.Duration(d.toldOver+5*time.Second))
	}
	return ""
}

// judge is step.ErrFault with all faults, or nil.
func (r *DrillReport) judge() error {
	var faults []error
	for _, c := range r.Contacts {
		if c.Fault != "" {
			faults = append(faults, fmt.Errorf("%w: %s: %s", step.ErrFault, c.Level, strings.Join(nonEmpty(c.Fault, c.Text), "; ")))
		}
	}
	return errors.Join(faults...)
}

func nonEmpty(all ...string) (some []string) {
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}

// Write prints the report as a table or as JSON.
func (r *DrillReport) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, "drill", r)
	}
	seconds := func(s *float64, none string) string {
		if s == nil {
			return none
		}
		return report.Duration(time.Duration(*s * float64(time.Second)))
	}
	table := report.NewTable("contact", "name", "by", "due", "after", "over", "result", "")
	for _, c := range r.Contacts {
		result, over := c.Seen, "not seen"
		switch {
		case c.Fault != "":
			result = "fault"
		case c.After == nil && r.BrokenOff:
			result = "not known"
		case c.After == nil:
			result = "not called"
		}
		if c.After == nil {
			over = ""
		}
		table.Row(c.Level, c.Name, c.Way, seconds(&c.Due, ""), seconds(c.After, ""), seconds(c.Resolved, over), result, strings.Join(nonEmpty(c.Fault, c.Text), "; "))
	}
	table.Right(3, 4, 5)
	return errors.Join(table.Write(w), r.writeNotes(w))
}

func (r *DrillReport) writeNotes(w io.Writer) error {
	text := ""
	if r.BrokenOff {
		text = "broken off: who was not called yet might have been\n"
	}
	if r.Silenced {
		text += "silenced when the first contact was called: nobody else should be\n"
	}
	seen := func(by string) bool {
		return slices.ContainsFunc(r.Contacts, func(c DrillContact) bool { return c.Seen == by })
	}
	if seen(SeenArrived) && r.toldOver > overPatience {
		text += fmt.Sprintf("over: contacts hear of that within %s (alerts.interval), which was not waited for\n", report.Duration(r.toldOver))
	}
	if seen(SeenSent) {
		text += "sent: Alertmanager counts as many requests of that kind as taken; what it sent for other alerts meanwhile counts too. Ask the contacts whether it arrived, and whether they heard that it is over.\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
