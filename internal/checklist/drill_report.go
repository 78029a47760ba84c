package checklist

import (
	"errors"
	"fmt"
	"io"
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
	Silenced    bool           `json:"silenced"` // once the first contact was called
	Contacts    []DrillContact `json:"contacts"`
}

// A DrillContact is a contact in a drill.
type DrillContact struct {
	Level    string   `json:"level"`
	Name     string   `json:"name"`
	Way      string   `json:"way"`                // email, webhook, slack
	Seen     string   `json:"seen"`               // SeenArrived or SeenSent
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

// report judges what was seen.
func (d *drill) report() *DrillReport {
	r := &DrillReport{Environment: d.t.Config.Environment, Drill: d.id, Sent: d.sent.UTC(), Silenced: d.silenced != ""}
	for i, c := range d.contacts {
		c.Seen = SeenSent
		if c.own {
			c.Seen = SeenArrived
		}
		c.Fault = d.fault(i)
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
	seconds := func(s *float64) string {
		if s == nil {
			return ""
		}
		return report.Duration(time.Duration(*s * float64(time.Second)))
	}
	table := report.NewTable("contact", "name", "by", "due", "after", "over", "result", "")
	for _, c := range r.Contacts {
		result := c.Seen
		switch {
		case c.Fault != "":
			result = "fault"
		case c.After == nil:
			result = "not called"
		}
		table.Row(c.Level, c.Name, c.Way, seconds(&c.Due), seconds(c.After), seconds(c.Resolved), result, strings.Join(nonEmpty(c.Fault, c.Text), "; "))
	}
	table.Right(3, 4, 5)
	return errors.Join(table.Write(w), r.writeNotes(w))
}

func (r *DrillReport) writeNotes(w io.Writer) error {
	text := ""
	if r.Silenced {
		text = "silenced when the first contact was called: nobody else should be\n"
	}
	for _, c := range r.Contacts {
		if c.Seen == SeenSent {
			text += "sent: Alertmanager counts as many requests of that kind as taken; what it sent for other alerts meanwhile counts too. Ask the contacts whether it arrived.\n"
			break
		}
	}
	_, err := io.WriteString(w, text)
	return err
}
