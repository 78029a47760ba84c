package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkConfig is “Verify environment variables”.
var checkConfig = Check{
	Name:    "pre:config",
	Command: "python -m scripts.check_config",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		file := t.Config.Env.File
		info, err := t.Host.Stat(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			return []report.Finding{marked(fault(file, "it is not there", "write it, mode 0600; env.keys in "+t.Config.File+" lists what it must hold"), "env.file", nil)}
		}
		var content []byte
		if err == nil {
			content, err = t.Host.ReadFile(ctx, file)
		}
		if err != nil {
			return []report.Finding{marked(unseen(file, err, ""), "env.file", nil)}
		}
		lines, err := config.EnvLines(content)
		e := envLook{t: t, values: map[string]string{}}
		for _, l := range lines {
			e.values[l.Name] = l.Value
		}
		// First of all: it registers the secrets.
		for _, f := range t.Config.Env.Faults(e.values) {
			e.add(f.Name, report.Fault, f.Problem, "mend it in "+file)
		}
		if err != nil {
			e.add("env.file", report.Fault, err.Error(), "write NAME=value lines")
		}
		if info.Mode.Perm()&0o077 != 0 {
			e.add("env.file", report.Fault, fmt.Sprintf("its mode is %04o: others can read its secrets", info.Mode.Perm()), "chmod 600 "+file)
		}
		e.owner(ctx, file)
		e.twice(lines)
		example := e.example(ctx, s)
		e.paths(ctx)
		e.identities(ctx)
		return e.findings(example)
	},
}

// An envLook gathers what is wrong with a .env, by key.
type envLook struct {
	t      *Target
	values map[string]string

	mu   sync.Mutex
	keys []string // with something wrong, in the order in which they were found
	all  map[string]report.Finding
}

// add notes a problem; several of one key become one finding, as bad as the worst.
func (e *envLook) add(key string, status report.Status, what, do string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[string]report.Finding{}
	}
	f, known := e.all[key]
	if !known {
		e.keys = append(e.keys, key)
		looked := e.t.Config.Env.File
		if key != "env.file" {
			looked = key + " in " + looked
		}
		f = marked(found(looked, ""), key, map[string]int64{"problems": 0})
	}
	if rank(status) > rank(f.Status) {
		f.Status = status
	}
	f.Counts["problems"]++
	// Both are sentences about the key; what they quote is never its value.
	f.Found = strings.TrimPrefix(f.Found+"; "+host.Redact(what), "; ")
	f.Do = strings.TrimPrefix(f.Do+"; "+do, "; ")
	e.all[key] = f
}

// wrong reports whether something was found about the key itself.
func (e *envLook) wrong(key string) bool { return slices.Contains(e.keys, key) }

func (e *envLook) findings(example string) (list []report.Finding) {
	counts := map[string]int64{"looked": int64(len(e.values)), "declared": int64(len(e.t.Config.Env.Keys))}
	worst := report.OK
	for _, key := range e.keys {
		f := e.all[key]
		counts[string(f.Status)]++
		list = append(list, f)
		if rank(f.Status) > rank(worst) {
			worst = f.Status
		}
	}
	if rank(worst) > rank(report.Warning) {
		return list
	}
	text := fmt.Sprintf("%d keys, all required ones there", len(e.values))
	return append(list, marked(found(e.t.Config.Env.File, "%s; %s", text, example), "env", counts))
}

// owner finds a file that somebody else can rewrite: it belongs neither to who
// deploys, nor to root, nor to whom the service runs as.
func (e *envLook) owner(ctx context.Context, file string) {
	argv := []string{"stat", "-L", "-c", "%u %U", "--", file, "/proc/self"}
	asking, cancel := context.WithTimeout(ctx, e.t.Config.Timeouts.Connect)
	defer cancel()
	ours := []string{e.t.Config.Services.API, e.t.Config.Services.Worker, e.t.Config.Services.Beat}
	if procs, err := e.t.supervisor().Processes(asking); err == nil {
		for _, p := range procs {
			if p.PID != 0 && slices.Contains(ours, p.Group) {
				argv = append(argv, fmt.Sprintf("/proc/%d", p.PID))
			}
		}
	}
	// A process may have ended meanwhile: what was printed counts.
	res, _ := e.t.Host.Run(ctx, host.Command{Argv: argv, Timeout: e.t.Config.Timeouts.Connect})
	owners := strings.Split(strings.TrimSpace(string(res.Stdout)), "\n")
	if len(owners) > 1 && !strings.HasPrefix(owners[0], "0 ") && !slices.Contains(owners[1:], owners[0]) {
		_, name, _ := strings.Cut(owners[0], " ")
		e.add("env.file", report.Warning, "it belongs to "+name+", as whom neither this program nor the service runs", "chown it to the user of the service")
	}
}

func (e *envLook) twice(lines []config.EnvLine) {
	first := map[string]config.EnvLine{}
	for _, l := range lines {
		before, again := first[l.Name]
		first[l.Name] = l
		switch {
		case again && before.Value != l.Value:
			e.add(l.Name, report.Fault, fmt.Sprintf("stands in line %d and, with another value, in line %d", before.Number, l.Number), "keep one of them")
		case again:
			e.add(l.Name, report.Warning, fmt.Sprintf("stands in lines %d and %d", before.Number, l.Number), "keep one of them")
		}
	}
}

// example holds .env against the .env.example of the release to come, and says
// against which.
func (e *envLook) example(ctx context.Context, s Subject) string {
	if s.Release == nil {
		return "no release is installed whose .env.example it could be held against"
	}
	for _, dir := range []string{e.t.backend(s.Release.ID), e.t.Releases.Dir(s.Release.ID)} {
		file := path.Join(dir, ".env.example")
		content, err := e.t.Host.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var example map[string]string
		if err == nil {
			example, err = config.ParseEnv(content)
		}
		if err != nil {
			e.add("env.example", report.Warning, file+": "+err.Error(), "mend it in the service's repository")
			return "its .env.example cannot be read"
		}
		e.against(example, file)
		return "held against the .env.example of " + s.Release.ID
	}
	return "release " + s.Release.ID + " has no .env.example"
}

var placeholder = regexp.MustCompile(`(?i)^(change[-_ ]?(me|this|it)|.*replace[-_ ]?me.*|your[-_ ].*|<.*>|x{3,}|\*{3,}|todo|placeholder|example|dummy)$`)

func (e *envLook) against(example map[string]string, file string) {
	declared := map[string]config.EnvKey{}
	for _, k := range e.t.Config.Env.Keys {
		declared[k.Name] = k
		if _, known := example[k.Name]; !known {
			e.add(k.Name, report.Warning, "is declared, and the release to come does not know it", "see "+file+"; drop it from env.keys in "+e.t.Config.File+" if nothing reads it any more")
		}
	}
	for _, name := range sortedKeys(example) {
		if _, ok := e.values[name]; !ok && declared[name].Name == "" {
			e.add(name, report.Fault, "is missing, and the release to come knows it", "add it; "+file+" explains it")
		}
	}
	for _, name := range sortedKeys(e.values) {
		_, known := example[name]
		if !known && declared[name].Name == "" {
			e.add(name, report.Warning, "is neither declared nor known to the release to come", "look whether it is misspelt; else drop it, or declare it in env.keys")
		}
		secrets, shown := config.SecretsIn(e.values[name]), config.SecretsIn(example[name])
		if declared[name].Secret && len(secrets) == 0 { // the whole value is one
			secrets, shown = []string{e.values[name]}, []string{example[name]}
		}
		switch {
		case slices.ContainsFunc(secrets, placeholder.MatchString):
			e.add(name, report.Fault, "still holds a placeholder for its secret", "write the real one")
		case slices.ContainsFunc(secrets, func(s string) bool { return s != "" && slices.Contains(shown, s) }):
			e.add(name, report.Warning, "holds the secret of the .env.example, which is no secret", "give it one of its own")
		}
	}
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// paths are to be folders that can be written to, or that the service can make.
func (e *envLook) paths(ctx context.Context) {
	for _, k := range e.t.Config.Env.Keys {
		folder := path.Clean(e.values[k.Name])
		if k.Kind != "path" || e.wrong(k.Name) || !path.IsAbs(folder) {
			continue
		}
		there := folder
		info, err := e.t.Host.Stat(ctx, there)
		for (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && there != "/" {
			there = path.Dir(there)
			info, err = e.t.Host.Stat(ctx, there)
		}
		switch {
		case err != nil:
			e.add(k.Name, report.Warning, "cannot be looked at: "+err.Error(), "look at it as the user of the service")
			continue
		case !info.Mode.IsDir() && there == folder:
			continue // a file
		case !info.Mode.IsDir():
			e.add(k.Name, report.Fault, "cannot be made: "+there+" is no folder", "name another folder")
			continue
		}
		if _, err := e.t.Host.Run(ctx, host.Command{Argv: []string{"test", "-w", there}, Timeout: e.t.Config.Timeouts.Connect}); err == nil {
			continue
		}
		if there == folder {
			e.add(k.Name, report.Warning, "cannot be written to by the user of this program", "see that the user of the service can")
		} else {
			e.add(k.Name, report.Warning, "is not there, and cannot be made below "+there+" by the user of this program", "make it, for the user of the service")
		}
	}
}
