package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
)

// What many callers at once see of a file.
var raceTests = map[string]func(*suite){
	"WriteFile is seen whole":       writeSeenWhole,
	"Create has exactly one winner": oneWinner,
	"Create is seen whole":          createSeenWhole,
	"Append keeps lines whole":      appendWhole,
	"Symlink is never missing":      symlinkNeverMissing,
}

// while reads again and again, at least once, as long as write takes.
func (s *suite) while(write func(), read func()) {
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for first := true; first || !done.Load() && !s.Failed(); first = false {
				read()
			}
		})
	}
	write()
	done.Store(true)
	readers.Wait()
}

func writeSeenWhole(s *suite) {
	file := s.path("file")
	// Of different lengths, so that a mixture of two shows, and larger than
	// what is written at once.
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%20)}, 200_000+i%2*100_000) }
	s.must(s.h.WriteFile(s.ctx, file, content(0), 0o600))
	s.while(func() {
		for i := range 60 {
			s.must(s.h.WriteFile(s.ctx, file, content(i), 0o600))
		}
	}, func() {
		b, err := s.h.ReadFile(s.ctx, file)
		if err != nil || len(b) == 0 {
			s.Errorf("read %d bytes, %v", len(b), err)
			return
		}
		if want := content(int(b[0] - 'a')); !bytes.Equal(b, want) {
			s.Errorf("read %d bytes that are no content as written", len(b))
		}
	})
}

func oneWinner(s *suite) {
	for round := range 10 {
		file := s.path(fmt.Sprint(round))
		var winners atomic.Int64
		var winner atomic.Value
		s.together(50, func(i int) {
			mine := fmt.Sprintf("taker %d", i)
			switch err := s.h.Create(s.ctx, file, []byte(mine), 0o600); {
			case err == nil:
				winners.Add(1)
				winner.Store(mine)
			case !errors.Is(err, fs.ErrExist):
				s.Errorf("got error %v, want %v", err, fs.ErrExist)
			}
		})
		if winners.Load() != 1 {
			s.Fatalf("round %d had %d winners", round, winners.Load())
		}
		s.holds(file, []byte(winner.Load().(string)))
	}
}

// together has n callers begin at once.
func (s *suite) together(n int, do func(i int)) {
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { <-begin; do(i) })
	}
	close(begin)
	all.Wait()
}

func createSeenWhole(s *suite) {
	var current atomic.Int64
	content := bytes.Repeat([]byte("x"), 300_000)
	s.while(func() {
		for i := range 40 {
			current.Store(int64(i))
			s.must(s.h.Create(s.ctx, s.path(fmt.Sprint(i)), content, 0o600))
		}
	}, func() {
		b, err := s.h.ReadFile(s.ctx, s.path(fmt.Sprint(current.Load())))
		if !errors.Is(err, fs.ErrNotExist) && (err != nil || !bytes.Equal(b, content)) {
			s.Errorf("read %d bytes, %v; want none or all", len(b), err)
		}
	})
}

func appendWhole(s *suite) {
	file := s.path("file")
	line := func(i int) string { return strings.Repeat(fmt.Sprintf("%02d", i), 1000+i) + "\n" }
	s.together(20, func(i int) {
		for range 5 {
			if err := s.h.Append(s.ctx, file, []byte(line(i)), 0o600); err != nil {
				s.Error(err)
			}
		}
	})
	b, err := s.h.ReadFile(s.ctx, file)
	s.must(err)
	count := map[string]int{}
	for line := range strings.Lines(string(b)) {
		count[line]++
	}
	for i := range 20 {
		if got := count[line(i)]; got != 5 {
			s.Errorf("of 5 lines of writer %d are %d there whole", i, got)
		}
	}
}

func symlinkNeverMissing(s *suite) {
	link := s.path("current")
	for _, name := range []string{"a", "b"} {
		s.must(s.h.Mkdir(s.ctx, s.path(name), 0o700))
		s.must(s.h.WriteFile(s.ctx, s.path(name+"/file"), []byte(name), 0o600))
	}
	s.must(s.h.Symlink(s.ctx, "a", link))
	s.while(func() {
		for i := range 200 {
			s.must(s.h.Symlink(s.ctx, string("ab"[i%2]), link))
		}
	}, func() {
		got, err := s.h.Readlink(s.ctx, link)
		if err != nil || got != "a" && got != "b" {
			s.Errorf("the link names %q, %v", got, err)
		}
		if b, err := s.h.ReadFile(s.ctx, link+"/file"); err != nil || string(b) != "a" && string(b) != "b" {
			s.Errorf("through the link came %q, %v", b, err)
		}
	})
}
