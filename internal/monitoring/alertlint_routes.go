package monitoring

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// walk calls do for each route with what it inherits, the first one's place
// being "".
func (r route) walk(at string, do func(at string, r route)) {
	do(at, r)
	for i, one := range r.Routes {
		one.Receiver, one.Wait = cmp.Or(one.Receiver, r.Receiver), cmp.Or(one.Wait, r.Wait)
		one.Interval, one.Repeat = cmp.Or(one.Interval, r.Interval), cmp.Or(one.Repeat, r.Repeat)
		if len(one.GroupBy) == 0 {
			one.GroupBy = r.GroupBy
		}
		one.walk(fmt.Sprintf("%s.routes[%d]", at, i), do)
	}
}

// reaching are the alerts that reach each receiver.
func (f alertFiles) reaching() map[string][]rule {
	all := map[string][]rule{}
	for _, a := range f.alerts() {
		f.alertmanager.Route.visit(a.labelSet(), "", func(_ string, to route) {
			if to.last {
				all[to.Receiver] = append(all[to.Receiver], a)
			}
		})
	}
	return all
}

// lintReceivers finds receivers that are never sent anything, or could not
// send it on. Nobody is one: of what always fires, nobody may hear.
func lintReceivers(f alertFiles) (problems []string) {
	used, hears := map[string]bool{}, f.reaching()
	f.alertmanager.Route.walk("", func(_ string, r route) { used[r.Receiver] = true })
	for _, r := range f.alertmanager.Receivers {
		at := AlertmanagerFile + ": the receiver " + r.Name
		if !used[r.Name] {
			problems = append(problems, at+" is named by no route: nothing is ever sent to it")
		}
		if len(r.Email)+len(r.Webhooks)+len(r.Slack) > 0 || !f.called {
			continue
		}
		if r.Name != receiverNobody {
			problems = append(problems, at+" has no way to send: give it an address in deploy.yaml")
			continue
		}
		for _, a := range hears[r.Name] {
			if !a.alwaysFires() {
				problems = append(problems, at+" gets "+a.Alert+", and nobody hears of it: route it to a contact")
			}
		}
	}
	return problems
}

// lintContacts wants everybody who can be called to be called for something.
func lintContacts(f alertFiles) (problems []string) {
	hears := f.reaching()
	for _, contact := range f.contacts {
		if len(hears[contact]) == 0 {
			problems = append(problems, AlertmanagerFile+": no alert reaches the contact "+contact+", who believes to be called: route one to it")
		}
	}
	return problems
}

// lintUnreachable finds routes that no alert gets to: none has the labels, or
// an earlier route without continue takes them all.
func lintUnreachable(f alertFiles) (problems []string) {
	visited := map[string]bool{}
	for _, a := range f.alerts() {
		f.alertmanager.Route.visit(a.labelSet(), "", func(at string, _ route) { visited[at] = true })
	}
	f.alertmanager.Route.walk("", func(at string, r route) {
		if at != "" && !visited[at] {
			problems = append(problems, fmt.Sprintf("%s: route%s to %s: no alert gets there", AlertmanagerFile, at, r.Receiver))
		}
	})
	return problems
}

// lintGroups looks at when routes send. An alert that comes into a group
// whose wait is over is sent at once: with growing waits, each must be a group
// of its own.
func lintGroups(f alertFiles) (problems []string) {
	f.alertmanager.Route.walk("", func(at string, r route) {
		here := fmt.Sprintf("%s: route%s to %s: ", AlertmanagerFile, at, r.Receiver)
		interval, repeat := durationOf(cmp.Or(r.Interval, "5m")), durationOf(cmp.Or(r.Repeat, "4h"))
		if r.Receiver == receiverWatchdog || r.Receiver == receiverNobody {
			if repeat >= interval {
				problems = append(problems, fmt.Sprintf("%srepeat_interval %s is not below group_interval %s: only every second message would be sent", here, r.Repeat, r.Interval))
			}
			return
		}
		if !slices.Equal(r.GroupBy, []string{"..."}) {
			problems = append(problems, fmt.Sprintf("%sis grouped by [%s]: an alert that comes later into a group skips the wait; write group_by: ['...']", here, strings.Join(r.GroupBy, ", ")))
		}
		if repeat > config.LongestRepeat {
			problems = append(problems, fmt.Sprintf("%srepeat_interval %s is longer than a day: what fires for days would be forgotten", here, r.Repeat))
		}
	})
	return problems
}

// lintRoutes holds routes.yml against the rules and against the times after
// which each receiver is reached; amtool asserts the receivers only.
func lintRoutes(f alertFiles) (problems []string) {
	var expected []map[string]string
	for _, r := range f.routes.Routes {
		expected = append(expected, r.Labels)
		var got []reached
		f.alertmanager.Route.visit(r.Labels, "", func(_ string, to route) {
			if to.last {
				got = append(got, reached{to.Receiver, to.Wait})
			}
		})
		if !slices.Equal(got, r.Reach) {
			problems = append(problems, fmt.Sprintf("%s: %s reaches %v, expected %v", path.Base(RoutesFile), r.Labels["alertname"], got, r.Reach))
		}
	}
	for _, a := range f.alerts() {
		if !slices.ContainsFunc(expected, func(e map[string]string) bool { return maps.Equal(e, a.labelSet()) }) {
			problems = append(problems, path.Base(RoutesFile)+": "+a.Alert+": nothing is said about whom it reaches")
		}
	}
	return problems
}
