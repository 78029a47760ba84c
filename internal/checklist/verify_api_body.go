package checklist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// judgeBody says which conditions of an endpoint its answer does not fulfil.
func judgeBody(page config.Endpoint, body string) (wrong []string) {
	if page.Contains != "" && !strings.Contains(body, page.Contains) {
		wrong = append(wrong, fmt.Sprintf("does not contain %q: %s", page.Contains, short(body)))
	}
	if len(page.JSON) == 0 {
		return wrong
	}
	value, err := decodeJSON(body)
	if err != nil {
		return append(wrong, fmt.Sprintf("is not JSON (%v): %s", err, short(body)))
	}
	for _, path := range slices.Sorted(maps.Keys(page.JSON)) {
		want := page.JSON[path]
		got, at := field(value, path)
		switch {
		case at != "":
			wrong = append(wrong, fmt.Sprintf("%s: there is no %s", path, at))
		case want == config.Present && got == nil:
			wrong = append(wrong, path+" is null")
		case want != config.Present && !equals(got, want):
			wrong = append(wrong, fmt.Sprintf("%s is %s, not %s", path, jsonText(got), want))
		}
	}
	return wrong
}

// decodeJSON keeps numbers as they are written.
func decodeJSON(body string) (value any, err error) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows it")
	}
	return value, nil
}

// field follows a dotted path; missing is as far of it as there is nothing.
func field(value any, path string) (got any, missing string) {
	var way []string
	for name := range strings.SplitSeq(path, ".") {
		way = append(way, name)
		there := false
		switch v := value.(type) {
		case map[string]any:
			value, there = v[name]
		case []any:
			if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(v) {
				value, there = v[i], true
			}
		}
		if !there {
			return nil, strings.Join(way, ".")
		}
	}
	return value, ""
}

// equals holds a value against what stands in the configuration, where 5 and
// "5" are the same; so are the numbers 5 and 5.0.
func equals(got any, want string) bool {
	if n, ok := got.(json.Number); ok {
		a, errA := n.Float64()
		b, errB := strconv.ParseFloat(want, 64)
		return errA == nil && errB == nil && a == b
	}
	if s, ok := got.(string); ok {
		return s == want
	}
	return jsonText(got) == want
}

// jsonText is a value as an answer has it, shortened.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return short(string(b))
}

// short is the beginning of a text, on one line.
func short(s string) string {
	if r := []rune(strings.Join(strings.Fields(s), " ")); len(r) > 80 {
		return string(r[:79]) + "…"
	} else if len(r) > 0 {
		return string(r)
	}
	return "it is empty"
}
