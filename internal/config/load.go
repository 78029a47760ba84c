package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// environmentName is what serves as a folder's name and a label's value.
var environmentName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// version of deploy.yaml that this package reads.
const version = "1"

// Load reads one environment of the file; an empty name means Environment().
// It opens files only, no connection. Passwords that the values hold are
// registered with host.AddSecret. Errors are an *Error with all faults of the
// environment, or wrap ErrInvalid.
func Load(file, environment string) (*Config, error) {
	return LoadWith(file, environment, Options{})
}

// Options of LoadWith. The zero value is that of Load.
type Options struct {
	// Needs names the keys, each with what lies below it, whose references
	// must have a value; elsewhere one without leaves its key empty. nil: all.
	// What is generated for an environment needs none of its secrets.
	Needs []string
	// Variables go before those of the process and of the variables file.
	Variables map[string]string
	// Further finds what else is wrong, so that it is said with the rest. It is
	// given values that may be at fault themselves.
	Further func(*Config) []Fault
}

// LoadWith is Load with options.
func LoadWith(file, environment string, o Options) (*Config, error) {
	if environment == "" {
		environment = Environment()
	}
	f := &faults{lines: map[string]int{}, silent: map[string]bool{}}
	c := defaults()
	c.Environment, c.File = environment, file
	if node, at := f.find(file, environment); node != nil {
		d := &decoder{faults: f, refs: &references{first: o.Variables, missing: map[string][]string{}}}
		unread := d.variables(node, at)
		d.value(node, reflect.ValueOf(&c).Elem(), at)
		d.unresolved(at, c, unread, o.Needs)
		v := validator{faults: f, at: at}
		v.config(&c)
		if o.Further != nil {
			for _, one := range o.Further(&c) {
				if !f.has(one.Path) {
					f.add(one.Path, "%s", one.Problem)
				}
			}
		}
	}
	if len(f.list) > 0 {
		slices.SortStableFunc(f.list, func(a, b Fault) int { return a.Line - b.Line })
		return nil, &Error{File: file, Faults: f.list}
	}
	return &c, nil
}

// find returns the tree of one environment and its key path, or nil after a
// fault that leaves nothing to look at.
func (f *faults) find(file, environment string) (*yaml.Node, string) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		f.add("", "does not exist; run in the folder that holds it")
		return nil, ""
	}
	if err != nil {
		f.add("", "cannot be read: %v", err)
		return nil, ""
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		f.add("", "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil, ""
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		f.add("", "holds no keys; it needs version and environments")
		return nil, ""
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		f.add("", "holds more than one document; remove what stands after the second ---")
	}
	return f.environment(doc.Content[0], environment)
}

func (f *faults) environment(root *yaml.Node, name string) (found *yaml.Node, at string) {
	d := &decoder{faults: f}
	var known []string
	var hasVersion bool
	d.keys(root, "", func(key, path string, value *yaml.Node) {
		switch {
		case key == "version":
			if hasVersion = true; value.Value != version {
				f.add(path, "is %q; this program reads version %s", value.Value, version)
			}
		case key == "environments" && value.Kind == yaml.MappingNode:
			d.keys(value, path, func(key, path string, value *yaml.Node) {
				if known = append(known, key); !environmentName.MatchString(key) {
					f.add(path, "is not the name of an environment; write small letters, digits, _ and -: folders and labels are called so")
				}
				if key == name {
					found, at = value, path
				}
			})
		case key == "environments":
			f.add(path, "is %s; write a name with keys below it for each environment", kindName(value))
		default:
			f.add(path, "is not a key; here stand environments, version")
		}
	})
	if !hasVersion {
		f.add("version", "is missing; write version: %s", version)
	}
	if found == nil && !f.has("environments") {
		slices.Sort(known)
		f.add("environments", "there is no environment %q; set ETF_ENV to one of: %s", name, strings.Join(known, ", "))
	}
	return found, at
}

// variables reads the file that the key of that name points at, before
// anything else is resolved. It returns why the file could not be read, or "".
func (d *decoder) variables(env *yaml.Node, at string) (unread string) {
	for i := 0; i+1 < len(env.Content); i += 2 {
		if env.Content[i].Value != "variables" {
			continue
		}
		key := at + ".variables"
		d.lines[key] = env.Content[i].Line
		file, ok, err := d.refs.expand(env.Content[i+1].Value, key)
		if err != nil || !ok || file == "" {
			return "" // said when the key is decoded
		}
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return file + " does not exist"
		}
		if err != nil {
			return fmt.Sprintf("%s cannot be read (%v)", file, errors.Unwrap(err))
		}
		if d.refs.file, err = ParseEnv(data); err != nil {
			d.add(key, "%s: %s", file, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return ""
}

// unresolved reports references without a value: one by one, or together when
// the reason is that the variables file is not there. Those of keys that are
// not needed are passed over.
func (d *decoder) unresolved(at string, c Config, unread string, needs []string) {
	for name, paths := range d.refs.missing {
		for _, p := range paths {
			d.silent[p] = true // it has a value, only not here
		}
		needed := func(p string) bool { return isBelow(strings.TrimPrefix(p, at+"."), needs) }
		if needs != nil && !slices.ContainsFunc(paths, needed) {
			delete(d.refs.missing, name)
		}
	}
	names := slices.Sorted(maps.Keys(d.refs.missing))
	if len(names) == 0 {
		return
	}
	if unread != "" {
		todo := "create it, or export them"
		if c.Environment == DefaultEnvironment {
			todo = "run `go tool mage sandbox:up`"
		}
		d.add(at+".variables", "%s, and these are not in the environment: %s; %s", unread, strings.Join(names, ", "), todo)
		return
	}
	where := "export it"
	if c.Variables != "" {
		where = "export it, or write it into " + c.Variables
	}
	for _, name := range names {
		d.add(d.refs.missing[name][0], "${%s} has no value; %s", name, where)
	}
}

// isBelow reports whether a key is one of these or lies below one.
func isBelow(key string, these []string) bool {
	return slices.ContainsFunc(these, func(one string) bool {
		rest, ok := strings.CutPrefix(key, one)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// register keeps the passwords of a resolved value out of every text.
func (d *decoder) register(text, at string) {
	for _, w := range secretsIn(text) {
		if len(w) < 4 {
			d.add(at, "its password has fewer than 4 characters and could not be kept out of logs; choose a longer one")
			return
		}
		host.AddSecret(w)
	}
}

// abs makes a path of the configuration that may be relative to the root absolute.
func abs(root, p string) string {
	if p == "" || path.IsAbs(p) {
		return p
	}
	return path.Join(root, p)
}
