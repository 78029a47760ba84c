package hosttest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Processes are told apart, found and ended.
var processTests = map[string]func(*suite){
	"a process is one life of a number": processIdentity,
	"a zombie is gone":                  zombieIsGone,
	"a thread outlives the first":       threadOutlivesFirst,
	"found by their environment":        processesByEnv,
	"Terminate ends the group":          terminateGroup,
	"Terminate ends a stubborn process": terminateStubborn,
	"Terminate waits for the children":  terminateWaitsForChildren,
	"Terminate of one without a group":  terminateMember,
	"Terminate leaves a stranger alone": terminateStranger,
	"Terminate when it is gone already": terminateGone,
	"Terminate ends with its context":   terminateCancelled,
}

// background runs a script, which says that it is ready by making $1/ready,
// and returns its process. It ends with the test.
func (s *suite) background(script string, env ...string) (host.Process, <-chan error) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	c := sh(`echo $$ >"$1/pid"; `+script, s.dir)
	c.Env, c.Grace = env, 100*time.Millisecond
	ended := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, err := s.h.Run(ctx, c)
		ended <- err
	}()
	s.Cleanup(func() { cancel(); <-over })
	s.await("the script is ready", func() bool {
		_, err := s.h.Stat(s.ctx, s.path("ready"))
		return err == nil
	})
	p, err := s.h.Process(s.ctx, s.pid(s.path("pid")))
	s.must(err)
	return p, ended
}

const waiting = `touch "$1/ready"; while test $((i=i+1)) -lt 2000; do sleep 0.05; done`

func processIdentity(s *suite) {
	p, _ := s.background(waiting)
	if p.PID <= 1 || p.Start == 0 || len(p.Boot) < 30 {
		s.Errorf("got %+v", p)
	}
	if !host.Alive(s.ctx, s.h, p) {
		s.Error("it runs, but is said not to")
	}
	for what, other := range map[string]host.Process{
		"another start": {PID: p.PID, Start: p.Start - 1, Boot: p.Boot},
		"another boot":  {PID: p.PID, Start: p.Start, Boot: "00000000-0000-0000-0000-000000000000"},
	} {
		if running, err := host.Running(s.ctx, s.h, other); err != nil || running {
			s.Errorf("%s: got %v, %v, though the number belongs to another process now", what, running, err)
		}
	}
	s.must(s.h.Terminate(s.ctx, p, patience))
	if running, err := host.Running(s.ctx, s.h, p); err != nil || running {
		s.Errorf("after its end: got %v, %v", running, err)
	}
	_, err := s.h.Process(s.ctx, p.PID)
	s.wantIs("Process", err, fs.ErrNotExist, fmt.Sprint(p.PID))

	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := host.Running(ctx, s.h, p); err == nil {
		s.Error("what could not be looked at is said to be gone")
	}
}

func zombieIsGone(s *suite) {
	// The child ends when its parent has become a program that never asks.
	s.background(`sh -c 'echo $$ >"$1/child"; while ! grep -q sleep "/proc/$2/comm"; do sleep 0.02; done' sh "$1" $$ &
touch "$1/ready"; exec sleep 300`)
	pid := s.pid(s.path("child"))
	s.await("the child is a zombie", func() bool {
		return strings.HasPrefix(s.output(s.ctx, sh(`sed 's/.*) //' "/proc/$1/stat"`, fmt.Sprint(pid))), "Z")
	})
	_, err := s.h.Process(s.ctx, pid)
	s.wantIs("Process of a zombie", err, fs.ErrNotExist, fmt.Sprint(pid))
}

// threadOutlivesFirst: such a process looks like a zombie and still holds its
// files, sockets and locks.
func threadOutlivesFirst(s *suite) {
	p, _ := s.background(`touch "$1/ready"; exec python3 -c '
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(300,)).start()
ctypes.CDLL(None).pthread_exit(None)'`)
	s.await("its first thread has ended", func() bool {
		return strings.HasPrefix(s.output(s.ctx, sh(`sed 's/.*) //' "/proc/$1/stat"`, fmt.Sprint(p.PID))), "Z")
	})
	if running, err := host.Running(s.ctx, s.h, p); err != nil || !running {
		s.Errorf("got %v, %v, though a thread of it runs", running, err)
	}
	s.must(s.h.Terminate(s.ctx, p, patience))
	s.isGone(p.PID)
}

func processesByEnv(s *suite) {
	env := fmt.Sprintf("T_FOUND=%d", time.Now().UnixNano())
	p, _ := s.background(`sh -c 'setsid sh -c "echo \$\$ >\"\$1/child\"; touch \"\$1/ready\"; exec sleep 300" sh "$1"' sh "$1"`, env)
	child := s.pid(s.path("child"))
	s.endLater(child)
	found, err := s.h.Processes(s.ctx, env)
	s.must(err)
	if !slices.Contains(found, p) || !slices.ContainsFunc(found, func(q host.Process) bool { return q.PID == child }) {
		s.Errorf("found %+v, want %+v and its child %d in another session", found, p, child)
	}
	// Not by a part of the value or of the name.
	for _, part := range []string{env[:len(env)-1], env[1:], "T_FOUND="} {
		if found, err := s.h.Processes(s.ctx, part); err != nil || len(found) > 0 {
			s.Errorf("by %s: found %+v, %v", part, found, err)
		}
	}
}

func terminateGroup(s *suite) {
	p, ended := s.background(`sh -c 'sleep 300 & echo $! >"$1/child"; touch "$1/ready"; wait' sh "$1" & wait`)
	child := s.pid(s.path("child"))
	begin := time.Now()
	s.must(s.h.Terminate(s.ctx, p, patience))
	if time.Since(begin) > patience/2 {
		s.Errorf("it took %s, though nobody resisted", time.Since(begin))
	}
	s.isGone(p.PID)
	s.isGone(child)
	if err := s.ended(ended); err == nil || !strings.Contains(err.Error(), "terminated") {
		s.Errorf("it ended with %v, want SIGTERM", err)
	}
}

// isGone demands it now: Terminate returns when it is done.
func (s *suite) isGone(pid int) {
	s.Helper()
	if p, err := s.h.Process(s.ctx, pid); err == nil {
		s.Errorf("process %d is still there: %+v", pid, p)
	}
}

func terminateStubborn(s *suite) {
	p, ended := s.background(`trap '' TERM; ` + waiting)
	begin := time.Now()
	s.must(s.h.Terminate(s.ctx, p, 300*time.Millisecond))
	if d := time.Since(begin); d < 300*time.Millisecond {
		s.Errorf("it had %s to end, want 300ms", d)
	}
	s.isGone(p.PID)
	if err := s.ended(ended); err == nil || !strings.Contains(err.Error(), "killed") {
		s.Errorf("it ended with %v, want SIGKILL", err)
	}
}

// The leader goes at once; who it leaves in its group is ended too.
func terminateWaitsForChildren(s *suite) {
	p, _ := s.background(`sh -c 'trap "" TERM; echo $$ >"$1/child"; touch "$1/ready"; while test $((i=i+1)) -lt 2000; do sleep 0.05; done' sh "$1" >/dev/null 2>&1 & wait`)
	child := s.pid(s.path("child"))
	s.must(s.h.Terminate(s.ctx, p, 300*time.Millisecond))
	s.isGone(p.PID)
	s.isGone(child)
}

func terminateMember(s *suite) {
	leader, _ := s.background(`sleep 300 & echo $! >"$1/child"; ` + waiting)
	member, err := s.h.Process(s.ctx, s.pid(s.path("child")))
	s.must(err)
	s.must(s.h.Terminate(s.ctx, member, patience))
	s.isGone(member.PID)
	if !host.Alive(s.ctx, s.h, leader) {
		s.Error("the leader of its group was ended too")
	}
}

func terminateStranger(s *suite) {
	p, _ := s.background(waiting)
	stranger := p
	stranger.Start--
	s.must(s.h.Terminate(s.ctx, stranger, 0))
	stranger = p
	stranger.Boot = "00000000-0000-0000-0000-000000000000"
	s.must(s.h.Terminate(s.ctx, stranger, 0))
	time.Sleep(100 * time.Millisecond)
	if !host.Alive(s.ctx, s.h, p) {
		s.Error("a process was ended whose number another one once had")
	}
}

func terminateGone(s *suite) {
	p, _ := s.background(waiting)
	s.must(s.h.Terminate(s.ctx, p, patience))
	begin := time.Now()
	s.must(s.h.Terminate(s.ctx, p, patience))
	if time.Since(begin) > patience/2 {
		s.Errorf("it took %s to find that it is gone", time.Since(begin))
	}
}

func terminateCancelled(s *suite) {
	p, _ := s.background(`trap '' TERM; ` + waiting)
	ctx, cancel := context.WithTimeout(s.ctx, 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	s.wantIs("Terminate", s.h.Terminate(ctx, p, 10*patience), context.DeadlineExceeded, fmt.Sprint(p.PID))
	if time.Since(begin) > patience {
		s.Errorf("it went on for %s", time.Since(begin))
	}
	if !host.Alive(s.ctx, s.h, p) {
		s.Error("it was killed before its grace was over")
	}
}
