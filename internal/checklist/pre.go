package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// checkConfig is “Verify environment variables”.
var checkConfig = Check{
	Name:    "pre:config",
	Command: "python -m scripts.check_config",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		file := t.Config.Env.File
		info, err := t.Host.Stat(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			return []report.Finding{fault(file, "it is not there", "write it, mode 0600; env.keys in "+t.Config.File+" lists what it must hold")}
		}
		if err != nil {
			return []report.Finding{unseen(file, err, "")}
		}
		var findings []report.Finding
		if info.Mode.Perm()&0o077 != 0 {
			findings = append(findings, fault(file, fmt.Sprintf("its mode is %04o: others can read its secrets", info.Mode.Perm()), "chmod 600 "+file))
		}
		content, err := t.Host.ReadFile(ctx, file)
		if err != nil {
			return append(findings, unseen(file, err, ""))
		}
		values, err := config.ParseEnv(content)
		if err != nil {
			return append(findings, fault(file, err.Error(), "write NAME=value lines"))
		}
		if err := t.Config.Env.Check(content); err != nil {
			findings = append(findings, fault(file, err.Error(), "mend it in "+file))
		}
		findings = append(findings, t.envExample(ctx, s, values)...)
		if u, err := url.Parse(values["DATABASE_URL"]); err == nil && values["DATABASE_URL"] != "" && !sameDatabase(u, t.Config.Database.URL) {
			findings = append(findings, fault(file, "DATABASE_URL names another database than database.url of "+t.Config.File, "let both name the same host, port and database"))
		}
		if Judge(findings) == nil {
			findings = append(findings, found(file, "%d keys, all required ones there", len(values)))
		}
		return findings
	},
}

// envExample holds .env against the .env.example of the release to come.
func (t *Target) envExample(ctx context.Context, s Subject, values map[string]string) []report.Finding {
	if s.Release == nil {
		return nil
	}
	for _, dir := range []string{t.backend(s.Release.ID), t.Releases.Dir(s.Release.ID)} {
		file := path.Join(dir, ".env.example")
		content, err := t.Host.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return []report.Finding{unseen(file, err, "")}
		}
		example, err := config.ParseEnv(content)
		if err != nil {
			return []report.Finding{warn(file, err.Error(), "mend it in the service's repository")}
		}
		var missing []string
		for name := range example {
			if _, ok := values[name]; !ok {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			slices.Sort(missing)
			return []report.Finding{fault(t.Config.Env.File, "the release to come knows keys that are missing: "+strings.Join(missing, ", "), "add them; "+file+" explains them")}
		}
		return nil
	}
	return nil
}

func sameDatabase(u *url.URL, owner string) bool {
	o, err := url.Parse(owner)
	return err == nil && u.Host == o.Host && u.Path == o.Path
}

// faultOrUnseen tells a fault that was found from a look that failed.
func faultOrUnseen(looked string, err error) report.Finding {
	if errors.Is(err, step.ErrFault) {
		return fault(looked, strings.TrimPrefix(err.Error(), step.ErrFault.Error()+": "), "")
	}
	return unseen(looked, err, "")
}
