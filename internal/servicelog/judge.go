package servicelog

import (
	"bytes"
	"io"
	"time"
)

// A File is what was read of one log file.
type File struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`           // read, unpacked
	Lines  int64  `json:"lines"`           // since then
	Errors int64  `json:"errors"`          // records among them of level ERROR and above
	Long   int64  `json:"long,omitempty"`  // lines of which only the first megabytes were read
	Blind  int64  `json:"blind,omitempty"` // those among them of which that does not tell the level
	Err    error  `json:"-"`               // why it could not be read to its end, or not be judged

	leveled, unleveled int64 // records since then with and without a level
	undated            bool  // no line of it has a time
	binary             bool
}

// A judge reads one file: its state is that of the line before.
type judge struct {
	since  int64 // ns
	offset int64 // ns to take from times that name no zone
	groups *groups
	file   *File

	at     int64  // of the last record; 0: none had a time yet
	inside bool   // it is one of those that count
	open   *Group // the error whose traceback may follow
}

// stream reads a log to its end.
func (j *judge) stream(r io.Reader) {
	l := newLines(r)
	for {
		line, ok := l.next()
		if !ok {
			break
		}
		j.line(line, l.skipping)
	}
	j.file.Bytes, j.file.Long, j.file.Err = l.read, l.long, l.failed()
	j.file.undated = j.at == 0
}

// line judges a line, or the beginning of one that was cut.
func (j *judge) line(line []byte, cut bool) {
	// A file that was cut off under its writer begins with zeros.
	line = bytes.TrimLeft(bytes.TrimSuffix(line, []byte("\r")), "\x00")
	if len(line) == 0 {
		return
	}
	r, ok := parsed(line)
	if !ok {
		if cut && j.inside && line[0] == '{' {
			j.file.Blind++
		}
		j.more(line)
		return
	}
	if r.at.known {
		j.at = r.at.ns
		if !r.at.zoned {
			j.at -= j.offset
		}
	}
	j.open, j.inside = nil, j.at >= j.since && j.at != 0
	if !j.inside {
		return
	}
	j.file.Lines++
	switch {
	case r.level == 0 && cut:
		j.file.Blind++
		return
	case r.level == 0:
		j.file.unleveled++
		return
	case r.level >= failure:
		j.file.Errors++
		j.open = j.groups.add(r, time.Unix(0, j.at).UTC(), j.file.Path)
	}
	j.file.leveled++
}

// more is a line that belongs to the record before, such as of a traceback.
// What stands at its margin last is what was raised.
func (j *judge) more(line []byte) {
	if !j.inside {
		return
	}
	j.file.Lines++
	if j.open != nil && line[0] != ' ' && line[0] != '\t' && !bytes.HasPrefix(line, []byte("Traceback (")) {
		j.open.Exception = printable(string(line[:min(len(line), maxMessage)]))
	}
}
