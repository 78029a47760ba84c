package monitoring

import (
	"slices"
	"testing"
)

// What is named here has to be what the catalog calls it.
func TestNeverSilencedAreOfTheCatalog(t *testing.T) {
	e := production(t)
	for _, name := range neverSilenced {
		if name != DrillAlert && !slices.ContainsFunc(Alerts(e), func(a Alert) bool { return a.Name == name }) {
			t.Errorf("there is no alert %s", name)
		}
	}
	if slices.ContainsFunc(Alerts(e), func(a Alert) bool { return a.Name == DrillAlert }) {
		t.Errorf("%s is a drill's, and a rule's", DrillAlert)
	}
}
