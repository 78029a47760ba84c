package hosttest

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What one caller sees of files and folders.
var fileTests = map[string]func(*suite){
	"content comes back":        contentComesBack,
	"WriteFile replaces":        writeReplaces,
	"Create makes once":         createMakesOnce,
	"Append adds":               appendAdds,
	"nothing is left beside":    nothingBeside,
	"folders":                   folders,
	"Rename":                    rename,
	"Remove":                    remove,
	"Symlink":                   symlink,
	"Stat":                      stat,
	"Open reads from an offset": openReads,
	"Open holds on to the file": openHolds,
	"List":                      list,
	"FreeBytes":                 freeBytes,
	"missing":                   missing,
	"a context that has ended":  endedContext,
	"names that a shell breaks": oddNames,
}

// contents are files that a way through text would spoil.
var contents = [][]byte{{}, {0}, []byte("\n"), []byte("no line feed"), []byte("\r\n\xff\xfe"), bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)}

func contentComesBack(s *suite) {
	for i, want := range contents {
		file := s.path(strconv.Itoa(i))
		s.must(s.h.WriteFile(s.ctx, file, want, 0o600))
		s.holds(file, want)
		s.must(s.h.Create(s.ctx, file+".created", want, 0o600))
		s.holds(file+".created", want)
		s.must(s.h.Append(s.ctx, file+".appended", want, 0o600))
		s.holds(file+".appended", want)
	}
}

func (s *suite) holds(file string, want []byte) {
	s.Helper()
	if got, err := s.h.ReadFile(s.ctx, file); err != nil || !bytes.Equal(got, want) {
		s.Errorf("%s holds %.80q (%d bytes), %v; want %.80q (%d bytes)", file, got, len(got), err, want, len(want))
	}
}

func (s *suite) hasMode(file string, want fs.FileMode) {
	s.Helper()
	if st, err := s.h.Stat(s.ctx, file); err != nil || st.Mode != want {
		s.Errorf("%s has mode %v, %v; want %v", file, st.Mode, err, want)
	}
}

func writeReplaces(s *suite) {
	file := s.path("file")
	s.must(s.h.WriteFile(s.ctx, file, []byte("a long first content"), 0o644))
	s.hasMode(file, 0o644)
	s.must(s.h.Symlink(s.ctx, "file", s.path("link")))
	before := s.output(s.ctx, sh(`stat -c %i "$1"`, file))
	s.must(s.h.WriteFile(s.ctx, file, []byte("second"), 0o600))
	s.holds(file, []byte("second"))
	s.hasMode(file, 0o600)
	if s.output(s.ctx, sh(`stat -c %i "$1"`, file)) == before {
		s.Error("it was written over, not replaced")
	}
	s.holds(s.path("link"), []byte("second"))
	err := s.h.WriteFile(s.ctx, s.path("no/such/folder/file"), nil, 0o600)
	s.wantIs("WriteFile in a missing folder", err, fs.ErrNotExist, s.path("no/such/folder/file"))
}

func createMakesOnce(s *suite) {
	file := s.path("file")
	s.must(s.h.Create(s.ctx, file, []byte("first"), 0o640))
	s.hasMode(file, 0o640)
	s.wantIs("Create", s.h.Create(s.ctx, file, []byte("second"), 0o600), fs.ErrExist, file)
	s.holds(file, []byte("first"))
	s.must(s.h.Symlink(s.ctx, "nowhere", s.path("dangling")))
	s.wantIs("Create over a link", s.h.Create(s.ctx, s.path("dangling"), nil, 0o600), fs.ErrExist, s.path("dangling"))
	err := s.h.Create(s.ctx, s.path("no/such/folder/file"), nil, 0o600)
	s.wantIs("Create in a missing folder", err, fs.ErrNotExist, s.path("no/such/folder/file"))
}

func appendAdds(s *suite) {
	file := s.path("file")
	s.must(s.h.Append(s.ctx, file, []byte("one\n"), 0o600))
	s.hasMode(file, 0o600)
	s.must(s.h.Append(s.ctx, file, []byte("two"), 0o644))
	s.must(s.h.Append(s.ctx, file, []byte("\nthree\n"), 0o644))
	s.holds(file, []byte("one\ntwo\nthree\n"))
	s.hasMode(file, 0o600)
	err := s.h.Append(s.ctx, s.path("no/such/folder/file"), []byte("x"), 0o600)
	s.wantIs("Append in a missing folder", err, fs.ErrNotExist, s.path("no/such/folder/file"))
}

func nothingBeside(s *suite) {
	s.must(s.h.WriteFile(s.ctx, s.path("written"), []byte("x"), 0o600))
	s.must(s.h.Create(s.ctx, s.path("created"), []byte("x"), 0o600))
	s.wantIs("Create", s.h.Create(s.ctx, s.path("created"), []byte("y"), 0o600), fs.ErrExist, "created")
	s.must(s.h.Symlink(s.ctx, "written", s.path("link")))
	s.must(s.h.Mkdir(s.ctx, s.path("folder/below"), 0o700))
	if err := s.h.WriteFile(s.ctx, s.path("folder"), nil, 0o600); err == nil {
		s.Error("a folder was replaced by a file")
	}
	if err := s.h.Symlink(s.ctx, "written", s.path("folder")); err == nil {
		s.Error("a folder was replaced by a link")
	}
	s.lists(s.dir, "created", "folder", "link", "written")
}

func (s *suite) lists(dir string, want ...string) {
	s.Helper()
	got, err := s.h.List(s.ctx, dir)
	if err != nil || !slices.Equal(got, want) {
		s.Errorf("%s holds %q, %v; want %q", dir, got, err, want)
	}
}

func folders(s *suite) {
	s.must(s.h.Mkdir(s.ctx, s.path("a/b/c"), 0o700))
	s.hasMode(s.path("a/b/c"), fs.ModeDir|0o700)
	s.must(s.h.WriteFile(s.ctx, s.path("a/b/c/file"), nil, 0o600))
	s.must(s.h.Mkdir(s.ctx, s.path("a/b/c"), 0o755)) // stays as it is
	s.hasMode(s.path("a/b/c"), fs.ModeDir|0o700)
	s.lists(s.path("a/b/c"), "file")
	if err := s.h.Mkdir(s.ctx, s.path("a/b/c/file"), 0o700); err == nil {
		s.Error("a folder was made where a file is")
	}
}

func rename(s *suite) {
	s.must(s.h.WriteFile(s.ctx, s.path("a"), []byte("a"), 0o600))
	s.must(s.h.WriteFile(s.ctx, s.path("b"), []byte("b"), 0o600))
	s.must(s.h.Rename(s.ctx, s.path("a"), s.path("b")))
	s.holds(s.path("b"), []byte("a"))
	s.must(s.h.Mkdir(s.ctx, s.path("folder"), 0o700))
	s.must(s.h.Rename(s.ctx, s.path("b"), s.path("folder/b")))
	s.must(s.h.Rename(s.ctx, s.path("folder"), s.path("moved")))
	s.holds(s.path("moved/b"), []byte("a"))
	s.lists(s.dir, "moved")
	// Into a folder that is there would be another meaning.
	s.must(s.h.Mkdir(s.ctx, s.path("full/x"), 0o700))
	if err := s.h.Rename(s.ctx, s.path("moved"), s.path("full")); err == nil {
		s.Error("a folder was moved over one that is not empty")
	}
	s.lists(s.path("full"), "x")
}

func remove(s *suite) {
	s.must(s.h.Mkdir(s.ctx, s.path("kept"), 0o700))
	s.must(s.h.WriteFile(s.ctx, s.path("kept/file"), nil, 0o600))
	s.must(s.h.Mkdir(s.ctx, s.path("folder/below"), 0o700))
	s.must(s.h.WriteFile(s.ctx, s.path("folder/below/file"), nil, 0o400))
	s.must(s.h.Symlink(s.ctx, "../kept", s.path("folder/link")))
	s.must(s.h.Symlink(s.ctx, "kept", s.path("link")))
	for _, name := range []string{"folder", "link", "never there", "folder/below/file"} {
		if err := s.h.Remove(s.ctx, s.path(name)); err != nil {
			s.Errorf("removing %s: %v", name, err)
		}
	}
	s.lists(s.dir, "kept")
	s.lists(s.path("kept"), "file")
}

func symlink(s *suite) {
	link := s.path("link")
	s.must(s.h.Mkdir(s.ctx, s.path("one"), 0o700))
	s.must(s.h.Mkdir(s.ctx, s.path("two"), 0o700))
	for _, target := range []string{"one", "two", "nowhere", s.path("one"), "two/../one"} {
		s.must(s.h.Symlink(s.ctx, target, link))
		if got, err := s.h.Readlink(s.ctx, link); err != nil || got != target {
			s.Errorf("the link names %q, %v; want %q", got, err, target)
		}
	}
	// Not into the folder that the link named before.
	s.lists(s.path("one"))
	s.lists(s.dir, "link", "one", "two")
	if _, err := s.h.Readlink(s.ctx, s.path("one")); err == nil || !strings.Contains(err.Error(), s.path("one")) {
		s.Errorf("Readlink of a folder: got error %v, want one that names it", err)
	}
	err := s.h.Symlink(s.ctx, "x", s.path("no/such/folder/link"))
	s.wantIs("Symlink in a missing folder", err, fs.ErrNotExist, s.path("no/such/folder"))
}

func stat(s *suite) {
	s.must(s.h.WriteFile(s.ctx, s.path("file"), make([]byte, 1234), 0o640))
	s.must(s.h.Symlink(s.ctx, "file", s.path("link")))
	st, err := s.h.Stat(s.ctx, s.path("link"))
	if err != nil || st.Size != 1234 || st.Mode != 0o640 {
		s.Errorf("got %+v, %v", st, err)
	}
	if age := time.Since(st.ModTime); age < -time.Minute || age > time.Minute {
		s.Errorf("just written, it is said to be from %s", st.ModTime)
	}
}

func list(s *suite) {
	s.must(s.h.Mkdir(s.ctx, s.path("folder"), 0o700))
	s.lists(s.path("folder"))
	want := []string{".hidden", "10", "9", "B", "a", "dangling", "line\nfeed", "two words"}
	for _, name := range want {
		s.must(s.h.WriteFile(s.ctx, s.path("folder/"+name), nil, 0o600))
	}
	s.must(s.h.Symlink(s.ctx, "nowhere", s.path("folder/dangling")))
	s.lists(s.path("folder"), want...)
}

func freeBytes(s *suite) {
	free, err := s.h.FreeBytes(s.ctx, s.dir)
	s.must(err)
	want := strings.Fields(s.output(s.ctx, sh(`df -P -B 1 "$1" | tail -n 1`, s.dir)))[3]
	n, err := strconv.ParseInt(want, 10, 64)
	s.must(err)
	// Others write at the same time.
	if diff := free - n; diff < -4<<30 || diff > 4<<30 || free <= 0 {
		s.Errorf("%d bytes are free, df says %d", free, n)
	}
}

func missing(s *suite) {
	file := s.path("no such file")
	_, err := s.h.ReadFile(s.ctx, file)
	s.wantIs("ReadFile", err, fs.ErrNotExist, file)
	_, _, err = s.h.Open(s.ctx, file, 0)
	s.wantIs("Open", err, fs.ErrNotExist, file)
	_, err = s.h.Stat(s.ctx, file)
	s.wantIs("Stat", err, fs.ErrNotExist, file)
	_, err = s.h.List(s.ctx, file)
	s.wantIs("List", err, fs.ErrNotExist, file)
	_, err = s.h.Readlink(s.ctx, file)
	s.wantIs("Readlink", err, fs.ErrNotExist, file)
	_, err = s.h.FreeBytes(s.ctx, file)
	s.wantIs("FreeBytes", err, fs.ErrNotExist, file)
	s.wantIs("Rename", s.h.Rename(s.ctx, file, s.path("other")), fs.ErrNotExist, file)
	s.must(s.h.Symlink(s.ctx, "nowhere", s.path("dangling")))
	_, err = s.h.Stat(s.ctx, s.path("dangling"))
	s.wantIs("Stat of a dangling link", err, fs.ErrNotExist, s.path("dangling"))
}

func endedContext(s *suite) {
	file := s.path("file")
	s.must(s.h.WriteFile(s.ctx, file, []byte("old"), 0o600))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	for what, do := range map[string]func() error{
		"ReadFile":  func() error { _, err := s.h.ReadFile(ctx, file); return err },
		"Open":      func() error { _, _, err := s.h.Open(ctx, file, 0); return err },
		"WriteFile": func() error { return s.h.WriteFile(ctx, file, []byte("new"), 0o600) },
		"Create":    func() error { return s.h.Create(ctx, s.path("created"), nil, 0o600) },
		"Append":    func() error { return s.h.Append(ctx, file, []byte("new"), 0o600) },
		"Mkdir":     func() error { return s.h.Mkdir(ctx, s.path("folder"), 0o700) },
		"Remove":    func() error { return s.h.Remove(ctx, file) },
		"Rename":    func() error { return s.h.Rename(ctx, file, s.path("renamed")) },
		"Symlink":   func() error { return s.h.Symlink(ctx, "x", s.path("link")) },
		"Readlink":  func() error { _, err := s.h.Readlink(ctx, file); return err },
		"Stat":      func() error { _, err := s.h.Stat(ctx, file); return err },
		"List":      func() error { _, err := s.h.List(ctx, s.dir); return err },
		"FreeBytes": func() error { _, err := s.h.FreeBytes(ctx, s.dir); return err },
	} {
		s.wantIs(what, do(), context.Canceled, "")
	}
	s.holds(file, []byte("old"))
	s.lists(s.dir, "file")
}

func oddNames(s *suite) {
	for _, name := range []string{"-rf", "two words", "it's", `"quoted"`, "$HOME", "line\nfeed", "*", "Zürich", "a;touch b", `back\slash`} {
		dir := s.path("in " + name)
		s.must(s.h.Mkdir(s.ctx, dir, 0o700))
		file := dir + "/" + name
		s.must(s.h.WriteFile(s.ctx, file, []byte("1"), 0o600))
		s.must(s.h.Append(s.ctx, file, []byte("2"), 0o600))
		s.must(s.h.Rename(s.ctx, file, file+" moved"))
		s.must(s.h.Create(s.ctx, file, []byte("12"), 0o600))
		s.must(s.h.Symlink(s.ctx, name, file+" link"))
		s.holds(file+" moved", []byte("12"))
		s.holds(file+" link", []byte("12"))
		if got, err := s.h.Readlink(s.ctx, file+" link"); err != nil || got != name {
			s.Errorf("the link names %q, %v; want %q", got, err, name)
		}
		s.must(s.h.Remove(s.ctx, file+" moved"))
		s.lists(dir, name, name+" link")
	}
}
