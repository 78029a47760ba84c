package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// references resolves ${NAME} and ${NAME:-default}: from what the caller gave
// first, then the environment of the process, then the variables file.
type references struct {
	first   map[string]string
	file    map[string]string   // nil: there is no file, or it is not read yet
	missing map[string][]string // name → the key paths that need it
}

var (
	reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}]*))?\}`)
	password  = regexp.MustCompile(`(?i)password\s*=\s*([^\s&]+)`)
)

// expand replaces the references of raw. Names that have no value are noted as
// missing, and ok is false.
func (r *references) expand(raw, path string) (text string, ok bool, err error) {
	unset := false
	text = reference.ReplaceAllStringFunc(raw, func(found string) string {
		m := reference.FindStringSubmatch(found)
		name, hasDefault, fallback := m[1], m[2] != "", m[3]
		if v := cmp.Or(r.first[name], os.Getenv(name), r.file[name]); v != "" {
			return v
		}
		if hasDefault {
			return fallback
		}
		r.missing[name] = append(r.missing[name], path)
		unset = true
		return ""
	})
	if strings.Contains(reference.ReplaceAllLiteralString(raw, ""), "${") {
		return "", false, errors.New("holds a reference that cannot be read; write ${NAME} or ${NAME:-default}")
	}
	return text, !unset, nil
}

// userinfo is what stands before the @ of a URL in text, as it is written.
func userinfo(text string) (scheme, user, pass string) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return "", "", ""
	}
	// A reference may hold a slash in its default; the host comes after it.
	plain := reference.ReplaceAllStringFunc(rest, func(s string) string { return strings.Repeat("$", len(s)) })
	if end := strings.IndexAny(plain, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return scheme, "", ""
	}
	user, pass, _ = strings.Cut(rest[:at], ":")
	return scheme, user, pass
}

// secretsIn are the passwords that a resolved value carries. The user of an
// HTTP URL counts as one: tokens travel there.
func secretsIn(text string) (words []string) {
	scheme, user, pass := userinfo(text)
	if pass != "" {
		words = append(words, pass)
	} else if strings.HasPrefix(scheme, "http") && user != "" {
		words = append(words, user)
	}
	for _, m := range password.FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	for _, w := range words {
		if plain, err := url.PathUnescape(w); err == nil && plain != w {
			words = append(words, plain)
		}
	}
	return words
}

// hasLiteralPassword reports whether an unresolved value holds a password, or
// a part of one, that is not a reference.
func hasLiteralPassword(raw string) bool {
	// The default of a reference is as literal as any other text.
	return slices.ContainsFunc(secretsIn(raw), func(w string) bool {
		rest := reference.ReplaceAllStringFunc(w, func(found string) string {
			return reference.FindStringSubmatch(found)[3]
		})
		return rest != ""
	})
}

// ParseEnv reads lines NAME=value or export NAME='value', as the .env of the
// service and the variables file hold them: empty lines and # comments are
// skipped, one pair of quotes around the value is taken off, nothing is
// expanded. All lines that cannot be read are named, without their values.
func ParseEnv(data []byte) (map[string]string, error) {
	lines, err := EnvLines(data)
	values := map[string]string{}
	for _, l := range lines {
		values[l.Name] = l.Value
	}
	return values, err
}

// An EnvLine is one NAME=value of a .env.
type EnvLine struct {
	Number      int
	Name, Value string
}

// EnvLines is ParseEnv for who wants to know of names that stand there twice:
// the last one counts.
func EnvLines(data []byte) (lines []EnvLine, err error) {
	var errs []error
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		if !ok || !envName.MatchString(name) {
			errs = append(errs, fmt.Errorf("line %d: is not NAME=value", i+1))
			continue
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %s: %w", i+1, name, err))
			continue
		}
		lines = append(lines, EnvLine{i + 1, name, value})
	}
	return lines, errors.Join(errs...)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// unquote takes one pair of quotes off. A shell writes a single quote inside
// single quotes as '\”.
func unquote(s string) (string, error) {
	if s == "" || (s[0] != '\'' && s[0] != '"') {
		return s, nil
	}
	quote := s[:1]
	if len(s) < 2 || !strings.HasSuffix(s, quote) {
		return "", errors.New("its quote is not closed")
	}
	inner := s[1 : len(s)-1]
	if quote == "'" {
		inner = strings.ReplaceAll(inner, `'\''`, "'")
	} else {
		inner = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`).Replace(inner)
	}
	return inner, nil
}
