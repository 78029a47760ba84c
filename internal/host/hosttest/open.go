package hosttest

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
)

func openReads(s *suite) {
	for i, want := range contents {
		file := s.path(strconv.Itoa(i))
		s.must(s.h.WriteFile(s.ctx, file, want, 0o600))
		size := int64(len(want))
		for _, offset := range []int64{0, size / 2, size, size + 10} {
			r, info, err := s.h.Open(s.ctx, file, offset)
			s.must(err)
			got, err := io.ReadAll(r)
			s.must(r.Close())
			if rest := want[min(offset, size):]; err != nil || !bytes.Equal(got, rest) || info.Size != size {
				s.Errorf("%s from %d on: %d bytes, %v, of %d; want %d", file, offset, len(got), err, info.Size, len(rest))
			}
		}
	}
	for _, odd := range []string{"-rf", "two words", "$HOME", "line\nfeed"} {
		s.must(s.h.WriteFile(s.ctx, s.path(odd), []byte("odd"), 0o600))
		s.reads(s.path(odd), 1, "dd")
	}
	s.must(s.h.Symlink(s.ctx, "0", s.path("link")))
	s.reads(s.path("link"), 0, "")
	s.output(s.ctx, sh(`mkfifo "$1"`, s.path("pipe")))
	for _, name := range []string{"pipe", "."} {
		if _, _, err := s.h.Open(s.ctx, s.path(name), 0); err == nil || !strings.Contains(err.Error(), s.path(name)) {
			s.Errorf("opening %s: %v, want an error that names it", name, err)
		}
	}
}

func (s *suite) reads(file string, offset int64, want string) {
	s.Helper()
	r, _, err := s.h.Open(s.ctx, file, offset)
	s.must(err)
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		s.Errorf("%s from %d on: %q, %v; want %q", file, offset, got, err, want)
	}
}

// What a log's rotation does to a file that is being read.
func openHolds(s *suite) {
	file, content := s.path("log"), bytes.Repeat([]byte("0123456789abcde\n"), 1<<18)
	s.must(s.h.WriteFile(s.ctx, file, content, 0o600))
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	r, opened, err := s.h.Open(ctx, file, 0)
	s.must(err)
	defer r.Close()
	begin := make([]byte, 1000)
	_, err = io.ReadFull(r, begin)
	s.must(err)
	s.must(s.h.Rename(s.ctx, file, s.path("log.1")))
	s.must(s.h.WriteFile(s.ctx, file, []byte("new"), 0o600))
	renamed, err := s.h.Stat(s.ctx, s.path("log.1"))
	s.must(err)
	now, err := s.h.Stat(s.ctx, file)
	s.must(err)
	if opened.ID == "" || renamed.ID != opened.ID || now.ID == opened.ID {
		s.Errorf("the file was %q, renamed %q; the new one of its name is %q", opened.ID, renamed.ID, now.ID)
	}
	s.must(s.h.Remove(s.ctx, s.path("log.1")))
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(begin, rest...), content) {
		s.Errorf("%d of %d bytes were read, %v", len(begin)+len(rest), len(content), err)
	}
	if r, _, err = s.h.Open(ctx, file, 0); err == nil {
		cancel()
		_, err = io.ReadAll(r)
		r.Close()
	}
	s.wantIs("reading on when the context has ended", err, context.Canceled, "")
}
