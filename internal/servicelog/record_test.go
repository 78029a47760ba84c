package servicelog

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var moment = time.Date(2024, 11, 23, 1, 44, 52, 123e6, time.UTC)

// said is what a line says, for tables.
type said struct {
	at                         time.Time
	level                      level
	logger, message, exception string
}

func TestLines(t *testing.T) {
	second := moment.Truncate(time.Second)
	for line, want := range map[string]said{
		// JSON: the service's own, python-json-logger's usual keys, structlog, ECS.
		`{"time": "2024-11-23T01:44:52.123+00:00", "level": "ERROR", "logger": "app.tasks", "message": "no price\nat all", "release": "r", "exception": "Traceback (most recent call last):\n  File\nValueError: no \"price\"\n"}`: {moment, failure, "app.tasks", `no price\nat all`, `Traceback (most recent call last):\n  File\nValueError: no \"price\"\n`},
		`{"asctime": "2024-11-23 01:44:52,123", "levelname": "CRITICAL", "name": "app", "message": "x", "exc_info": null}`:                                                                                                         {moment, critical, "app", "x", ""},
		`{"message":"x","timestamp":"2024-11-23T02:44:52.123+0100","severity":"Error","taskName":null}`:                                                                                                                            {moment, failure, "", "x", ""},
		`{"event": "x", "level": "error", "timestamp": "2024-11-23T01:44:52.123000Z"}`:                                                                                                                                             {moment, failure, "", "x", ""},
		`{"@timestamp":"2024-11-23T01:44:52.123Z","log.level":"error","message":"x","error":{"level":"info"}}`:                                                                                                                     {moment, failure, "", "x", ""},
		`{"ts": 1732326292.123, "level": "fatal", "msg": "x"}`:                                                                                                                                                                     {moment, critical, "", "x", ""},
		// What looks like a level within a text or an object is none.
		`{"message": "{\"level\": \"ERROR\", \"time\": \"2020-01-01T00:00:00Z\"}", "time": "2024-11-23T01:44:52.123Z", "level": "INFO"}`: {moment, info, "", `{\"level\": \"ERROR\", \"time\": \"2020-01-01T00:00:00Z\"}`, ""},
		`{"payload": {"level": "ERROR", "list": ["}", {"level": "ERROR"}]}, "level": "WARNING", "time": "2024-11-23T01:44:52.123Z"}`:     {moment, warning, "", "", ""},
		`{"message": "ends with a slash \\", "level": "ERROR", "time": "2024-11-23T01:44:52.123Z"}`:                                      {moment, failure, "", `ends with a slash \\`, ""},
		`{"time": "2024-11-23T01:44:52.123Z", "level": "INFO", "message": "\"level\": \"ERROR\""}`:                                       {moment, info, "", "", ""},
		`{"level": 40, "time": "2024-11-23T01:44:52.123Z", "levelname": "ERROR"}`:                                                        {moment, failure, "", "", ""},
		// Cut off by a crash.
		`{"time": "2024-11-23T01:44:52.123Z", "level": "ERROR", "mess`: {moment, failure, "", "", ""},
		// Plain.
		`2024-11-23 01:44:52,123 ERROR app.tasks: no price: none`:                                            {moment, failure, "app.tasks", "no price: none", ""},
		`2024-11-23 01:44:52,123 - app.tasks - CRITICAL - no ERROR here`:                                     {moment, critical, "app.tasks", "no ERROR here", ""},
		`2024-11-23 01:44:52,123 INFO app.tasks: it said ERROR`:                                              {moment, info, "app.tasks", "it said ERROR", ""},
		`2024-11-23 01:44:52,123 [ERROR] app: x`:                                                             {moment, failure, "app", "x", ""},
		`2024-11-23T01:44:52.123Z ERROR x`:                                                                   {moment, failure, "", "x", ""},
		`[2024-11-23 01:44:52,123: ERROR/ForkPoolWorker-1] Task app.x[1] raised unexpected: ValueError('y')`: {moment, failure, "", "Task app.x[1] raised unexpected: ValueError('y')", ""},
		`[2024-11-23 02:44:52 +0100] [123] [ERROR] Worker timeout`:                                           {second, failure, "", "Worker timeout", ""},
		`ERROR:    Exception in ASGI application`:                                                            {time.Time{}, failure, "", "Exception in ASGI application", ""},
		`INFO:     127.0.0.1:5000 - "GET /ERROR HTTP/1.1" 200 OK`:                                            {time.Time{}, info, "", `127.0.0.1:5000 - "GET /ERROR HTTP/1.1" 200 OK`, ""},
		`ERROR:app.tasks:no price`:                                                                           {time.Time{}, failure, "app.tasks", "no price", ""},
		`2024-11-23 01:44:52,123 a line without a level`:                                                     {moment, 0, "", "a line without a level", ""},
	} {
		r, ok := parsed([]byte(line))
		got := said{level: r.level, logger: string(r.logger), message: string(r.message), exception: string(r.exception)}
		if r.at.known {
			got.at = time.Unix(0, r.at.ns).UTC()
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(said{}), cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Millisecond })); diff != "" || !ok {
			t.Errorf("%s\n%s", line, diff)
		}
	}
}

func TestNoRecords(t *testing.T) {
	for _, line := range []string{"Traceback (most recent call last):", `  File "x.py", line 1, in f`, "ValueError: ERROR: x", "{", "{}", `{"a": 1}`, `{"level"`,
		"ERROR", "Error: x", "2024-13-23 01:44:52,123 ERROR x", "2024-11-23", "[", "\xff\xfe\x00", strings.Repeat("[", 300), "ERRORS:x:y", "12024-11-23 01:44:52 ERROR x"} {
		if r, ok := parsed([]byte(line)); ok {
			t.Errorf("%s: %+v", line, r)
		}
	}
}

func TestStampsWithoutZone(t *testing.T) {
	for text, zoned := range map[string]bool{"2024-11-23 01:44:52,123": false, "2024-11-23 01:44:52.123 ": false, "2024-11-23 01:44:52.123 -x": false, "2024-11-23 01:44:52.123Z": true, "2024-11-23 03:44:52.123 +02:00": true, "2024-11-22T20:14:52.123-0530": true} {
		at, n := parseStamp([]byte(text))
		if n == 0 || at.zoned != zoned || time.Unix(0, at.ns).Sub(moment) != 0 {
			t.Errorf("%s: %+v, %d", text, at, n)
		}
	}
}

func TestFingerprint(t *testing.T) {
	for want, all := range map[string][]string{
		"update # of # failed after #.# s":   {"update 17 of VWCE.DE failed after 3.25 s", "update 4 of EUNL.AS failed after 0.5 s", "update 4 of IE00BK5BQT80 failed after 0.5 s"},
		"Task app.tasks.update[#] raised: X": {"Task app.tasks.update[0f8fad5b-d9cb-469f-a165-70867728950e] raised: X", "Task app.tasks.update[aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee] raised: X"},
		"can't reach ? at #.#.#.#:#":         {"can't reach 'the source' at 10.0.0.1:80", "can't reach \"another\" at 10.1.2.3:8080"},
		"ETF # has no rate":                  {"ETF VTI has no rate", "ETF SPY has no rate"},
		"HTTP GET of API.":                   {"HTTP GET of API."},
		"e\xff odd \x00":                     {"e\xff odd \x00"},
		"unended 'quote":                     {"unended 'quote"},
		"":                                   {""},
	} {
		for _, m := range all {
			if got := string(fingerprint(nil, []byte(m))); got != want {
				t.Errorf("%q: %q, want %q", m, got, want)
			}
		}
	}
}

func FuzzParsed(f *testing.F) {
	for _, seed := range []string{`{"time": "2024-11-23T01:44:52.123+00:00", "level": "ERROR", "message": "x\"\\", "a": [{}, "]"]}`, "[2024-11-23 01:44:52,123: ERROR/M] x", "ERROR:a:b", `{"a":`, `{"a":{"b`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, ok := parsed(line); ok {
			var g groups
			g.add(r, moment, "x")
		}
	})
}
