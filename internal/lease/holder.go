package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A Holder is what a lease file says.
type Holder struct {
	V         int          `json:"v"`
	Token     int64        `json:"token"` // grows with every lease; also the fence in the database
	Operation string       `json:"operation"`
	Purpose   string       `json:"purpose"`             // the target
	By        string       `json:"by"`                  // user@machine
	Process   host.Process `json:"process"`             // of the suite, on the machine that it runs on
	Namespace string       `json:"namespace,omitempty"` // its process numbers' namespace: containers share the boot, not the numbers
	Run       string       `json:"run,omitempty"`       // URL of the pipeline run
	Since     time.Time    `json:"since"`
	Heartbeat time.Time    `json:"heartbeat,omitzero"` // last sign of life
	Expires   time.Time    `json:"expires,omitzero"`   // from then on anybody may take it; moved on by each heartbeat
	Parked    bool         `json:"parked,omitempty"`   // between two stages of its operation: no process, no heartbeat
	Released  *time.Time   `json:"released,omitempty"`
}

// A State says what may be done about a lease.
type State string

// States of a lease.
const (
	Free    State = "free"    // never taken, or released
	Held    State = "held"    // its holder lives, or nobody can tell and it has not expired
	Parked  State = "parked"  // kept for the next stage of its operation
	Expired State = "expired" // its holder was not heard of in time, or the next stage never came
	Dead    State = "dead"    // its holder ran on this machine and is gone
)

// formerExpiry is how long a lease of a program without a heartbeat counts
// where its process cannot be looked for.
const formerExpiry = time.Minute

// State judges the lease from the machine that this process runs on; of no
// lease at all it is Free.
func (h *Holder) State(ctx context.Context, now time.Time) State {
	switch {
	case h == nil || h.Released != nil:
		return Free
	case h.Parked && now.Before(h.Expires):
		return Parked
	case h.Parked:
		return Expired
	}
	lives, known := h.lives(ctx)
	expires := h.Expires
	if expires.IsZero() { // by a program without a heartbeat
		expires = h.Since.Add(formerExpiry)
	}
	switch {
	case known && !lives:
		return Dead
	case now.Before(expires), known && h.Expires.IsZero():
		return Held
	}
	return Expired
}

// watchLimit bounds how long an expired lease is watched whose process lives.
var watchLimit = 20 * time.Second // shorter in a test

// beatsAgain watches an expired lease whose process still runs on this machine
// for two of its heartbeats, and reports whether there was one.
func (h *Holder) beatsAgain(ctx context.Context, on host.Host, dir string) bool {
	lives, known := h.lives(ctx)
	if !known || !lives {
		return false
	}
	for end := time.Now().Add(min(watchLimit, h.Expires.Sub(h.Heartbeat)/3)); time.Now().Before(end) && ctx.Err() == nil; {
		now, err := Show(ctx, on, dir)
		if err != nil || now == nil || now.Token != h.Token || !now.Heartbeat.Equal(h.Heartbeat) || now.Released != nil {
			return true // whatever it is now, it is looked at anew
		}
		time.Sleep(min(watchLimit, shortPause))
	}
	return false
}

// lives reports whether the holder's process runs, where that can be known: on
// this machine, since this boot, among the same process numbers.
func (h *Holder) lives(ctx context.Context) (lives, known bool) {
	self, namespace, err := identity(ctx)
	if err != nil || h.Process.Boot != self.Boot || h.Process.PID <= 0 ||
		h.Namespace != "" && h.Namespace != namespace {
		return false, false
	}
	running, err := host.Running(ctx, host.Local{}, h.Process)
	if err != nil {
		return false, false
	}
	if !running && hidden(ctx, h.Process.PID) {
		return false, false
	}
	return running, true
}

// hidden reports whether there is a process that only does not show itself:
// where /proc keeps other users' from us.
func hidden(ctx context.Context, pid int) bool {
	_, err := host.Local{}.Process(ctx, pid)
	return errors.Is(err, fs.ErrNotExist) && errors.Is(syscall.Kill(pid, 0), syscall.EPERM)
}

// identity is this process, and the namespace that its number belongs to. It is
// that of the machine that the suite runs on, wherever the target is.
func identity(ctx context.Context) (host.Process, string, error) {
	self, err := host.Local{}.Process(ctx, os.Getpid())
	if err != nil {
		return host.Process{}, "", fmt.Errorf("looking for this process: %w", err)
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return host.Process{}, "", fmt.Errorf("looking for the namespace of this process: %w", err)
	}
	return self, namespace, nil
}

// String says who holds it, since when and what for, and when the holder was
// last heard of.
func (h Holder) String() string {
	var about []string
	if h.Operation != "" {
		about = append(about, h.Operation)
	}
	if h.Process.PID != 0 {
		about = append(about, fmt.Sprintf("process %d", h.Process.PID))
	}
	if h.Run != "" {
		about = append(about, h.Run)
	}
	verb, end := "holds", ""
	switch {
	case h.Released != nil:
		verb, end = "held", ", released at "+stamp(*h.Released)
	case h.Parked:
		end = ", parked until " + stamp(h.Expires)
	case !h.Heartbeat.IsZero():
		end = ", last heard of at " + stamp(h.Heartbeat)
	}
	return fmt.Sprintf("%s %s it since %s for %s (%s)%s", h.By, verb, stamp(h.Since), h.Purpose, strings.Join(about, ", "), end)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
