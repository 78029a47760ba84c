package servicelog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// sample is about a mebibyte of what the service writes in a busy time: one
// line in a thousand is an error with its traceback.
func sample() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 1<<20; i++ {
		at := cutOver.Add(time.Duration(i) * time.Millisecond).Format("2006-01-02T15:04:05.000-07:00")
		switch {
		case i%1000 == 999:
			fmt.Fprintf(&b, `{"time": "%s", "level": "ERROR", "logger": "app.tasks.etf", "message": "update %d of VWCE.DE failed", "release": "20241123T015959Z-abcdef12", "exception": "Traceback (most recent call last):\n  File \"/srv/etf/app/tasks/etf.py\", line 81, in update\n    prices = source.prices(etf, day)\nValueError: no price for \"2024-11-22\"", "task_id": "0f8fad5b-d9cb-469f-a165-70867728950e"}`+"\n", at, i)
		case i%3 == 0:
			fmt.Fprintf(&b, `{"time": "%s", "level": "INFO", "logger": "uvicorn.access", "message": "127.0.0.1:%d - \"GET /api/v1/etf/VWCE.DE/prices?skip=0&limit=100 HTTP/1.1\" 200", "release": "20241123T015959Z-abcdef12"}`+"\n", at, 30000+i)
		default:
			fmt.Fprintf(&b, `{"time": "%s", "level": "INFO", "logger": "app.tasks.etf", "message": "update %d: 90 days of VWCE.DE stored in 0.21 s", "release": "20241123T015959Z-abcdef12", "task_id": "0f8fad5b-d9cb-469f-a165-70867728950e"}`+"\n", at, i)
		}
	}
	return b.Bytes()
}

// plainSample says the same as Python's usual format does.
func plainSample() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 1<<20; i++ {
		at := cutOver.Add(time.Duration(i) * time.Millisecond).Format("2006-01-02 15:04:05,000")
		if i%1000 == 999 {
			fmt.Fprintf(&b, "[%s: ERROR/ForkPoolWorker-1] update %d of VWCE.DE failed\nTraceback (most recent call last):\n  File \"/srv/etf/app/tasks/etf.py\", line 81, in update\nValueError: no price\n", at, i)
			continue
		}
		fmt.Fprintf(&b, "[%s: INFO/ForkPoolWorker-1] app.tasks.etf.update[0f8fad5b-d9cb-469f-a165-70867728950e]: update %d: 90 days of VWCE.DE stored in 0.21 s\n", at, i)
	}
	return b.Bytes()
}

// repeating gives the same content again and again, size bytes in all.
type repeating struct {
	content []byte
	at      int
	left    int64
}

func (r *repeating) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.content[r.at:])
	r.at, r.left = (r.at+n)%len(r.content), r.left-int64(n)
	return n, nil
}

func judging(content []byte, size int64) (*judge, io.Reader) {
	return &judge{since: cutOver.UnixNano(), groups: &groups{}, file: &File{Path: "etf.log"}}, &repeating{content: content, left: size}
}

const gibibyte = 1 << 30

// Memory stays flat on a gigabyte of log.
func TestMemory(t *testing.T) {
	j, r := judging(sample(), gibibyte)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak, done := uint64(0), make(chan struct{})
	go func() {
		defer close(done)
		j.stream(r)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
		}
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}
	grown := int64(peak) - int64(before.HeapInuse)
	t.Logf("%d lines, %d errors; the heap grew by at most %d KiB", j.file.Lines, j.file.Errors, grown>>10)
	if grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if j.file.Bytes != gibibyte || j.file.Errors < 1000 || len(j.groups.list()) != 1 {
		t.Errorf("%+v, %d groups", j.file, len(j.groups.list()))
	}
}

// BenchmarkLogs reads on one core. The last line of its output sets it beside
// copying the same bytes, and beside a parser that reads each line whole, in
// the same run.
func BenchmarkLogs(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const size = 64 << 20
	speed := map[string]float64{} // bytes a second
	measured := func(name string, size int64, read func() (errors int64)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if read() == 0 {
					b.Fatal("no errors were found")
				}
			}
			speed[name] = float64(size) * float64(b.N) / b.Elapsed().Seconds()
		})
	}
	for name, content := range map[string][]byte{"json": sample(), "plain": plainSample(), "errors-only": errorsOnly(), "level-last": levelLast()} {
		measured(name, size, func() int64 {
			j, r := judging(content, size)
			j.stream(r)
			return j.file.Errors
		})
	}
	file := b.TempDir() + "/etf.log"
	write(b, file, string(bytes.Repeat(sample(), size>>20)))
	measured("json-file", size, func() int64 { return read(b, host.Local{}, file).Errors })
	measured("copy", size, func() int64 {
		r := &repeating{content: sample(), left: size}
		n, _ := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, bufferSize))
		return n
	})
	measured("encoding-json", size/8, func() (errors int64) {
		for l := newLines(&repeating{content: sample(), left: size / 8}); ; {
			line, ok := l.next()
			if !ok {
				return errors
			}
			var rec struct{ Time, Level, Logger, Message string }
			if json.Unmarshal(line, &rec) == nil && rec.Level == "ERROR" {
				errors++
			}
		}
	})
	if speed["encoding-json"] > 0 && speed["copy"] > 0 {
		b.Run("ratios", func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(speed["json-file"]/1e6, "MB/s-of-a-file")
			b.ReportMetric(speed["json-file"]/speed["encoding-json"], "times-encoding/json")
			b.ReportMetric(speed["json"]/speed["copy"], "of-copying")
		})
	}
}

// errorsOnly is a log in which every line has to be read whole and grouped.
func errorsOnly() []byte {
	var b bytes.Buffer
	for i := range 4000 {
		b.WriteString(jsonAt(float64(i)/1000, "ERROR", fmt.Sprintf("update %d of VWCE.DE failed after %d ms: 'no price'", i, i%977)))
	}
	return b.Bytes()
}

// levelLast has the keys in the order that makes a line be read to its end.
func levelLast() []byte {
	var b bytes.Buffer
	for i := range 4000 {
		level := "INFO"
		if i%1000 == 999 {
			level = "ERROR"
		}
		fmt.Fprintf(&b, `{"message": "127.0.0.1:%d - \"GET /api/v1/etf/VWCE.DE/prices HTTP/1.1\" 200", "logger": "uvicorn.access", "extra": {"level": "ERROR", "n": [1, 2]}, "levelname": "%s", "asctime": "2024-11-23 02:00:00,%03d"}`+"\n", i, level, i%1000)
	}
	return b.Bytes()
}
