package config

import (
	"fmt"
	"regexp"
	"time"
)

var (
	ruleName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	comment  = regexp.MustCompile(`^(\s+|--[^\n]*(\n|$)|(?s:/\*.*?\*/))+`)
	query    = regexp.MustCompile(`(?i)^\(*\s*(SELECT|WITH)\b`)
)

// data leaves to the rules themselves which names there are, and to the server
// whether a statement is a good one.
func (v *validator) data(d Data) {
	v.each("data.off", d.Off, v.word)
	v.each("data.closed", d.Closed, func(key, text string) {
		day := text
		if len(day) == len("12-24") {
			day = "2000-" + day // a leap year
		}
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			v.fault(key, "%q is not a day; write it like 2026-12-24, or 12-24 for every year", text)
		}
	})
	names := map[string]int{}
	for i, r := range d.Rules {
		at := fmt.Sprintf("data.rules[%d]", i)
		if !ruleName.MatchString(r.Name) {
			v.fault(at+".name", "%q is not the name of a rule; write it like no-test-etfs", r.Name)
		} else if first, twice := names[r.Name]; twice {
			v.fault(at+".name", "%q is the name of data.rules[%d] too", r.Name, first)
		} else {
			names[r.Name] = i
		}
		v.required(at+".title", r.Title)
		v.oneOf(at+".severity", r.Severity, "fault", "warning")
		switch sql := comment.ReplaceAllString(r.SQL, ""); {
		case sql == "":
			v.fault(at+".sql", "is missing; write a SELECT whose rows break the rule")
		case !query.MatchString(sql):
			v.fault(at+".sql", "is not a SELECT; rules only look")
		}
	}
}
