package config

import (
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

func TestParseEnv(t *testing.T) {
	for text, want := range map[string]string{
		"A=b":                       "b",
		"export A=b\r":              "b",
		"  A = b  c ":               "",
		"A='b c'":                   "b c",
		`A='it'\''s'`:               "it's",
		`A="say \"hi\" for \$5"`:    `say "hi" for $5`,
		"A=":                        "",
		"A=postgres://u:p=q@h/d#e":  "postgres://u:p=q@h/d#e",
		"# A=no\nA=yes":             "yes",
		"A=first\nexport A='again'": "again",
	} {
		got, err := ParseEnv([]byte(text))
		if text == "  A = b  c " {
			if err == nil {
				t.Errorf("%q: a name with a space was accepted", text)
			}
			continue
		}
		if err != nil || got["A"] != want {
			t.Errorf("%q: %q, %v; want %q", text, got["A"], err, want)
		}
	}
}

func TestEnvCheck(t *testing.T) {
	env := Env{File: "/srv/etf/shared/.env", Keys: []EnvKey{
		{Name: "DATABASE_URL", Kind: "url", Required: true, Secret: true},
		{Name: "CELERY_RESULT_BACKEND", Kind: "url", Required: true},
		{Name: "LOG_DIR", Kind: "path", Required: true},
		{Name: "PORT", Kind: "int"},
		{Name: "DEBUG", Kind: "bool"},
		{Name: "LOG_LEVEL", Kind: "string", Required: true},
	}}
	good := "DATABASE_URL=postgresql+psycopg://etf_app:s3cret-word@127.0.0.1/goldfinch\n" +
		"CELERY_RESULT_BACKEND=rpc://\nLOG_DIR=/var/log/etf\nLOG_LEVEL=INFO\nDEBUG=true\nEXTRA=1\n"
	if err := env.Check([]byte(good)); err != nil {
		t.Error(err)
	}
	if got := host.Redact("login with s3cret-word"); got != "login with ***" {
		t.Errorf("the password of a secret key is not redacted: %s", got)
	}
	bad := "DATABASE_URL=goldfinch-of-ours\nLOG_DIR=logs\nPORT=80a\nDEBUG=perhaps\nLOG_LEVEL=\n"
	err := env.Check([]byte(bad))
	if err == nil {
		t.Fatal("a bad .env passed")
	}
	for _, want := range []string{"DATABASE_URL is not of kind url", "CELERY_RESULT_BACKEND is missing", "LOG_DIR is not of kind path",
		"PORT is not of kind int", "DEBUG is not of kind bool", "LOG_LEVEL is empty", env.File} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s\nin %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "goldfinch-of-ours") {
		t.Errorf("the error shows a secret value: %v", err)
	}
}
