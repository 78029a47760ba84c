package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Env declares the .env of the service, so that a key that is missing or
// malformed is found before the service is stopped.
type Env struct {
	File string   `yaml:"file"` // absolute after loading; in the file also relative to root
	Keys []EnvKey `yaml:"keys"`
}

// An EnvKey is one variable of the service's .env.
type EnvKey struct {
	Name     string `yaml:"name"`
	Kind     string `yaml:"kind"` // url, int, path, string, bool
	Required bool   `yaml:"required"`
	Secret   bool   `yaml:"secret"` // the value is never printed
}

var envKinds = []string{"url", "int", "path", "string", "bool"}

func (v *validator) env(e *Env, root string) {
	v.word("env.file", e.File)
	e.File = abs(root, e.File)
	names := map[string]bool{}
	for i, k := range e.Keys {
		key := fmt.Sprintf("env.keys[%d]", i)
		switch {
		case !envName.MatchString(k.Name):
			v.fault(key+".name", "%q is not the name of a variable", k.Name)
		case names[k.Name]:
			v.fault(key+".name", "%q stands in the list twice", k.Name)
		}
		names[k.Name] = true
		v.oneOf(key+".kind", k.Kind, envKinds...)
	}
}

// Check judges the content of a .env against the declaration and registers its
// secrets with host.AddSecret. The error joins one per key, named, without
// values. Keys that are not declared are the service's own business.
func (e Env) Check(data []byte) error {
	values, err := ParseEnv(data)
	errs := []error{err}
	for _, k := range e.Keys {
		value, set := values[k.Name]
		if k.Secret {
			host.AddSecret(value)
		}
		host.AddSecret(secretsIn(value)...)
		switch {
		case k.Required && (!set || value == ""):
			errs = append(errs, fmt.Errorf("%s is missing; add it to %s", k.Name, e.File))
		case value != "" && !k.fits(value):
			errs = append(errs, fmt.Errorf("%s is not of kind %s", k.Name, k.Kind))
		}
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return fmt.Errorf("checking %s: %w", e.File, errors.Join(errs...))
	}
	return nil
}

func (k EnvKey) fits(value string) bool {
	switch k.Kind {
	case "url":
		u, err := url.Parse(value)
		return err == nil && u.Scheme != "" && (u.Host != "" || strings.HasPrefix(value, u.Scheme+"://"))
	case "int":
		_, err := strconv.Atoi(value)
		return err == nil
	case "path":
		return path.IsAbs(value)
	case "bool":
		return slices.Contains([]string{"true", "false", "1", "0", "yes", "no", "on", "off"}, strings.ToLower(value))
	}
	return true
}
