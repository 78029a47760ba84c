package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills a Config from the tree that the YAML library parsed. It does
// what strict decoding of that library does (unknown and repeated keys, wrong
// types are faults) and more: it goes on after a fault, knows the key path of
// each, and looks at every value before its references are resolved.
type decoder struct {
	*faults
	refs *references
}

func (d *decoder) value(n *yaml.Node, to reflect.Value, path string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.lines[path] = n.Line
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // a key without a value keeps its default
	}
	switch to.Kind() {
	case reflect.Struct:
		switch {
		case to.Type() == reflect.TypeFor[Endpoint]() && n.Kind == yaml.ScalarNode:
			to = to.FieldByName("Path") // the short form
		case to.Type() != reflect.TypeFor[Span]():
			d.structure(n, to, path)
			return
		}
	case reflect.Map:
		d.mapping(n, to, path)
		return
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.add(path, "is %s; write a list", kindName(n))
			return
		}
		list := reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content))
		for i, item := range n.Content {
			d.value(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		to.Set(list)
		return
	}
	if n.Kind != yaml.ScalarNode {
		d.add(path, "is %s; write one value", kindName(n))
		return
	}
	if text, ok := d.text(n, path); ok {
		if err := set(to, text); err != nil {
			d.add(path, "%v", err)
		}
	}
}

// text is the value of a scalar with its references resolved.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	if hasLiteralPassword(n.Value) {
		d.add(path, "holds a password in plain text; write ${NAME} in its place and keep NAME in the environment or in the variables file")
		return "", false
	}
	text, ok, err := d.refs.expand(n.Value, path)
	if err != nil {
		d.add(path, "%v", err)
	} else if ok {
		d.register(text, path)
	}
	return text, ok
}

func (d *decoder) structure(n *yaml.Node, to reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(path, "is %s; write keys with values", kindName(n))
		return
	}
	fields := map[string]int{}
	var known []string
	for i := range to.NumField() {
		if name := to.Type().Field(i).Tag.Get("yaml"); name != "-" {
			fields[name], known = i, append(known, name)
		}
	}
	d.keys(n, path, func(name, at string, value *yaml.Node) {
		if i, ok := fields[name]; ok {
			d.value(value, to.Field(i), at)
			return
		}
		slices.Sort(known)
		d.add(at, "is not a key; here stand %s", strings.Join(known, ", "))
	})
}

func (d *decoder) mapping(n *yaml.Node, to reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(path, "is %s; write keys with values", kindName(n))
		return
	}
	to.Set(reflect.MakeMap(to.Type()))
	d.keys(n, path, func(name, at string, value *yaml.Node) {
		one := reflect.New(to.Type().Elem()).Elem()
		d.value(value, one, at)
		to.SetMapIndex(reflect.ValueOf(name), one)
	})
}

// keys calls each for every key of a mapping; a key that comes twice is a fault.
func (d *decoder) keys(n *yaml.Node, path string, each func(name, at string, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		at := join(path, name)
		if line, twice := first[name]; twice {
			d.add(at, "stands twice, on line %d and on line %d; remove one", line, n.Content[i].Line)
			continue
		}
		first[name] = n.Content[i].Line
		d.lines[at] = n.Content[i].Line
		each(name, at, n.Content[i+1])
	}
}

func set(to reflect.Value, text string) error {
	var v any
	var err error
	switch to.Interface().(type) {
	case string:
		v = text
	case time.Duration:
		v, err = parseDuration(text)
	case Bytes:
		v, err = parseBytes(text)
	case float64:
		v, err = parseFraction(text)
	case TimeOfDay:
		v, err = parseTimeOfDay(text)
	case Span:
		v, err = parseSpan(text)
	case bool:
		if v, err = strconv.ParseBool(text); err != nil || (text != "true" && text != "false") {
			err = fmt.Errorf("%q is neither true nor false", text)
		}
	case int:
		if v, err = strconv.Atoi(text); err != nil {
			err = fmt.Errorf("%q is not a whole number", text)
		}
	default:
		panic("config: no decoder for " + to.Type().String())
	}
	if err == nil {
		to.Set(reflect.ValueOf(v))
	}
	return err
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys with values"
	}
	return fmt.Sprintf("the single value %q", n.Value)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
