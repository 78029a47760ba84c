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

// An EnvFault is what is wrong with one key of a .env; it holds no value.
type EnvFault struct{ Name, Problem string }

// envForms says what a value of each kind looks like.
var envForms = map[string]string{
	"url": "SCHEME://HOST", "int": "a whole number", "path": "an absolute path", "bool": "true or false",
}

// Faults judges the values of a .env against the declaration and registers its
// secrets with host.AddSecret. Keys that are not declared are the service's
// own business.
func (e Env) Faults(values map[string]string) (faults []EnvFault) {
	for _, k := range e.Keys {
		value, set := values[k.Name]
		if k.Secret {
			host.AddSecret(value)
		}
		host.AddSecret(secretsIn(value)...)
		switch {
		case k.Required && !set:
			faults = append(faults, EnvFault{k.Name, "is missing; add it to " + e.File})
		case k.Required && value == "":
			faults = append(faults, EnvFault{k.Name, "is empty; give it a value in " + e.File})
		case value != "" && !k.fits(value):
			faults = append(faults, EnvFault{k.Name, "is not of kind " + k.Kind + " (" + envForms[k.Kind] + ")"})
		}
	}
	return faults
}

// Check judges the content of a .env as Faults does. The error joins one per
// key, named, without values.
func (e Env) Check(data []byte) error {
	values, err := ParseEnv(data)
	errs := []error{err}
	for _, f := range e.Faults(values) {
		errs = append(errs, errors.New(f.Name+" "+f.Problem))
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return fmt.Errorf("checking %s: %w", e.File, errors.Join(errs...))
	}
	return nil
}

// SecretsIn are the passwords and tokens that a value of a .env carries.
func SecretsIn(value string) []string { return secretsIn(value) }

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
