package config

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// validator judges the decoded values. Its methods say nothing about a key
// that was at fault before.
type validator struct {
	*faults
	at string // environments.NAME
}

func (v *validator) fault(key, format string, args ...any) {
	if p := v.at + "." + key; !v.has(p) {
		v.add(p, format, args...)
	}
}

func (v *validator) required(key, value string) {
	if value == "" {
		v.fault(key, "is missing")
	}
}

// word is a value that becomes an argument of a command or a key of a server:
// not empty, without white space, and no option.
func (v *validator) word(key, value string) {
	switch {
	case value == "":
		v.fault(key, "is missing")
	case value[0] == '-':
		v.fault(key, "%q begins with a dash, which a command would take for an option", value)
	case strings.ContainsAny(value, " \t\r\n\x00"):
		v.fault(key, "%q holds white space", value)
	}
}

func (v *validator) absolute(key, p string) {
	if p == "" {
		v.fault(key, "is missing; write an absolute path")
	} else if !path.IsAbs(p) || path.Clean(p) != p {
		v.fault(key, "%q is not a clean absolute path", p)
	}
}

func (v *validator) relative(key, p string) {
	if p != "" && (path.IsAbs(p) || p[0] == '-' || path.Clean(p) != p || strings.HasPrefix(p, "..")) {
		v.fault(key, "%q is not a clean path below its folder; write it like src/backend", p)
	}
}

// url judges a URL without printing it: it may hold a password.
func (v *validator) url(key, raw string, need bool, schemes ...string) *url.URL {
	if raw == "" {
		if need {
			v.fault(key, "is missing; write a URL of the form %s://…", schemes[0])
		}
		return nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		v.fault(key, "is not a URL; characters like @ / # in a password are written %%40 %%2F %%23")
	case !slices.Contains(schemes, u.Scheme):
		v.fault(key, "is no URL of the form %s", strings.Join(schemes, ":// or ")+"://")
	case u.Host == "" && u.Scheme != "file" && u.Query().Get("host") == "":
		v.fault(key, "names no host")
	default:
		return u
	}
	return nil
}

func (v *validator) positive(key string, d time.Duration) {
	if d <= 0 {
		v.fault(key, "is %s; write a time above zero", d)
	}
}

func (v *validator) between(key string, n, low, high int) {
	if n < low || n > high {
		v.fault(key, "is %d; write a number from %d to %d", n, low, high)
	}
}

// fraction is a share of something that is neither none nor all of it.
func (v *validator) fraction(key string, n float64) {
	if n <= 0 || n >= 1 {
		v.fault(key, "is %g; write a fraction above 0 and below 1, like 0.25", n)
	}
}

func (v *validator) oneOf(key, value string, known ...string) {
	if !slices.Contains(known, value) {
		v.fault(key, "is %q; write %s", value, strings.Join(known, " or "))
	}
}

// each calls one for every value of a list and finds what stands in it twice.
func (v *validator) each(key string, values []string, one func(key, value string)) {
	for i, value := range values {
		at := fmt.Sprintf("%s[%d]", key, i)
		if first := slices.Index(values, value); first < i {
			v.fault(at, "%q stands in the list twice", value)
			continue
		}
		one(at, value)
	}
}
