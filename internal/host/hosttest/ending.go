package hosttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// How a command ends that does not end by itself, and who else ends with it.
var endingTests = map[string]func(*suite){
	"deadline ends the whole group":       deadlineEndsGroup,
	"own timeout":                         ownTimeout,
	"cancellation has its cause":          cancellation,
	"ended, whatever it returns":          endedIsNoSuccess,
	"cancelled before it starts":          notStarted,
	"SIGTERM first":                       termFirst,
	"SIGKILL after the grace":             killAfterGrace,
	"grace is for children too":           graceForChildren,
	"a child that keeps the pipe":         heldPipe,
	"a child in another session":          heldPipeOutside,
	"Started knows the process":           startedKnows,
	"an error in Started ends the child":  startedFails,
	"a command's end leaves others alone": leavesOthers,
}

// family starts a child and a grandchild, which write down their numbers, and
// says that it is ready.
const family = `cd "$1"; echo $$ >parent
sh -c 'sleep 300 & echo $! >grandchild; touch ready; wait' & echo $! >child; wait`

func deadlineEndsGroup(s *suite) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	ended := s.started(ctx, sh(family, s.dir), s.path("ready"))
	parent, child, grandchild := s.pid(s.path("parent")), s.pid(s.path("child")), s.pid(s.path("grandchild"))
	// The deadline is far, so that a busy machine gets as far as here; the
	// end of a context is the same whichever way it ends.
	cancel()
	if err := s.ended(ended); !errors.Is(err, context.Canceled) {
		s.Errorf("got error %v, want %v", err, context.Canceled)
	}
	s.gone("the command", parent)
	s.gone("its child", child)
	s.gone("its grandchild", grandchild)

	ctx, cancel = context.WithTimeout(s.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := s.h.Run(ctx, sh(`sleep 300`)); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
}

func ownTimeout(s *suite) {
	c := sh(`echo before; echo trouble >&2; sleep 300`)
	c.Timeout = 500 * time.Millisecond
	res, err := s.h.Run(s.ctx, c)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "500ms") {
		s.Errorf("got error %v, want one that names the time", err)
	}
	if exit := new(host.ExitError); !errors.As(err, &exit) || exit.Signal != "terminated" {
		s.Errorf("got error %#v, want an ExitError that names the signal", err)
	}
	if string(res.Stdout) != "before\n" || !strings.Contains(err.Error(), "trouble") {
		s.Errorf("what it printed until then is lost: %q, %v", res.Stdout, err)
	}
}

var errStop = errors.New("somebody asked for the end")

func cancellation(s *suite) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	ended := s.started(ctx, sh(`touch "$1"; sleep 300`, s.path("ready")), s.path("ready"))
	cancel(errStop)
	if err := s.ended(ended); !errors.Is(err, errStop) {
		s.Errorf("got error %v, want the cause", err)
	}
}

func endedIsNoSuccess(s *suite) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	// Many programs return 0 when they are asked to end.
	ended := s.started(ctx, sh(`trap 'exit 0' TERM; touch "$1"; while test $((i=i+1)) -lt 2000; do sleep 0.05; done`, s.path("ready")), s.path("ready"))
	cancel(errStop)
	if err := s.ended(ended); !errors.Is(err, errStop) || !strings.HasPrefix(err.Error(), "sh ") {
		s.Errorf("got error %v for a command that was cut short, want the cause and which it was", err)
	}
}

func notStarted(s *suite) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	cancel(errStop)
	ctx = host.WithOperation(ctx, host.Operation{Started: func(p host.Process, _ string) error {
		s.Errorf("it was started: %+v", p)
		return nil
	}})
	if _, err := s.h.Run(ctx, host.Command{Argv: []string{"sleep", "300"}}); !errors.Is(err, errStop) {
		s.Errorf("got error %v, want the cause", err)
	}
}

func termFirst(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	c := sh(`trap 'echo tidy >"$1/tidied"; exit 3' TERM; touch "$1/ready"; while test $((i=i+1)) -lt 2000; do sleep 0.05; done`, s.dir)
	c.Grace = patience
	ended := s.started(ctx, c, s.path("ready"))
	cancel()
	err := s.ended(ended)
	if exit := new(host.ExitError); !errors.As(err, &exit) || exit.Code != 3 {
		s.Errorf("got error %v, want the status that it ended with after SIGTERM", err)
	}
	if b, err := s.h.ReadFile(s.ctx, s.path("tidied")); err != nil || string(b) != "tidy\n" {
		s.Errorf("it could not tidy up: %q, %v", b, err)
	}
}

func killAfterGrace(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	const grace = 300 * time.Millisecond
	c := sh(`trap '' TERM; echo $$ >"$1/pid"; touch "$1/ready"; while test $((i=i+1)) -lt 2000; do sleep 0.05; done`, s.dir)
	c.Grace = grace
	ended := s.started(ctx, c, s.path("ready"))
	pid := s.pid(s.path("pid"))
	begin := time.Now()
	cancel()
	err := s.ended(ended)
	if exit := new(host.ExitError); !errors.As(err, &exit) || exit.Signal != "killed" {
		s.Errorf("got error %v, want one that says that it was killed", err)
	}
	if d := time.Since(begin); d < grace {
		s.Errorf("it had %s to end, want %s", d, grace)
	}
	s.gone("the stubborn command", pid)
}

// The command itself goes at once, its child needs a moment.
func graceForChildren(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	c := sh(`cd "$1"; sh -c 'trap "sleep 0.3; touch tidied; exit" TERM; echo $$ >child; touch ready; while test $((i=i+1)) -lt 2000; do sleep 0.05; done' >/dev/null 2>&1 & wait`, s.dir)
	c.Grace = patience
	ended := s.started(ctx, c, s.path("ready"))
	child := s.pid(s.path("child"))
	cancel()
	s.ended(ended)
	if _, err := s.h.Stat(s.ctx, s.path("tidied")); err != nil {
		s.Errorf("the child could not tidy up before Run returned: %v", err)
	}
	s.gone("the child", child)
}

func heldPipe(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	c := sh(`trap '' TERM; sleep 300 & echo $! >"$1"; trap - TERM; wait`, s.path("child"))
	c.Grace = 200 * time.Millisecond
	ended := s.started(ctx, c, s.path("child"))
	child := s.pid(s.path("child"))
	cancel()
	if err := s.ended(ended); !errors.Is(err, context.Canceled) {
		s.Errorf("got error %v, want %v", err, context.Canceled)
	}
	s.gone("the child that ignores SIGTERM", child)
}

// What has left the group is not ended, but is not waited for either; that
// its output may be missing is told.
func heldPipeOutside(s *suite) {
	c := sh(`setsid sh -c 'echo $$ >"$1"; exec sleep 300' sh "$1" & while ! test -s "$1"; do sleep 0.02; done; echo said`, s.path("pid"))
	c.Grace = 200 * time.Millisecond
	ended := make(chan error, 1)
	var res host.Result
	go func() {
		var err error
		res, err = s.h.Run(s.ctx, c)
		ended <- err
	}()
	err := s.ended(ended)
	s.endLater(s.pid(s.path("pid")))
	if err == nil || !strings.Contains(err.Error(), "holds its output open") {
		s.Errorf("got error %v, want one that says what holds the output open", err)
	}
	if string(res.Stdout) != "said\n" {
		s.Errorf("got %q", res.Stdout)
	}
}

func startedKnows(s *suite) {
	var recorded []host.Process
	ctx := host.WithOperation(s.ctx, host.Operation{Started: func(p host.Process, argv0 string) error {
		recorded = append(recorded, p)
		now, err := s.h.Process(s.ctx, p.PID)
		if err != nil || now != p || argv0 != "sh" {
			s.Errorf("told of %+v (%s), but there is %+v, %v", p, argv0, now, err)
		}
		return s.h.WriteFile(s.ctx, s.path("go"), nil, 0o600)
	}})
	// It waits, so that it is seen running, and says who it is.
	out := s.output(ctx, sh(`while ! test -e "$1"; do sleep 0.02; done; echo $$`, s.path("go")))
	if len(recorded) != 1 || out != fmt.Sprintln(recorded[0].PID) {
		s.Errorf("told of %+v, but process %s ran", recorded, out)
	}
}

func startedFails(s *suite) {
	var p host.Process
	ctx := host.WithOperation(s.ctx, host.Operation{Started: func(child host.Process, _ string) error {
		p = child
		return errStop
	}})
	_, err := s.h.Run(ctx, sh(`sleep 300`))
	if !errors.Is(err, errStop) || !strings.Contains(err.Error(), "sh") {
		s.Errorf("got error %v, want that of Started", err)
	}
	s.gone("the child that could not be recorded", p.PID)
}

// A command that ends by itself may leave a daemon behind.
func leavesOthers(s *suite) {
	s.output(s.ctx, sh(`sleep 300 >/dev/null 2>&1 & echo $! >"$1"`, s.path("daemon")))
	s.endLater(s.pid(s.path("daemon")))
}
