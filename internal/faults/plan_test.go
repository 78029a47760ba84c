package faults

import "slices"

// steps are those of a deployment, in their order.
var steps = []string{
	"release:fetch", "release:compare", "release:install",
	"pre:migrations", "pre:data", "pre:rates", "pre:config", "pre:connections", "deps:celery", "deps:redis",
	"window", "lease:fence",
	"services:stop", "backup:create", "cache:clear", "release:migrate", "release:activate", "services:start",
	"verify:api", "verify:tasks", "verify:metrics", "verify:alerts", "verify:backups", "verify:update",
	"verify:logs", "verify:performance", "verify:criteria",
	"docs:changelog", "docs:notes", "release:clean",
}

// touches reports whether the service is touched at a step: from services:stop
// on, what fails is taken back by another process.
func touches(step string) bool { return !before(step, "services:stop") && !papers(step) }

// papers reports whether a step only records what was achieved.
func papers(step string) bool { return !before(step, "docs:changelog") }

func before(a, b string) bool { return slices.Index(steps, a) < slices.Index(steps, b) }

// A fault is what happens to a deployment at a step.
type fault string

const (
	killBefore fault = "kill before"
	killDuring fault = "kill during"
	killAfter  fault = "kill after"
	fails      fault = "fails"
	hangs      fault = "hangs"
)

var faults = []fault{killBefore, killDuring, killAfter, fails, hangs}

// point is what ETF_FAULTS is set to.
func (f fault) point(step string) string {
	switch f {
	case killBefore:
		return step + ":before=kill"
	case killDuring:
		return step + ":during=kill"
	case killAfter:
		return step + ":after=kill"
	case fails:
		if step == "release:migrate" {
			return step + ":after=fail" // so that there is something to take back
		}
		return step + ":during=fail"
	case hangs:
		return step + ":during=hang," + step + ":deadline=2s"
	}
	return ""
}

func (f fault) kills() bool { return f == killBefore || f == killDuring || f == killAfter }

// A way is how an interrupted operation is ended.
type way string

const (
	forward way = "resume"
	undo    way = "resume -undo"
	anew    way = "deploy" // of the same commit, which tidies up first
)

// args of the program.
func (w way) args() []string {
	if w == undo {
		return []string{"resume", "-undo", "-yes"}
	}
	return []string{string(w), "-yes"}
}

// A cell is one fault at one step.
type cell struct {
	step  string
	fault fault
	way   way // after a kill
}

// matrix is every fault at every step. After a kill the ways out alternate, so
// that both occur at each step; before the service is touched there is a third.
func matrix() []cell {
	var cells []cell
	for i, step := range steps {
		for k, f := range faults {
			c := cell{step: step, fault: f}
			if f.kills() {
				c.way = []way{forward, undo}[(i+k)%2]
				if f == killAfter && before(step, "services:stop") {
					c.way = anew
				}
			}
			cells = append(cells, c)
		}
	}
	return cells
}

// release is what the cell deploys: by turns one that is compatible, one that
// is not, and one that changes rows.
func (c cell) release() flavour {
	n := slices.Index(steps, c.step)*len(faults) + slices.Index(faults, c.fault)
	switch {
	case c.step == "release:migrate" && (c.fault == fails || c.fault == killAfter), c.step == "release:activate" && c.way == undo:
		return data
	case n%5 == 4:
		return stops
	}
	return expand
}
