package etfservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// How long one git command on a repository of this size may take.
const gitTimeout = time.Minute

// Who commits. Fixed, so that a commit depends on nothing but its content and date.
const committer = "Goldfinch Backend Team <backend@goldfinch.example>"

// git runs git on a bare repository, untouched by the configuration and environment of whoever calls.
// It returns the standard output; the end of the error output rides on the error.
func git(ctx context.Context, dir string, stdin []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "git", append([]string{"--git-dir=" + dir}, args...)...)
	command.Env = gitEnvironment()
	command.Stdin = bytes.NewReader(stdin)
	command.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		} else if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w: install the package git", err)
		}
		return nil, fmt.Errorf("git %s: %s: %w%s", args[0], dir, err, lastLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func gitEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GIT_") {
			kept = append(kept, variable)
		}
	}
	return append(kept, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	return ": " + text[strings.LastIndexByte(text, '\n')+1:]
}

// stream is the input of git fast-import, which makes commits from memory in one process.
type stream struct{ bytes.Buffer }

func newStream() *stream {
	s := new(stream)
	s.WriteString("feature done\n")
	return s
}

// commit writes a commit with a mark of its own. from is a mark (":1"), a hash, or "" for a first commit.
func (s *stream) commit(ref string, mark int, from, message string, when time.Time, files []file) {
	fmt.Fprintf(s, "commit %s\nmark :%d\ncommitter %s %d +0000\n", ref, mark, committer, when.Unix())
	s.data([]byte(message))
	if from != "" {
		fmt.Fprintf(s, "from %s\n", from)
	}
	for _, f := range files {
		fmt.Fprintf(s, "M %s inline %s\n", f.mode(), f.path)
		s.data(f.data)
	}
	s.WriteString("\n")
}

func (s *stream) reset(ref, from string) { fmt.Fprintf(s, "reset %s\nfrom %s\n\n", ref, from) }

func (s *stream) data(content []byte) {
	fmt.Fprintf(s, "data %d\n", len(content))
	s.Write(content)
	s.WriteString("\n")
}

// run imports the stream and returns what it was asked to print.
func (s *stream) run(ctx context.Context, dir string) (string, error) {
	s.WriteString("done\n")
	out, err := git(ctx, dir, s.Bytes(), "fast-import", "--quiet", "--force", "--date-format=raw")
	return strings.TrimSpace(string(out)), err
}
