package hosttest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// What a command is given and what comes back from it.
var commandTests = map[string]func(*suite){
	"argv is passed verbatim":         argvVerbatim,
	"environment":                     environment,
	"working directory":               workingDirectory,
	"input":                           input,
	"input that fails":                inputFails,
	"input that blocks":               inputBlocks,
	"output streams as it comes":      outputStreams,
	"output and errors in one writer": oneWriter,
	"output that cannot be written":   outputFails,
	"output limit":                    outputLimit,
	"status":                          status,
	"missing program":                 missingProgram,
	"missing folder":                  missingFolder,
	"no program":                      noProgram,
	"secrets stay out of errors":      secrets,
}

func argvVerbatim(s *suite) {
	args := []string{
		"", " ", "two words", " lead and trail ", "-n", "--", "-rf", "'", `"`, `it's "quoted"`, `back\slash`, `\n`, "line\nfeed", "\n",
		"tab\t", "$HOME", "$(id)", "`id`", "${PATH}", "*", "?", "[a]", "~", "a;b", "a&b", "a|b", "a>b", "#c", "!x", "%s", "%", "{a,b}", "=", "a=b",
		"Zürich", "日本", "\U0001F600", "\x01", "\xff\xfe", strings.Repeat("long ", 5000),
	}
	want := strings.Join(args, "\x00") + "\x00"
	if got := s.output(s.ctx, host.Command{Argv: append([]string{"printf", `%s\000`}, args...)}); got != want {
		s.Errorf("got\n%q, want\n%q", got, want)
	}
}

func environment(s *suite) {
	ctx := host.WithOperation(s.ctx, host.Operation{Env: []string{"T_OPERATION=op", "T_BOTH=operation", "T_ODD=of op"}})
	odd := "a b'c\"d$e\\f\ng="
	c := sh(`printf '%s|%s|%s|%s|%s' "$T_OPERATION" "$T_BOTH" "$T_ODD" "$T_EMPTY" "${T_EMPTY+set}"; test -n "$PATH"`)
	c.Env = []string{"T_BOTH=command", "T_ODD=" + odd, "T_EMPTY="}
	if got, want := s.output(ctx, c), "op|command|"+odd+"||set"; got != want {
		s.Errorf("got %q, want %q", got, want)
	}
}

func workingDirectory(s *suite) {
	dir := s.path("a folder's name")
	s.must(s.h.Mkdir(s.ctx, dir, 0o700))
	c := host.Command{Argv: []string{"pwd", "-P"}, Dir: dir}
	real := strings.TrimSuffix(s.output(s.ctx, host.Command{Argv: []string{"realpath", dir}}), "\n")
	if got := s.output(s.ctx, c); got != real+"\n" {
		s.Errorf("ran in %q, want %q", got, real)
	}
}

func input(s *suite) {
	data := bytes.Repeat([]byte("0123456789\x00\xff\n"), 100_000)
	// More than pipes hold, both ways at once, and not line by line.
	c := host.Command{Argv: []string{"cat"}, Stdin: bytes.NewReader(data)}
	if got := s.output(s.ctx, c); got != string(data) {
		s.Errorf("of %d bytes of input came %d back, or others", len(data), len(got))
	}
	if got := s.output(s.ctx, host.Command{Argv: []string{"cat"}}); got != "" {
		s.Errorf("without input it read %q", got)
	}
	c = host.Command{Argv: []string{"head", "-c", "5"}, Stdin: bytes.NewReader(data)}
	if got := s.output(s.ctx, c); got != "01234" {
		s.Errorf("a command that does not want all of its input: got %q", got)
	}
}

var errSource = errors.New("the source broke off")

func inputFails(s *suite) {
	in := io.MultiReader(strings.NewReader("half"), errReader{})
	_, err := s.h.Run(s.ctx, host.Command{Argv: []string{"cat"}, Stdin: in})
	if !errors.Is(err, errSource) {
		s.Errorf("got error %v, want that of the reader: half an input is not all", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errSource }

// A reader that never comes back must not keep Run from ending.
func inputBlocks(s *suite) {
	in, w := io.Pipe()
	defer w.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := s.h.Run(s.ctx, host.Command{Argv: []string{"true"}, Stdin: in, Grace: 200 * time.Millisecond})
		ended <- err
	}()
	if err := s.ended(ended); err != nil {
		s.Error(err)
	}
}

func outputStreams(s *suite) {
	fromCommand, out := io.Pipe()
	in, toCommand := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		res, err := s.h.Run(s.ctx, host.Command{Argv: []string{"sh", "-c", "echo ready; read line; echo got $line"}, Stdin: in, Stdout: out})
		if len(res.Stdout) > 0 {
			s.Errorf("what was streamed is in the result too: %q", res.Stdout)
		}
		out.CloseWithError(io.EOF)
		ended <- err
	}()
	line := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(fromCommand, line); err != nil || string(line) != "ready\n" {
		s.Fatalf("read %q, %v while it runs", line, err)
	}
	_, err := io.WriteString(toCommand, "answer\n")
	s.must(err)
	if rest, err := io.ReadAll(fromCommand); err != nil || string(rest) != "got answer\n" {
		s.Errorf("read %q, %v at the end", rest, err)
	}
	s.must(s.ended(ended))
}

func oneWriter(s *suite) {
	var both bytes.Buffer // not made for two writers at once: Run has to see to that
	c := sh(`for i in 1 2 3 4 5 6 7 8 9; do echo out; echo err >&2; done`)
	c.Stdout, c.Stderr = &both, &both
	res, err := s.h.Run(s.ctx, c)
	s.must(err)
	if out, errs := strings.Count(both.String(), "out\n"), strings.Count(both.String(), "err\n"); out != 9 || errs != 9 {
		s.Errorf("got %d lines of output and %d of errors, want 9 each:\n%s", out, errs, &both)
	}
	if got := strings.Count(string(res.Stderr), "err\n"); got != 9 {
		s.Errorf("the result holds %d lines of errors, want 9", got)
	}
}

var errFull = errors.New("no room left")

func outputFails(s *suite) {
	c := sh(`while echo a line; do :; done 2>/dev/null; exit 1`)
	c.Stdout = &fullWriter{room: 100}
	if _, err := s.h.Run(s.ctx, c); !errors.Is(err, errFull) {
		s.Errorf("got error %v, want that of the writer", err)
	}
}

type fullWriter struct {
	mu   sync.Mutex
	room int
}

func (w *fullWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room -= len(p); w.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func outputLimit(s *suite) {
	// A dump that somebody forgot to stream must not fill the memory.
	res, err := s.h.Run(s.ctx, sh(`head -c 40000000 /dev/zero`))
	if err == nil || !strings.Contains(err.Error(), "printed more than") {
		s.Errorf("got error %v, want one that says that too much was printed", err)
	}
	if len(res.Stdout) > 20<<20 {
		s.Errorf("%d bytes were kept", len(res.Stdout))
	}
	res, err = s.h.Run(s.ctx, sh(`head -c 3000000 /dev/zero | tr '\0' x >&2; echo; echo the end >&2`))
	if err != nil || !strings.HasSuffix(string(res.Stderr), "the end\n") || len(res.Stderr) > 1<<20 {
		s.Errorf("of many errors the end is kept: got %d bytes, error %v", len(res.Stderr), err)
	}
}

func status(s *suite) {
	res, err := s.h.Run(s.ctx, sh(`echo said; echo why >&2; exit 7`))
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		s.Fatalf("got error %v, want an ExitError", err)
	}
	if exit.Code != 7 || exit.Signal != "" || exit.Stderr != "why\n" || exit.Argv[0] != "sh" {
		s.Errorf("got %#v", exit)
	}
	if string(res.Stdout) != "said\n" || string(res.Stderr) != "why\n" || res.Duration <= 0 {
		s.Errorf("the result of a failed command: %+v", res)
	}
	for _, part := range []string{"sh", "exit 7", "why"} {
		if !strings.Contains(err.Error(), part) {
			s.Errorf("the error does not say %q: %v", part, err)
		}
	}
	for signal, name := range map[string]string{"TERM": "terminated", "KILL": "killed"} {
		_, err = s.h.Run(s.ctx, sh(`kill -`+signal+` $$`))
		if !errors.As(err, &exit) || exit.Code != -1 || exit.Signal != name {
			s.Errorf("ended by SIG%s: got %#v", signal, err)
		}
	}
	// The highest that a program can return, which a way over ssh uses itself.
	if _, err = s.h.Run(s.ctx, sh(`exit 255`)); !errors.As(err, &exit) || exit.Code != 255 {
		s.Errorf("exit 255: got %#v", err)
	}
}

func missingProgram(s *suite) {
	for _, program := range []string{"no-such-program-here", s.path("no-such-file")} {
		_, err := s.h.Run(s.ctx, host.Command{Argv: []string{program, "x"}})
		s.wantIs(program, err, fs.ErrNotExist, "no-such")
		if exit := new(host.ExitError); errors.As(err, &exit) {
			s.Errorf("%s: nothing ran, but got status %d", program, exit.Code)
		}
	}
}

func missingFolder(s *suite) {
	dir := s.path("no-such-folder")
	_, err := s.h.Run(s.ctx, host.Command{Argv: []string{"true"}, Dir: dir})
	s.wantIs("a working directory", err, fs.ErrNotExist, dir)
}

func noProgram(s *suite) {
	if _, err := s.h.Run(s.ctx, host.Command{}); err == nil {
		s.Error("a command without a program was run")
	}
}

func secrets(s *suite) {
	const secret = "Pass/word für=conformance"
	host.AddSecret(secret)
	c := sh(`echo "login with $T_SECRET refused" >&2; echo "$T_SECRET"; exit 1`, secret)
	c.Env = []string{"T_SECRET=" + secret}
	res, err := s.h.Run(s.ctx, c)
	if string(res.Stdout) != secret+"\n" {
		s.Errorf("the output is data and stays as it is: got %q", res.Stdout)
	}
	_, errMissing := s.h.Run(s.ctx, host.Command{Argv: []string{"no-such-program", secret}})
	_, errLimit := s.h.Run(s.ctx, sh(`printf '%20000000s' x`, secret))
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		s.Fatalf("got error %v, want an ExitError", err)
	}
	for what, text := range map[string]string{
		"error": err.Error(), "ExitError.Stderr": exit.Stderr, "ExitError.Argv": strings.Join(exit.Argv, " "), "Result.Stderr": string(res.Stderr),
		"missing program": errMissing.Error(), "output limit": errLimit.Error(),
	} {
		if strings.Contains(text, "word") {
			s.Errorf("%s holds the secret: %s", what, text)
		}
	}
	if !strings.Contains(err.Error(), "login with *** refused") {
		s.Errorf("the error should say what is wrong: %v", err)
	}
}
